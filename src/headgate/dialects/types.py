"""What a dialect is: the words of one API for a request, for an answer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from headgate.core.chat import Answer, ChatEvent
from headgate.core.chat_request import ChatRequest, Rendered

EVENT_STREAM = b"text/event-stream; charset=utf-8"


class Reader(Protocol):
    """One answer of a model in a provider's words, from its stream or whole; `answer` fills up meanwhile."""

    answer: Answer

    def feed(self, frames: bytes) -> Iterable[ChatEvent]:
        """Complete server-sent events; gives what they say."""

    def whole(self, body: bytes) -> Iterable[ChatEvent]:
        """A complete answer; raises UpstreamGarbled when it holds none."""

    def finish(self) -> Iterable[ChatEvent]:
        """The answer is over; gives what was held back until now. Never gives Ended."""


class Writer(Protocol):
    """Puts a run into a caller's words. Is fed the events of core.chat in their order; the last is Ended."""

    def feed(self, event: ChatEvent) -> bytes:
        """What the caller is sent for an event at once; empty for nothing."""

    def end(self) -> bytes:
        """What is left to send when all events were fed: the whole answer, for callers that asked for no stream."""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        """A stream's last events when it breaks off instead. `error` is the error object as OpenAI's API has it."""


class Occasion(NamedTuple):
    """What a writer has to know of the run. `created` in seconds; `fields` are the request's, in the caller's words.

    `usage`: a stream tells the tokens (chat tells them only when asked). `extensions`: also tell what the gateway does.
    """

    run_id: str
    model: str
    created: int
    fields: Mapping[str, Any]
    usage: bool
    extensions: bool


@dataclass(frozen=True, slots=True)
class Dialect:
    """A row of `dialects/table.py`.

    `parse` raises InvalidField naming the path of what cannot be read. `render` never fails: it tells what is lost.
    `reader(streams_calls)`: with it, calls come as CallBegun and CallPiece while they are made, else whole at the end.
    `streamed` and `whole` make a writer. `refused(status, error)` is the body of an answer that is an error, `broken`
    the last event of a stream that nobody here wrote; `error` is the error object as OpenAI's API has it. `ping` keeps
    a silent stream alive. `content_type` is that of its streams.
    """

    name: str
    parse: Callable[[Mapping[str, Any]], ChatRequest]
    render: Callable[[ChatRequest], Rendered]
    reader: Callable[[bool], Reader]
    streamed: Callable[[Occasion], Writer]
    whole: Callable[[Occasion], Writer]
    refused: Callable[[int, Mapping[str, Any]], Mapping[str, Any]]
    broken: Callable[[int, Mapping[str, Any]], bytes]
    ping: bytes
    content_type: bytes = EVENT_STREAM


@dataclass(frozen=True, slots=True)
class Facade:
    """A dialect that callers speak and no provider does: its requests are said as chat. Its members are a Dialect's."""

    name: str
    parse: Callable[[Mapping[str, Any]], ChatRequest]
    streamed: Callable[[Occasion], Writer]
    whole: Callable[[Occasion], Writer]
    refused: Callable[[int, Mapping[str, Any]], Mapping[str, Any]]
    broken: Callable[[int, Mapping[str, Any]], bytes]
    ping: bytes
    content_type: bytes
