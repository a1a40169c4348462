"""Multipart forms (RFC 7578), read in place: the text fields and where they stand. Files are never copied.

Written for relaying: the reader of a framework would spool each file to disk only for us to put it together again.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.core import splice
from headgate.core.errors import InvalidForm

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'(?:^|[;\s])name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(rb"(?:^|[;\s])filename\*?=", re.IGNORECASE)
_FILENAME = re.compile(rb'(?:^|[;\s])filename="([^"]*)"', re.IGNORECASE)
_CONTENT_TYPE = re.compile(rb"(?:^|\r\n)content-type:[ \t]*([^\r]*)", re.IGNORECASE)
_MOST_PARTS = 100
_LONGEST_PART_HEADER = 4096
_LONGEST_TEXT = 1 << 20


class File(NamedTuple):
    """Where a file stands in the body, as (start, end), and the part's headers."""

    field: str
    span: tuple[int, int]
    head: bytes

    @property
    def name(self) -> str:
        """As the sender calls it, without any folders; empty if it says nothing."""
        found = _FILENAME.search(self.head)
        told = found[1].decode(errors="replace") if found else ""
        return told.replace("\\", "/").rpartition("/")[2]

    @property
    def content_type(self) -> str:
        found = _CONTENT_TYPE.search(self.head)
        return found[1].decode("latin-1").partition(";")[0].strip().lower() if found else ""


@dataclass(frozen=True, slots=True)
class Form:
    """`texts` are the text fields; `spans` where their values stand in the body, as (start, end).

    `parts` are where their parts stand whole, each with the delimiter before it; a list may have several.
    """

    content_type: bytes
    texts: dict[str, str]
    spans: dict[str, tuple[int, int]]
    parts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)


def parse(raw: bytes, content_type: str) -> Form:
    """Read a form; raises InvalidForm for a missing boundary, a broken part or more than 100 parts.

    Strict, for whoever reads the form after us must find the same fields in it.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise InvalidForm("The content type names no boundary.")
    delimiter = re.compile(rb"--%b(?:(--)|[ \t]*\r\n)" % re.escape((found[1] or found[2]).encode("latin-1")))
    at = delimiter.search(raw)
    if at is None or (at.start() and raw[at.start() - 2 : at.start()] != b"\r\n"):
        raise InvalidForm("The body does not hold the boundary that the content type names.")
    parsed = Form(content_type.encode("latin-1"), {}, {})
    for _ in range(_MOST_PARTS + 1):
        if at[1]:
            return parsed
        at = _read_part(raw, at, delimiter, parsed)
    raise InvalidForm(f"The form has more than {_MOST_PARTS} parts.")


def _read_part(raw: bytes, before: re.Match[bytes], delimiter: re.Pattern[bytes], parsed: Form) -> re.Match[bytes]:
    """Note one part, whose headers begin where the delimiter `before` it ends; returns the delimiter behind it."""
    at = before.end()
    head_end = raw.find(b"\r\n\r\n", at, at + _LONGEST_PART_HEADER)
    if head_end < 0:
        raise InvalidForm("A part of the form has no end of its headers.")
    start = head_end + 4
    behind = delimiter.search(raw, start)
    while behind is not None and (behind.start() < start + 2 or raw[behind.start() - 2 : behind.start()] != b"\r\n"):
        behind = delimiter.search(raw, behind.start() + 1)
    if behind is None:
        raise InvalidForm("The last part of the form does not end with the boundary.")
    head = raw[at:head_end]
    name = _NAME.search(head)
    if name is None:
        raise InvalidForm("A part of the form has no name.")
    end = behind.start() - 2
    if _FILE.search(head):
        parsed.files.append(File(name[1].decode(errors="replace"), (start, end), head))
    elif end - start <= _LONGEST_TEXT:
        key = _note_text(parsed, name[1], raw, start, end)
        parsed.parts.setdefault(key, []).append((before.start(), behind.start()))
    return behind


def _note_text(parsed: Form, name: bytes, raw: bytes, start: int, end: int) -> str:
    try:
        key, text = name.decode(), raw[start:end].decode()
    except UnicodeDecodeError:
        raise InvalidForm("A text field of the form is not UTF-8.") from None
    if key in parsed.texts and not key.endswith("[]"):
        raise InvalidForm(f"The field '{key}' occurs twice.", param=key)
    parsed.texts[key] = text
    parsed.spans[key] = (start, end)
    return key


def changed(raw: bytes, parsed: Form, put: Mapping[str, str], drop: Container[str]) -> bytes:
    """The same form with other values for text fields that it has, and without some; what is in both is put."""
    spans = parsed.spans
    edits: list[splice.Edit] = [(*spans[name], text.encode()) for name, text in put.items() if name in spans]
    for name, parts in parsed.parts.items():
        if name in drop and name not in put:
            edits += [(start, end, b"") for start, end in parts]
    return splice.apply(raw, edits)


def without_boundary(raw: bytes, parsed: Form) -> bytes:
    """The form without the text between its parts, which clients make up anew for each try."""
    found = _BOUNDARY.search(parsed.content_type.decode("latin-1"))
    return raw.replace((found[1] or found[2]).encode("latin-1"), b"") if found else raw
