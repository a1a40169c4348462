"""Replace single members of a JSON object inside its text, leaving every other byte as it was.

Works on text already proved to be a JSON object; knows nothing of what the members mean.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
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
_AFTER_KEY = re.compile(rb"\s*:\s*")
# A key may be spelled with escapes (`"\u006dodel"`). Only escapes below U+0100 can spell an ASCII letter.
_MAY_SPELL_ASCII = b"\\u00"
# Each count is a pass over the whole text: with many keys the walk, which is one, is cheaper.
_MOST_COUNTED = 32


class Edit(NamedTuple):
    """Bytes `start` to `end` (half open) give way to `text`."""

    start: int
    end: int
    text: bytes


class Member(NamedTuple):
    """One member of the outermost object: its decoded key, where its value stands, and `at`, where its key begins."""

    key: str
    start: int
    end: int
    at: int


def apply(text: bytes, edits: Iterable[Edit]) -> bytes:
    """The text with all edits made. Edits must not overlap."""
    parts: list[bytes] = []
    done = 0
    for edit in sorted(edits):
        parts += (text[done : edit.start], edit.text)
        done = edit.end
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


def duplicate(text: bytes, parsed: Mapping[str, object]) -> str | None:
    """The first key that the outermost object holds twice, or None. `parsed` is the same object, parsed.

    A key with one spelling only, whose quoted form occurs once in the whole text, cannot occur twice in it; only when
    that cheap proof fails is the text walked.
    """
    if len(parsed) <= _MOST_COUNTED and _MAY_SPELL_ASCII not in text and _are_single(text, parsed):
        return None
    seen = set()
    for member in members(text):
        if member.key in seen:
            return member.key
        seen.add(member.key)
    return None


def _are_single(text: bytes, keys: Iterable[str]) -> bool:
    for key in keys:  # noqa: SIM110 - a generator costs more than all it would count
        if not key.isascii() or "/" in key or text.count(b'"%b"' % key.encode()) != 1:
            return False
    return True


def locate(text: bytes, key: str) -> tuple[int, int] | None:
    """Where the value of a member of the outermost object stands, as (start, end), or None if it has none.

    The short way: a quoted spelling before any nested bracket can only be the outermost object's key, or a string
    value, which no colon follows. Otherwise the text is walked.
    """
    at = text.find(b'"%b"' % key.encode())
    if at >= 0 and text.count(b"{", 0, at) == 1 and b"[" not in text[:at] and _MAY_SPELL_ASCII not in text[:at]:
        colon = _AFTER_KEY.match(text, at + len(key) + 2)
        if colon is not None and text[at - 1] != 0x5C:
            return colon.end(), _end_of_value(text, colon.end())
    for member in members(text):
        if member.key == key:
            return member.start, member.end
    return None
