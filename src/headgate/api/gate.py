"""What every route shares: who may ask, the bounds of a request, and the count of requests in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from headgate.api.auth import key_of
from headgate.core.errors import BodyTooLarge, Draining, Overloaded
from headgate.core.ids import child_of, new_run_id
from headgate.core.ports import Upstream
from headgate.core.run import Run
from headgate.identity.keys import KeyRing
from headgate.pipeline.context import Deps
from headgate.telemetry.exchange import Exchange
from headgate.telemetry.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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
    upstreams: Mapping[str, Upstream]
    metrics_public: bool = False
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

    def enter(self, run: Run, headers: Mapping[bytes, bytes]) -> None:
        """Let a request in by its headers alone; raises Unauthenticated, Draining or Overloaded."""
        run.who = self.keys.recognise(key_of(headers))
        if self.draining:
            raise Draining("This process is shutting down.", retry_after=1)
        if self.bounds.in_flight and len(self.active) > self.bounds.in_flight:
            raise Overloaded("Too many requests are in flight.", retry_after=1)


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body; raises BodyTooLarge as soon as its length is known to pass the limit."""
    length = headers.get(b"content-length")
    if length is not None and int(length) > limit:
        raise BodyTooLarge(f"The body has {int(length)} bytes; the limit is {limit}.")
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        if len(body) > limit:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
    return b"".join(parts)
