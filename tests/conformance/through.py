"""The way of an answer through the gateway, without sockets: a provider's bytes are relayed, read as events, and
written in a caller's words.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from headgate.api.errors import envelope
from headgate.core import sse
from headgate.core.chat import ChatEvent, Ended
from headgate.core.errors import HeadgateError
from headgate.core.request import json_request
from headgate.core.run import Attempt, now
from headgate.core.surfaces import CHAT, MESSAGES, RESPONSES
from headgate.core.tokens import reported
from headgate.dialects.table import CALLERS, DIALECTS
from headgate.dialects.types import Occasion, Reader, Writer
from headgate.upstreams.frames import FrameRelay
from headgate.upstreams.messages import MessagesRelay
from headgate.upstreams.responses_frames import ResponsesRelay
from headgate.upstreams.streams import Relay

NAMES = ("chat", "messages", "responses")
SPOKEN = (*NAMES, "ollama")
"""All that callers may speak; no provider speaks Ollama's own words."""
SURFACES = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}
ASKED = {"model": "small", "stream": True, "messages": [], "input": []}
RUN_ID = "req_0123456789ab"


@dataclass
class Heard:
    """What came of a provider's answer: events, the last of which is Ended unless there was an error."""

    events: list[ChatEvent] = field(default_factory=list)
    error: HeadgateError | None = None


def relay_for(dialect: str) -> tuple[Relay, Attempt]:
    """The class that relays a provider's stream of this dialect, and what it notes."""
    attempt = Attempt("stub", "provider-model", "stub/small", "stub/small", "small", now())
    request = json_request(SURFACES[dialect], {**ASKED, "stream_options": {"include_usage": True}})
    if dialect == "messages":
        return MessagesRelay(request, attempt), attempt
    if dialect == "responses":
        return ResponsesRelay(request, attempt), attempt
    return FrameRelay(request, attempt, hides_usage=False), attempt


def relayed(relay: Relay, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The frames that become of pieces, as EventStream gives them: none behind the end, and the rest at last."""
    for piece in pieces:
        if frames := relay.feed(piece):
            yield frames
        if relay.done or relay.failure:
            break
    if rest := relay.end():
        yield rest


def hear(dialect: str, pieces: Iterable[bytes]) -> Heard:
    """A provider's stream as events. Raises whatever is no error of the gateway's own."""
    relay, attempt = relay_for(dialect)
    reader = DIALECTS[dialect].reader(True)
    heard = Heard()
    try:
        for frames in relayed(relay, pieces):
            heard.events.extend(reader.feed(frames))
        heard.events += _end(reader, attempt)
    except HeadgateError as error:
        heard.error = error
    return heard


def hear_whole(dialect: str, body: bytes) -> Heard:
    """A provider's whole answer as events."""
    reader = DIALECTS[dialect].reader(True)
    attempt = relay_for(dialect)[1]
    heard = Heard()
    try:
        heard.events.extend(reader.whole(body))
        attempt.tokens = reported(orjson.loads(body).get("usage"))
        heard.events += _end(reader, attempt)
    except HeadgateError as error:
        heard.error = error
    return heard


def _end(reader: Reader, attempt: Attempt) -> list[ChatEvent]:
    return [*reader.finish(), Ended(reader.answer.finish, "", attempt.tokens, reader.answer.beside)]


def told(heard: Heard, dialect: str, *, extensions: bool = False) -> bytes:
    """A stream in the caller's words."""
    return written(CALLERS[dialect].streamed(occasion(dialect, extensions=extensions)), heard)


def told_whole(heard: Heard, dialect: str, *, extensions: bool = False) -> bytes:
    """A whole answer in the caller's words; an error is the body of a refusal."""
    row = CALLERS[dialect]
    if heard.error is not None:
        return orjson.dumps(row.refused(heard.error.status, envelope(heard.error, RUN_ID)["error"]))
    return written(row.whole(occasion(dialect, extensions=extensions)), heard)


def written(writer: Writer, heard: Heard) -> bytes:
    out = b"".join(map(writer.feed, heard.events))
    if heard.error is not None:
        return out + writer.broken(heard.error.status, envelope(heard.error, RUN_ID)["error"])
    return out + writer.end()


def occasion(dialect: str, *, extensions: bool = False) -> Occasion:
    return Occasion(RUN_ID, "small", 1763600000, ASKED, usage=True, extensions=extensions)


def events_of(stream: bytes) -> list[bytes]:
    """The single events of a stream, each with its blank line."""
    return list(sse.events(stream))
