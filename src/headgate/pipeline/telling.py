"""The events of a stored run as they are sent, each with a number by which a cut stream goes on.

What is kept of an event is its data; the bytes around it are made of the data alone, so that they are the same again.
"""

import re
from collections.abc import Iterator

import orjson

from headgate.conversations.types import StoredEvent
from headgate.core import sse
from headgate.core.errors import InvalidHeader
from headgate.pipeline.scribe import Scribe

_KIND = re.compile(rb'\{"type": ?"([\w.:-]+)"')
_NUMBER = re.compile(rb'"sequence_number": ?(\d{1,15})')
_PLACE = re.compile(r"(resp_[0-9a-f]{32}):(\d{1,9})")
DONE = b"[DONE]"


def frame(run: str, event: StoredEvent, dialect: str) -> bytes:
    """An event as it is sent. Those of Responses have their number inside, and should have no `id` besides."""
    number, data = event
    id_ = b"" if dialect == "responses" else b"id: %b:%d\n" % (run.encode(), number)
    kind = b"" if dialect == "chat" else b"event: %b\n" % kind_of(data)
    lines = data.replace(b"\n", b"\ndata: ") if b"\n" in data else data
    return b"%b%bdata: %b\n\n" % (id_, kind, lines)


def kind_of(data: bytes) -> bytes:
    """The type that an event's data tell."""
    if found := _KIND.match(data):
        return found[1]
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        told = None
    kind = told.get("type") if isinstance(told, dict) else None
    return kind.encode() if isinstance(kind, str) and kind.isprintable() else b"message"


def place_of(header: bytes) -> tuple[str, int]:
    """The stored run and the number of the last event seen; raises InvalidHeader."""
    found = _PLACE.fullmatch(header.decode("latin-1").strip())
    if found is None:
        message = "The header Last-Event-ID must be the id of an event of a stored run, such as resp_…:12."
        raise InvalidHeader(message, param="last-event-id")
    return found[1], int(found[2])


class Telling:
    """Numbers a run's events. `number` is that of the next one."""

    def __init__(self, run: str, dialect: str, scribe: Scribe, number: int = 0) -> None:
        self.run = run
        self.dialect = dialect
        self.number = number
        self._scribe = scribe

    def next(self, data: bytes) -> StoredEvent:
        """The next event; those of Responses tell their number themselves."""
        number, self.number = self.number, self.number + 1
        if self.dialect == "responses":
            told = _NUMBER.search(data)
            if told is None or int(told[1]) != number:
                data = orjson.dumps({**orjson.loads(data), "sequence_number": number})
        return StoredEvent(number, data)

    def tell(self, data: bytes) -> bytes:
        """Keep an event and frame it."""
        event = self.next(data)
        self._scribe.note(self.run, event)
        return self.frame(event)

    def frame(self, event: StoredEvent) -> bytes:
        return frame(self.run, event, self.dialect)


def data_in(frames: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """The events in a piece of a stream, each with its data, None for a comment."""
    for event in sse.events(frames):
        yield event, sse.data_of(event)
