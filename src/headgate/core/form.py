"""Multipart forms (RFC 7578), read in place: the text fields and where they stand. Files are never copied.

Written for relaying: the reader of a framework would spool each file to disk only for us to put it together again.
"""

import re
from dataclasses import dataclass

from headgate.core import splice
from headgate.core.errors import InvalidForm

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'(?:^|[;\s])name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(rb"(?:^|[;\s])filename\*?=", re.IGNORECASE)
_MOST_PARTS = 100
_LONGEST_PART_HEADER = 4096
_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Form:
    """`texts` are the text fields; `spans` where their values stand in the body, as (start, end)."""

    content_type: bytes
    texts: dict[str, str]
    spans: dict[str, tuple[int, int]]
    first_part: int


def parse(raw: bytes, content_type: str) -> Form:
    """Read a form; raises InvalidForm for a missing boundary, a broken part or more than 100 parts."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise InvalidForm("The content type names no boundary.")
    mark = b"--" + (found[1] or found[2]).encode("latin-1")
    at = raw.find(mark)
    if at < 0:
        raise InvalidForm("The body does not hold the boundary that the content type names.")
    parsed = Form(content_type.encode("latin-1"), {}, {}, at)
    for _ in range(_MOST_PARTS):
        at += len(mark)
        if raw.startswith(b"--", at):
            return parsed
        at = _read_part(raw, at, mark, parsed)
    raise InvalidForm(f"The form has more than {_MOST_PARTS} parts.")


def _read_part(raw: bytes, at: int, mark: bytes, parsed: Form) -> int:
    """Note one part; returns where the next boundary starts."""
    head_end = raw.find(b"\r\n\r\n", at, at + _LONGEST_PART_HEADER)
    if head_end < 0:
        raise InvalidForm("A part of the form has no end of its headers.")
    start = head_end + 4
    end = raw.find(b"\r\n" + mark, head_end + 2)
    if end < 0:
        raise InvalidForm("The last part of the form does not end with the boundary.")
    head = raw[at:head_end]
    name = _NAME.search(head)
    if name is None:
        raise InvalidForm("A part of the form has no name.")
    if not _FILE.search(head) and end - start <= _LONGEST_TEXT:
        _note_text(parsed, name[1], raw, start, max(start, end))
    return end + 2


def _note_text(parsed: Form, name: bytes, raw: bytes, start: int, end: int) -> None:
    try:
        key, text = name.decode(), raw[start:end].decode()
    except UnicodeDecodeError:
        raise InvalidForm("A text field of the form is not UTF-8.") from None
    if key in parsed.texts and not key.endswith("[]"):
        raise InvalidForm(f"The field '{key}' occurs twice.", param=key)
    parsed.texts[key] = text
    parsed.spans[key] = (start, end)


def with_text(raw: bytes, parsed: Form, name: str, text: str) -> bytes:
    """The same form with another value for one of its text fields."""
    return splice.apply(raw, [splice.Edit(*parsed.spans[name], text.encode())])
