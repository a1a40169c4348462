"""Protocols between features, each with at least two real implementations."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from headgate.core.audit import Act
from headgate.core.bounds import Bound, Refusal, Spent, Ticket, Used, Want
from headgate.core.events import Room, Sink, Whole
from headgate.core.request import UNCHANGED, Changes, ModelRequest
from headgate.core.run import Attempt


class Call(NamedTuple):
    """One call to make: `model` is the provider's name for what the caller named `request.model`.

    `changes` are made to the request's fields before they are sent.
    """

    request: ModelRequest
    model: str
    run_id: str
    traceparent: str
    changes: Changes = UNCHANGED
    tracestate: str = ""
    headers: bytes = b""
    """Lines of the caller's headers that are for a provider called in the caller's own words."""


@dataclass(frozen=True, slots=True)
class Health:
    """How an upstream looked when last asked. `state` is up, down, loading or unknown; latency in milliseconds."""

    state: str
    latency_ms: float | None = None
    detail: str = ""


class Stream(Protocol):
    """An answer that comes in pieces, its first one already here. `events`: the pieces are server-sent events."""

    content_type: bytes
    events: bool
    before_end: Callable[[], None] | None
    """Called before what ends the answer for the caller is given out, where that can be told."""

    async def next(self) -> bytes:
        """The next piece, ready to be sent; empty at the end. Raises UpstreamError when it breaks off."""

    async def pour(self, sink: Sink, room: Room) -> None:
        """Push pieces into `sink` as they arrive, for as long as they can be pushed; never raises UpstreamError.

        When it returns, `next` gives what is left: further pieces, the end, or the error. `sink` says whether it can
        take more at once; if not, nothing is pushed until `room` returns.
        """

    def close(self) -> None:
        """Cut the stream, or give its connection back if it ended."""


class Upstream(Protocol):
    """Where calls go. `speaks`: the dialects in which it takes chats; it never sees one in any other."""

    name: str
    speaks: frozenset[str]

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        """Make the call and wait for its answer or the first piece of it; notes what it sees in `attempt`.

        Raises UpstreamError while another attempt could still follow without the caller noticing.
        """

    async def models(self) -> list[str]:
        """The provider's own list of model ids; empty when it has none. Raises UpstreamError."""

    async def check(self) -> Health:
        """Ask whether the provider is there, within a few seconds; never raises UpstreamError."""

    async def close(self) -> None:
        """Give back connections and processes."""


class Counters(Protocol):
    """What subjects have used and hold, for one worker, for all of a machine, or for several machines."""

    async def take(self, bounds: tuple[Bound, ...], want: Want) -> Ticket | Refusal:
        """Take what is wanted under every bound or under none. The subjects of the bounds differ."""

    def settle(self, ticket: Ticket, tokens: int, nano_usd: int) -> None:
        """Give back what an open ticket holds and book what was used; never waits, never raises."""

    def learn(self, spent: Spent) -> None:
        """What the ledger knows to be spent; amounts that are known here to be larger stay."""

    async def look(self, bounds: Sequence[Bound]) -> list[Used]:
        """What the subjects of bounds with budgets used, one for each; takes nothing. Raises LimitsUnavailable."""

    async def close(self) -> None:
        """Let go of files and connections; whatever is still held is given back."""


class Whose(NamedTuple):
    """A user of a tenant; the whole tenant where `user` is None."""

    tenant: str
    user: str | None = None


class Holding(Protocol):
    """What one part of the gateway keeps of people."""

    name: str

    def export(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        """Each thing as fields, with its `type`. Raises DatabaseUnavailable."""

    async def erase(self, transaction: Any, whose: Whose, name: str) -> int:
        """Take it away within a transaction, or put `name` in the place of the id where sums need one; how many."""


class Witness(Protocol):
    """Who keeps what was done. A change that it cannot note is undone."""

    async def note(self, transaction: Any, act: Act) -> Any:
        """Put an act down within the transaction that does it. Raises DatabaseUnavailable."""

    async def committed(self, noted: Any) -> None:
        """Told once that transaction is committed, with what `note` gave; never raises."""
