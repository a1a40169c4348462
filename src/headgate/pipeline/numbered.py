"""The stream of a turn on a stored conversation, with events that are numbered and kept: a cut one can be gone on with.

Knows nothing of how the turn itself is kept; that has happened before the last event comes by here.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from headgate.conversations.store import State
from headgate.conversations.types import Conversation, Owner, Status, StoredRun, milliseconds, new_id
from headgate.core.chat import ChatEvent, Ended
from headgate.core.errors import HeadgateError
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.run import Run
from headgate.dialects.table import CALLERS
from headgate.dialects.types import Writer
from headgate.pipeline.context import Deps
from headgate.pipeline.scribe import Scribe
from headgate.pipeline.telling import DONE, Telling, data_in
from headgate.pipeline.translate import writer_for

log = logging.getLogger(__name__)
_LEASE_SECONDS = 60.0
_LASTS = {"messages": b"message_stop"}
"""What the last event tells, by dialect, where it is no end marker."""


Story = AsyncGenerator[Event | ChatEvent]


class Said(Protocol):
    """What a turn has to tell of itself: the conversation as it is, and the items that were said and are kept."""

    @property
    def head(self) -> Conversation: ...

    @property
    def said(self) -> Sequence[Mapping[str, Any]]: ...


async def numbered(story: Story, turn: Said, run: Run, deps: Deps) -> Story:
    """The same events, those of a stream as bytes with an `id:` each."""
    if not run.stream or deps.state is None or deps.scribe is None:
        async with aclosing(story):
            async for event in story:
                yield event
        return
    stream = Numbered(turn, run, deps.state, deps.scribe)
    try:
        async with aclosing(story):
            async for event in story:
                if isinstance(event, Whole):
                    yield event
                elif isinstance(event, Opened):
                    await stream.begin()
                    yield event._replace(pour=_not_pushed)
                elif isinstance(event, bytes):
                    yield await stream.tell(event)
                elif said := stream.say(event):
                    if await stream.begin():
                        yield Opened(stream.content_type, True, _not_pushed)
                    yield await stream.tell(said)
    except HeadgateError as error:
        await stream.fail(error)
        raise
    finally:
        await asyncio.shield(stream.leave())


class Numbered:
    """One stream."""

    def __init__(self, turn: Said, run: Run, state: State, scribe: Scribe) -> None:
        self._turn = turn
        self._run = run
        self._state = state
        self._scribe = scribe
        self._writer: Writer | None = None
        self._stored: StoredRun | None = None
        self._telling = Telling(new_id("resp"), run.dialect or "chat", scribe)
        self._renewing: asyncio.Task[None] | None = None
        self._is_over = False
        self.content_type = CALLERS[self._telling.dialect].content_type

    async def begin(self) -> bool:
        """Begin the stored run; False if it was begun before."""
        if self._stored is not None:
            return False
        run, head, now = self._run, self._turn.head, milliseconds()
        self._stored = StoredRun(
            self._telling.run,
            run.id,
            head.id,
            Owner(run.who.tenant, run.who.user),
            "in_progress",
            False,
            now,
            0,
            {"model": run.model, "headgate": {"dialect": self._telling.dialect, "key": run.who.key_id}},
            None,
            "",
            head.segment,
            head.depth,
            0,
            run.id,
            now + int(_LEASE_SECONDS * 1000),
        )
        await self._state.runs.begin(self._stored)
        run.resumable = self._stored.id
        self._renewing = asyncio.get_running_loop().create_task(self._keep_holding(self._stored.id))
        return True

    def say(self, event: Any) -> bytes:
        """An event of a run that the gateway steers, in the caller's words."""
        run = self._run
        if self._writer is None:
            self._writer = writer_for(run.dialect, run.asked or {}, run, usage=run.wants_usage)
            run.breaks_off = self._writer.broken
        return self._writer.feed(event) + (self._writer.end() if type(event) is Ended else b"")

    async def tell(self, frames: bytes) -> bytes:
        """A piece of the stream. The run is noted as complete before its last event is told."""
        said = []
        for event, data in data_in(frames):
            if data is None:
                said.append(event)
            elif self._is_last(event, data):
                last = self._telling.next(data)
                await self._end("completed", () if data == DONE else (last,))
                said.append(self._telling.frame(last))
            else:
                said.append(self._telling.tell(data))
        return b"".join(said)

    def _is_last(self, event: bytes, data: bytes) -> bool:
        last = _LASTS.get(self._telling.dialect)
        return data == DONE if last is None else event.startswith(b"event: " + last)

    async def _end(self, status: Status, told: Sequence[Any] = ()) -> None:
        assert self._stored is not None
        self._is_over = True
        head, said = self._turn.head, self._turn.said
        events = [*await self._scribe.take(self._telling.run), *told]
        response = self._response(status)
        where = head.depth - len(said)
        runs, segment = self._state.runs, head.segment
        await runs.change(self._stored, status, response=response, told=events, segment=segment, base=where)
        self._scribe.wake(self._telling.run)

    def _response(self, status: Status) -> dict[str, Any]:
        """The turn as a response, so that it can be gone on from at any door."""
        told = {"id": self._telling.run, "object": "response", "created_at": milliseconds() // 1000, "store": True}
        return {**told, "status": status, "model": self._run.model, "output": [dict(one) for one in self._turn.said]}

    async def fail(self, error: HeadgateError) -> None:
        """Keep what tells that the stream broke off; the caller is sent the same."""
        if self._stored is None or self._is_over:
            return
        run = self._run
        told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
        last = (run.breaks_off or CALLERS[self._telling.dialect].broken)(error.status, {**told, "request_id": run.id})
        frames = b"".join(event if data is None else self._telling.tell(data) for event, data in data_in(last))
        run.breaks_off = lambda _status, _error: frames
        try:
            await self._end("failed")
        except HeadgateError as fault:
            log.warning("the end of run %s could not be kept: %s", self._telling.run, fault.message)

    async def leave(self) -> None:
        """The caller left, or the run was stopped: what was told can still be read."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._stored is not None and not self._is_over:
            await self._end("cancelled")

    async def _keep_holding(self, run: str) -> None:
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 3)
            try:
                await self._state.runs.take(run, self._run.id, _LEASE_SECONDS)
            except HeadgateError as error:
                log.warning("the lease of run %s could not be prolonged: %s", run, error.message)


async def _not_pushed(_sink: Sink, _room: Room) -> None:
    """All pieces have to come by here."""
