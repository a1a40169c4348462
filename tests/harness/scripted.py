"""Providers inside the process that do with each call what its run's script says, and callers who read or leave."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from headgate.core import surfaces
from headgate.core.chat import ChatEvent
from headgate.core.errors import (
    HeadgateError,
    UpstreamBroke,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.request import parse_json
from headgate.core.run import Attempt, Run, now
from headgate.core.tokens import Tokens
from headgate.pipeline.context import Deps
from headgate.pipeline.run import execute

FAILURES = (UpstreamUnavailable, UpstreamRateLimited, UpstreamUnreachable, UpstreamTimeout, UpstreamRejected)


@dataclass(frozen=True)
class Try:
    """What one call comes to: an answer of so many tokens, or a failure before (`failure`) or within it (`breaks`).

    `counted`: the provider says how many tokens there were. `hangs`: it never ends.
    """

    failure: type[HeadgateError] | None = None
    tokens: int = 3
    counted: bool = True
    breaks: bool = False
    hangs: bool = False


@dataclass
class Act:
    """One request. `leaves`: after so many events, 0 to be cancelled as it waits, None to read to the end."""

    key: str
    user: str
    model: str
    stream: bool
    leaves: int | None
    tries: list[Try]
    run: Run | None = field(default=None)


class Provider:
    """One upstream. `scripts` are by run id."""

    def __init__(self, name: str, scripts: dict[str, list[Try]]) -> None:
        self.name = name
        self.speaks = frozenset(("chat",))
        self._scripts = scripts

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        script = self._scripts.get(call.run_id)
        what = script.pop(0) if script else Try()
        await asyncio.sleep(0)
        if what.failure is not None:
            raise what.failure("as scripted")
        if what.hangs and not call.request.stream:
            await asyncio.Event().wait()
        if call.request.stream:
            return Pieces(what, attempt)
        if what.breaks:
            raise UpstreamBroke("as scripted")
        attempt.first_byte = attempt.first_token = now()
        if what.counted:
            attempt.tokens = Tokens(7, what.tokens)
        return Whole(b'{"choices":[]}' + b" " * what.tokens)

    async def models(self) -> list[str]:
        return []

    async def check(self) -> Health:
        return Health("up")

    async def close(self) -> None:
        """There is nothing to give back."""


class Pieces:
    """An answer in pieces, one for each token."""

    content_type = b"text/event-stream"
    events = True

    def __init__(self, what: Try, attempt: Attempt) -> None:
        self.before_end: Callable[[], None] | None = None
        self._what = what
        self._attempt = attempt
        self._given = 0

    async def next(self) -> bytes:
        what, attempt = self._what, self._attempt
        await asyncio.sleep(0)
        if self._given < what.tokens:
            self._given += 1
            attempt.chunks += 1
            attempt.text_bytes += 4
            attempt.first_token = attempt.first_token or now()
            return b"data: {}\n\n"
        if what.hangs:
            await asyncio.Event().wait()
        if what.breaks:
            raise UpstreamBroke("as scripted")
        if self._given > what.tokens:
            return b""
        self._given += 1
        if what.counted:
            attempt.tokens = Tokens(7, what.tokens)
        if self.before_end is not None:
            self.before_end()
        return b"data: [DONE]\n\n"

    async def pour(self, sink: Sink, room: Room) -> None:
        """All comes by `next`."""

    def close(self) -> None:
        """There is nothing to cut."""


async def perform(act: Act, run: Run, deps: Deps) -> None:
    """Make the request and read its answer as the act says; what fails is told to nobody."""
    act.run = run
    body = b'{"model":"%b","max_tokens":20,"stream":%b,"messages":[{"role":"user","content":"Hi there"}]}'
    request = parse_json(surfaces.CHAT, body % (act.model.encode(), b"true" if act.stream else b"false"))
    run.model, run.stream, run.bytes_in = request.model, request.stream, len(body)
    reading = asyncio.get_running_loop().create_task(_read(act, run, execute(request, run, deps)))
    if act.leaves == 0 or any(one.hangs for one in act.tries):
        for _ in range(40):
            await asyncio.sleep(0)
        await asyncio.sleep(0.003)
        reading.cancel()
    with suppress(HeadgateError, asyncio.CancelledError):
        await reading


async def _read(act: Act, run: Run, events: AsyncGenerator[Event | ChatEvent]) -> None:
    seen = 0
    try:
        async for event in events:
            seen += 0 if isinstance(event, Opened) else 1
            run.bytes_out += len(event) if isinstance(event, bytes) else 0
            if act.leaves and seen >= act.leaves:
                break
    finally:
        await events.aclose()
