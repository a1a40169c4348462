"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) as bytes.

Finds where events end, whatever the line ends and however the bytes were cut; never looks into the data beyond that.
"""

from collections.abc import Iterator

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
_LONGEST_EVENT = 32 << 20


class EventTooLong(Exception):
    """An event that passes 32 MiB without ending."""


class Splitter:
    """Cuts a byte stream behind the last complete event and keeps the rest for later."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = bytearray()
        """What has come of an event that is not complete."""

    def feed(self, data: bytes) -> bytes:
        """The complete events that `data` finishes, as one run of bytes; empty when none is complete yet."""
        rest = self.rest
        if not rest and data.endswith(b"\n\n"):
            return data
        seen = len(rest)
        rest += data
        end = _end_of_last_event(rest, max(0, seen - 3))
        if len(rest) - end > _LONGEST_EVENT:
            raise EventTooLong
        complete = bytes(rest[:end])
        del rest[:end]
        return complete


def _end_of_last_event(data: bytearray, start: int) -> int:
    """Where the last blank line ends, looking from `start` on; 0 if there is none. Lines end in LF, CR LF or CR."""
    end = 0
    for blank in (b"\n\n", b"\n\r\n", b"\r\r"):
        at = data.rfind(blank, start)
        if at >= 0:
            end = max(end, at + len(blank))
    return end


def events(data: bytes) -> Iterator[bytes]:
    """The single events of a run of complete ones, each with its blank line."""
    if b"\r" not in data:
        start = 0
        while (end := data.find(b"\n\n", start)) >= 0:
            yield data[start : end + 2]
            start = end + 2
        if start < len(data):
            yield data[start:]  # one more empty line
        return
    lines: list[bytes] = []
    for line in data.splitlines(keepends=True):
        lines.append(line)
        if not line.strip(b"\r\n"):
            yield b"".join(lines)
            lines = []


def data_of(event: bytes) -> bytes | None:
    """The event's data, its `data:` lines joined by a line feed; None for comments and events without data."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2]
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def event(data: bytes) -> bytes:
    """One event that carries `data`, which must hold no line end."""
    return b"data: %b\n\n" % data
