"""Spans as the bytes of OpenTelemetry's protocol: opentelemetry/proto/collector/trace/v1, in protobuf's wire format.

Written out by hand, for the official library spends six times as long on the same bytes; a test reads them back with
the official definitions.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from headgate.core.version import __version__
from headgate.telemetry import content
from headgate.telemetry.spans import SERVER, Shared, Span

_BYTES = 2
_ROOT, _BELOW_LOCAL, _BELOW_REMOTE = b"\x85\x01\x01\0\0\0", b"\x85\x01\x01\x01\0\0", b"\x85\x01\x01\x03\0\0"
"""Flags, all of a trace that is kept: whether the parent is known, and whether it is another process's."""
_SHORT = 1 << 7
"""The length of a shorter text is one byte."""
_BEYOND = 1 << 63
_LARGEST = (1 << 64) - 1
_TIMES, _TIME, _NUMBER = Struct("<cQcQ"), Struct("<Q"), Struct("<d")
_FIRST_TOKEN = b"\x5a\x16\x09%b\x12\x0bfirst_token"
_MOST_REMEMBERED = 2048
_MOST_OF_OWN = 256
"""Of a span's own attributes some come again with the next request; looking further back costs more than it saves."""


def encoded(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """One export request with all the spans, which share a resource."""
    scope = _field(1, _text(1, "headgate") + _text(2, __version__))
    who = _field(1, b"".join(_field(1, _text(1, key) + _field(2, _text(1, value))) for key, value in resource.items()))
    return _field(1, who + _field(2, b"".join((scope, *map(_span, spans)))))


def _span(span: Span) -> bytes:
    name, kind, trace_id, span_id, parent, is_remote, state, started, ended, own, error, first, told, shared = span
    parts = [
        bytes.fromhex(f"0a10{trace_id}1208{span_id}2208{parent}" if parent else f"0a10{trace_id}1208{span_id}"),
        _title(name, kind),
        _TIMES.pack(b"\x39", started, b"\x41", ended),
        *map(_of_shared, shared),
        *map(_remembered, own, own.values()),
    ]
    if state:
        parts.append(_text(3, state))
    if told is not None:
        read = content.of_request if kind == SERVER else content.of_call
        parts += (_attribute(key, value) for key, value in read(told).items())
    if first:
        parts.append(_FIRST_TOKEN % _TIME.pack(first))
    if error:
        parts.append(_field(15, _text(2, error) + b"\x18\x02"))
    parts.append((_BELOW_REMOTE if is_remote else _BELOW_LOCAL) if parent else _ROOT)
    return _field(2, b"".join(parts))


@lru_cache(_MOST_REMEMBERED)
def _title(name: str, kind: int) -> bytes:
    return _text(5, name) + b"\x30%c" % (kind + 1)


@lru_cache(_MOST_REMEMBERED)
def _of_shared(shared: Shared) -> bytes:
    return b"".join(map(_attribute, shared.attributes, shared.attributes.values()))


def _attribute(key: str, value: Any) -> bytes:
    """Field 9 of a span."""
    if type(value) is str and (size := len(value)) < _SHORT and value.isascii():
        return b"%b\x0a%c%b" % (_before(key, size + 2), size, value.encode())
    written = _value(value)
    return _before(key, len(written)) + written


_remembered = lru_cache(_MOST_OF_OWN, typed=True)(_attribute)


@lru_cache(_MOST_REMEMBERED)
def _before(key: str, size: int) -> bytes:
    """What stands before a value of that size."""
    named = _text(1, key) + b"\x12" + _varint(size)
    return b"\x4a" + _varint(len(named) + size) + named


def _value(value: Any) -> bytes:
    """One value: a text, a truth, a whole number, another number, or several texts."""
    kind = type(value)
    if kind is int and 0 <= value < _BEYOND:
        return b"\x18" + _varint(value)
    if kind is float:
        return b"\x21" + _NUMBER.pack(value)
    if isinstance(value, str):
        return _text(1, value)
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return b"\x18" + _varint(value & _LARGEST) if -_BEYOND <= value < 0 else _value(float(value))
    return _field(5, b"".join(_field(1, _text(1, one)) for one in value))


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "replace"))


def _field(number: int, data: bytes) -> bytes:
    """A field that has a length. All numbers here are below 16, so that the tag is one byte."""
    return b"%c%b%b" % (number << 3 | _BYTES, _varint(len(data)), data)


@lru_cache(_MOST_REMEMBERED)
def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
