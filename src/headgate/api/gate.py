"""What every route shares: who may ask, the bounds of a request, and the count of requests in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from headgate.api.auth import key_of
from headgate.api.lists import NO_LISTS, Lists
from headgate.core.errors import Draining, InvalidHeader, Overloaded
from headgate.core.ids import child_of, new_run_id
from headgate.core.money import Price
from headgate.core.principal import Principal
from headgate.core.run import Run
from headgate.identity.compose import Identity
from headgate.identity.keys import KeyRing
from headgate.pipeline.context import Deps
from headgate.telemetry.exchange import Exchange
from headgate.telemetry.metrics import Metrics
from headgate.tools.runner import ToolBounds
from headgate.tools.types import Tool
from headgate.usage.reports import Reports

_LONGEST_USER = 256
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def _user(header: bytes) -> str:
    """The id of an end user; raises InvalidHeader."""
    user = header.decode("latin-1").strip()
    if not user or len(user) > _LONGEST_USER or not user.isprintable():
        message = f"The header x-user-id must hold 1 to {_LONGEST_USER} printable characters."
        raise InvalidHeader(message, param="x-user-id")
    return user


def _no_price(_upstream: str, _model: str, _tokens: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Bounds:
    """`body` in bytes; `in_flight` model calls at once, 0 for no bound; `keep_alive` seconds between comments."""

    body: int
    in_flight: int
    keep_alive: float


@dataclass(slots=True)
class Gate:
    """Handed to every route by the composition root."""

    keys: KeyRing
    deps: Deps
    bounds: Bounds
    metrics: Metrics
    exchange: Exchange
    metrics_public: bool = False
    litellm_headers: bool = False
    key_header: bytes = b""
    """Lower-case name of a further header that may carry the key."""
    lists: Lists = NO_LISTS
    identity: Identity | None = None
    """Keys and tenants, for operators; None where nothing is kept."""
    reports: Reports | None = None
    list_price: Callable[[str, str, int], Price | None] = _no_price
    """By (upstream's name, model id, tokens of the prompt)."""
    trouble: Callable[[], str] = str
    """Why the ledger is not written now; empty when it is."""
    tools: Callable[[], Iterable[Tool]] = tuple
    """The gateway's own tools, as they are now."""
    tool_bounds: ToolBounds = field(default_factory=ToolBounds)
    draining: bool = False
    active: set["asyncio.Task[Any]"] = field(default_factory=set)
    """The tasks of model calls in flight."""

    def begin(self, route: str, headers: Mapping[bytes, bytes]) -> Run:
        """A new run for a request that just came in."""
        caller_id = headers.get(b"x-request-id")
        traceparent = headers.get(b"traceparent")
        return Run(
            new_run_id(caller_id.decode("latin-1") if caller_id else None),
            child_of(traceparent.decode("latin-1") if traceparent else None),
            route,
        )

    def recognise(self, headers: Mapping[bytes, bytes]) -> Principal:
        """Whose key the headers carry; raises Unauthenticated."""
        return self.keys.recognise(key_of(headers, self.key_header))

    def enter(self, run: Run, headers: Mapping[bytes, bytes]) -> None:
        """Let a request in by its headers alone; raises Unauthenticated, Draining or Overloaded."""
        run.who = self.recognise(headers)
        if user := headers.get(b"x-user-id"):
            run.who = self.keys.for_user(run.who, _user(user))
        if self.draining:
            raise Draining("This process is shutting down.", retry_after=1)
        if self.bounds.in_flight and len(self.active) > self.bounds.in_flight:
            raise Overloaded("Too many requests are in flight.", retry_after=1)
