"""Spans as the bytes of OpenTelemetry's protocol: opentelemetry/proto/collector/trace/v1, in protobuf's wire format.

Written out by hand, for the official library spends six times as long on the same bytes; a test reads them back with
the official definitions.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import pack
from typing import Any

from headgate.core.version import __version__
from headgate.telemetry import content
from headgate.telemetry.spans import SERVER, Span

Scalar = str | bool | int | float
_BYTES = 2
_SAMPLED, _PARENT_KNOWN, _PARENT_REMOTE = 0x01, 0x100, 0x200
_LONGEST_REMEMBERED = 64
_BEYOND = 1 << 63
_FIRST_TOKEN = b"\x12\x0bfirst_token"


def encoded(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """One export request with all the spans, which share a resource."""
    scope = _field(1, _text(1, "headgate") + _text(2, __version__))
    who = _field(1, b"".join(_field(1, _pair(key, value)) for key, value in resource.items()))
    return _field(1, who + _field(2, scope + b"".join(_field(2, _span(one)) for one in spans)))


def _span(span: Span) -> bytes:
    parts = [
        _field(1, bytes.fromhex(span.trace_id)),
        _field(2, bytes.fromhex(span.span_id)),
        _text(5, span.name),
        b"\x30%c\x39%b\x41%b" % (span.kind + 1, pack("<Q", span.started), pack("<Q", span.ended)),
    ]
    flags = _SAMPLED
    if span.parent:
        parts.append(_field(4, bytes.fromhex(span.parent)))
        flags |= _PARENT_KNOWN | (_PARENT_REMOTE if span.is_remote else 0)
    if span.state:
        parts.append(_text(3, span.state))
    parts += (_attribute(key, value) for key, value in span.attributes.items())
    if span.content is not None:
        read = content.of_request if span.kind == SERVER else content.of_call
        parts += (_attribute(key, value) for key, value in read(span.content).items())
    if span.first_token:
        parts.append(_field(11, b"\x09" + pack("<Q", span.first_token) + _FIRST_TOKEN))
    if span.error:
        parts.append(_field(15, _text(2, f"{span.error}: {span.told}") + b"\x18\x02"))
    parts.append(b"\x85\x01" + pack("<I", flags))
    return b"".join(parts)


def _attribute(key: str, value: Any) -> bytes:
    """Field 9 of a span. Most short texts and small numbers come again with the next request."""
    kind = type(value)
    if (kind is str and len(value) <= _LONGEST_REMEMBERED) or kind is bool or kind is int:
        return _remembered(key, value)
    return _field(9, _pair(key, value))


@lru_cache(maxsize=4096, typed=True)
def _remembered(key: str, value: Scalar) -> bytes:
    return _field(9, _pair(key, value))


def _pair(key: str, value: Any) -> bytes:
    return _text(1, key) + _field(2, _value(value))


def _value(value: Any) -> bytes:
    """One value: a text, a truth, a whole number, another number, or a list of texts."""
    if isinstance(value, str):
        return _text(1, value)
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if -_BEYOND <= value < _BEYOND:
            return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        value = float(value)
    if isinstance(value, float):
        return b"\x21" + pack("<d", value)
    return _field(5, b"".join(_field(1, _text(1, one)) for one in value))


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "replace"))


def _field(number: int, data: bytes) -> bytes:
    """A field that has a length. All numbers here are below 16, so that the tag is one byte."""
    size = len(data)
    if size < 0x80:
        return b"%c%c%b" % (number << 3 | _BYTES, size, data)
    return b"%c%b%b" % (number << 3 | _BYTES, _varint(size), data)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
