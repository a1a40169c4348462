"""The form of a recorded answer in a file: frames, each a letter, a length and that many bytes. Knows no file.

A file that ends within a frame is still being written, or its writer died. The last frame holds a check sum over all
before it.
"""

from collections.abc import Iterator
from struct import Struct
from zlib import crc32

import orjson

from headgate.idempotency.types import Ended, Head, Started

Frame = Head | Started | bytes | Ended
_PREFIX = Struct(">cI")
_LARGEST = 1 << 31


class Damaged(ValueError):
    """Bytes that nobody here wrote so."""


def piece_frame(data: bytes) -> bytes:
    return _PREFIX.pack(b"P", len(data)) + data


def head_frame(head: Head) -> bytes:
    return _framed(b"H", [1, *head])


def started_frame(started: Started) -> bytes:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in started.headers]
    return _framed(b"S", [started.status, headers, started.label])


def ended_frame(ended: Ended, check: int) -> bytes:
    """`check` is the CRC-32 of all bytes before this frame."""
    return _framed(b"E", [*ended, check])


def _framed(kind: bytes, content: object) -> bytes:
    data = orjson.dumps(content)
    return _PREFIX.pack(kind, len(data)) + data


class Reader:
    """Takes a file's bytes as they come and gives the frames that are complete."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._check = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Raises Damaged."""
        rest = self._rest
        rest += data
        at = 0
        while len(rest) - at >= _PREFIX.size:
            kind, length = _PREFIX.unpack_from(rest, at)
            end = at + _PREFIX.size + length
            if length > _LARGEST:
                raise Damaged("a frame without bound")
            if len(rest) < end:
                break
            content = bytes(rest[at + _PREFIX.size : end])
            frame = content if kind == b"P" else self._read(kind, content)
            self._check = crc32(rest[at:end], self._check)
            at = end
            yield frame
        del rest[:at]

    def _read(self, kind: bytes, content: bytes) -> Frame:
        try:
            values = orjson.loads(content)
            if kind == b"E":
                *ended, check = values
                if check != self._check:
                    raise Damaged("the check sum is another")
                return Ended(*ended)
            if kind == b"H":
                return Head(*values[1:])
            if kind == b"S":
                status, headers, label = values
                return Started(
                    status, [(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers], label
                )
        except (ValueError, TypeError) as error:
            raise Damaged(str(error)) from None
        raise Damaged(f"a frame of kind {kind!r}")
