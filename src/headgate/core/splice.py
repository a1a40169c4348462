"""Replace single members of a JSON object inside its text, leaving every other byte as it was.

Works on text already proved to be a JSON object; knows nothing of what the members mean.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson

# Possessive repeats (`*+`), for a string of millions of escapes must not cost memory for each.
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _TEXT + rb")*+"
# Up to the next bracket that matters: strings, and objects and arrays with no others inside, are passed over at once.
_NEXT_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _TEXT + rb"|[\[{]" + _FLAT + rb"[\]}])*+[\[\]{}]", re.DOTALL)
_KEY = re.compile(rb"\s*(?:,\s*)?(" + _TEXT + rb")\s*:\s*", re.DOTALL)
_STRING = re.compile(_TEXT, re.DOTALL)
_SCALAR = re.compile(rb"[^\s,}\]]+")
# Behind a key: its value if that is a string or a scalar, or nothing where an object or an array begins.
_VALUE = rb"\s*:\s*(" + _TEXT + rb'|[^\s,}\]\[{"]*+)'
_VALUE_BEHIND = re.compile(_VALUE, re.DOTALL)
# A key may be spelled with escapes (`"\u006dodel"`). Only escapes below U+0100 can spell an ASCII letter.
_MAY_SPELL_ASCII = b"\\u00"
# Each count is a pass over the whole text: with many keys the walk, which is one, is cheaper.
_MOST_COUNTED = 32
_NEAR = 512
"""Bytes from the beginning in which a member is looked for before the text is walked."""


_ESCAPABLE = frozenset('"/\\')
_MOST_KEPT = 1000
_LONGEST_KEPT = 64

Edit = tuple[int, int, bytes]
"""(start, end, text): the bytes from start to end (half open) give way to the text."""


class Member(NamedTuple):
    """One member of the outermost object: its decoded key, where its value stands, and `at`, where its key begins."""

    key: str
    start: int
    end: int
    at: int


def apply(text: bytes, edits: Sequence[Edit]) -> bytes:
    """The text with all edits made. Edits must not overlap."""
    if len(edits) == 1:
        start, end, new = edits[0]
        return text[:start] + new + text[end:]
    parts: list[bytes] = []
    done = 0
    for start, end, new in sorted(edits):
        parts += (text[done:start], new)
        done = end
    parts.append(text[done:])
    return b"".join(parts)


def rewrite(text: bytes, put: Mapping[str, bytes], drop: Container[str]) -> bytes:
    """The object with the values in `put` and without the members in `drop`; what is in both is put.

    Every other member keeps its bytes and its place; new ones come last.
    """
    parts: list[bytes] = []
    waiting = dict(put)
    for member in members(text):
        value = waiting.pop(member.key, None)
        if value is not None:
            parts.append(text[member.at : member.start] + value)
        elif member.key not in drop:
            parts.append(text[member.at : member.end])
    parts += [orjson.dumps(key) + b":" + value for key, value in waiting.items()]
    return b"{" + b",".join(parts) + b"}"


def members(text: bytes) -> Iterator[Member]:
    """The members of the outermost object, in order, duplicates included."""
    at = text.index(b"{") + 1
    while key := _KEY.match(text, at):
        start = key.end()
        at = _end_of_value(text, start)
        yield Member(orjson.loads(key[1]), start, at, key.start(1))


def end_of_string(text: bytes, start: int) -> int:
    """Where the JSON string ends whose opening quote stands at `start`; raises ValueError when it does not end."""
    string = _STRING.match(text, start)
    if string is None:
        raise ValueError(f"no JSON string at byte {start}")
    return string.end()


def _end_of_value(text: bytes, start: int) -> int:
    first = text[start]
    if first in b"{[":
        return _end_of_nested(text, start)
    scalar = (_STRING if first == 0x22 else _SCALAR).match(text, start)
    if scalar is None:
        raise ValueError(f"no JSON value at byte {start}")
    return scalar.end()


def _end_of_nested(text: bytes, start: int) -> int:
    depth = 1
    at = start + 1
    while depth:
        bracket = _NEXT_BRACKET.match(text, at)
        if bracket is None:
            raise ValueError(f"unclosed JSON value at byte {start}")
        at = bracket.end()
        depth += 1 if text[at - 1] in b"{[" else -1
    return at


class _Spellings(dict[str, bytes]):
    """Keys in quotes, as they are spelled plainly. A key with other spellings gives what stands in no JSON."""

    def __missing__(self, key: str) -> bytes:
        is_plain = key.isascii() and key.isprintable() and _ESCAPABLE.isdisjoint(key)
        spelled = b'"%b"' % key.encode() if is_plain else b"\0"
        if len(key) <= _LONGEST_KEPT and len(self) < _MOST_KEPT:
            self[key] = spelled
        return spelled


_spelled = _Spellings().__getitem__
_ONE = {1}


def is_plain(text: bytes, parsed: Mapping[str, object]) -> bool:
    """Whether each key of an object, told as parsed, is spelled plainly and stands in the text once, nested or not.

    Then none of them occurs twice, and each is found without a look at what stands before it.
    """
    return (
        len(parsed) <= _MOST_COUNTED
        and text.find(_MAY_SPELL_ASCII) < 0
        and set(map(text.count, map(_spelled, parsed))) <= _ONE
    )


def duplicate(text: bytes) -> str | None:
    """The first key that the outermost object holds twice, or None."""
    seen = set()
    for member in members(text):
        if member.key in seen:
            return member.key
        seen.add(member.key)
    return None


def locate_plain(text: bytes, key: str) -> tuple[int, int]:
    """Where the value of a member stands that the outermost object has, as (start, end). The text must be plain."""
    spelled = _spelled(key)
    value = _VALUE_BEHIND.match(text, text.find(spelled) + len(spelled))
    assert value is not None
    start, end = value.span(1)
    return start, end if end > start else _end_of_nested(text, start)


def locate(text: bytes, key: str) -> tuple[int, int] | None:
    """Where the value of a member of the outermost object stands, as (start, end), or None if it has none.

    First the short way, for a member near the beginning: behind no bracket and no escape, a quoted spelling can only be
    the outermost object's key, or a string value, which no colon follows. Otherwise the text is walked.
    """
    spelled = _spelled(key)
    at = text.find(spelled, 0, _NEAR)
    if at > 0 and text.count(b"{", 0, at) == 1 and text.find(b"[", 0, at) < 0 and text.find(b"\\", 0, at) < 0:
        near = _VALUE_BEHIND.match(text, at + len(spelled))
        if near is not None:
            start, end = near.span(1)
            return start, end if end > start else _end_of_nested(text, start)
    for member in members(text):
        if member.key == key:
            return member.start, member.end
    return None
