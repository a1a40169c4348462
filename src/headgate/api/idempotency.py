"""Calls with an `Idempotency-Key`: made once, in a task of their own; every caller gets what is recorded of the answer.

So the first caller is one among those who listen, and the call goes on when he leaves: he will come back for it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import closing
from typing import Any, NamedTuple

from headgate.api.gate import Gate
from headgate.api.stream import Reply
from headgate.core.chat import ChatEvent
from headgate.core.errors import (
    Conflict,
    Draining,
    HeadgateError,
    InternalError,
    InvalidHeader,
    UpstreamBroke,
    UpstreamRejected,
)
from headgate.core.events import Event
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.idempotency.keeper import Claim, Keeper
from headgate.idempotency.recording import Recording
from headgate.idempotency.types import Ended, Head, MakerGone, Started
from headgate.pipeline.context import Deps
from headgate.pipeline.run import execute
from headgate.pipeline.settle import settle

log = logging.getLogger(__name__)
_LONGEST_KEY = 255
_WOULD_REPEAT = frozenset((400, 413, 415, 422))
"""Statuses by which a provider refuses what the caller sent, whenever it is sent."""


Story = Callable[[ModelRequest, Run, Deps], AsyncGenerator[Event | ChatEvent]]
"""What comes of a request, as the pipeline tells it."""


class Asked(NamedTuple):
    """A call as it came. `pings`: see Reply. `story` makes the answer."""

    request: ModelRequest
    run: Run
    pings: float
    story: Story = execute


async def answer_once(key: bytes, asked: Asked, reply: Reply, gate: Gate) -> None:
    """Send the one answer that belongs to the key. Raises InvalidHeader, Conflict or UpstreamBroke."""
    run, keeper = asked.run, gate.keeper
    assert keeper is not None
    name = keeper.name_of(run.who, run.route, _checked(key))
    head = Head(run.id, keeper.hash_of(asked.request.identity, run.wishes))
    while True:
        claim = await _claim(keeper, name, head, asked, gate)
        try:
            with closing(claim.answer):
                await _listen(claim, reply, gate)
        except MakerGone:
            if reply.started:
                raise UpstreamBroke("The process that made this answer ended before it was complete.") from None
        else:
            return


async def _claim(keeper: Keeper, name: str, head: Head, asked: Asked, gate: Gate) -> Claim:
    """Find the answer, or begin to make it."""
    counted, run = gate.metrics.idempotent, asked.run
    try:
        claim = await keeper.claim(name, head)
    except Conflict:
        counted[run.route, "refused"] += 1
        raise
    if claim.making is None:
        run.replay_of = claim.answer.head.run
        counted[run.route, "attached" if claim.answer.ended is None else "replayed"] += 1
    else:
        run.replay_of = None  # of one that died, if we had waited for it
        counted[run.route, "first"] += 1
        handed = asked._replace(run=run.hand_over())
        claim.making.maker = asyncio.get_running_loop().create_task(_make(handed, claim.making, gate))
    return claim


async def _listen(claim: Claim, reply: Reply, gate: Gate) -> None:
    """Send what is recorded. A call of this process counts as one in flight while nobody else does who waits for it."""
    recording = claim.answer if isinstance(claim.answer, Recording) else None
    if recording is not None:
        _count_out(recording, gate)
    try:
        await reply.replay(claim.answer, again=claim.making is None)
    finally:
        if recording is not None and recording.ended is None and not recording.is_heard:
            assert recording.maker is not None
            gate.active[recording.maker] = gate.detached[recording.maker]
            gate.metrics.in_flight += 1


def _count_out(recording: Recording, gate: Gate) -> None:
    if recording.maker in gate.active:
        gate.active.pop(recording.maker)
        gate.metrics.in_flight -= 1


async def _make(asked: Asked, recording: Recording, gate: Gate) -> None:
    """Make the call and record the answer, with what becomes of it."""
    run = asked.run
    task = asyncio.current_task()
    assert task is not None
    gate.detached[task] = run
    output = _Output(recording, run)
    reply = Reply(output.send, run, gate.litellm_headers)
    try:
        await reply.deliver(asked.story(asked.request, run, gate.deps), asked.pings)
    except HeadgateError as error:
        run.fail(error)
        await reply.fail(error)
    except asyncio.CancelledError:
        await _cut_off(recording, run, reply)
    except Exception:
        log.exception("request %s failed", run.id)
        fault = InternalError("A fault of the gateway itself.")
        run.fail(fault)
        await reply.fail(fault)
    finally:
        settle(run, gate.deps)
        recording.end(Ended("kept" if _is_final(run, output) else "dropped", run.outcome, output.is_whole))
        _count_out(recording, gate)
        del gate.detached[task]


async def _cut_off(recording: Recording, run: Run, reply: Reply) -> None:
    if recording.is_unheard:
        run.cut_off()
        return
    error = Draining("This process shut down before the answer was complete.", retry_after=1)
    run.fail(error)
    await reply.fail(error)


def _is_final(run: Run, output: "_Output") -> bool:
    """Whether a repeat shall get this again: an answer, or a provider's refusal of what the caller sent."""
    if not output.is_whole or run.outcome == "disconnected":
        return False
    if run.error is None:
        return True
    return isinstance(run.error, UpstreamRejected) and run.status in _WOULD_REPEAT


class _Output:
    """Where a reply goes that is recorded."""

    def __init__(self, recording: Recording, run: Run) -> None:
        self._recording = recording
        self._run = run
        self.is_whole = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As ASGI's `send`."""
        if message["type"] == "http.response.start":
            self._recording.start(Started(message["status"], list(message["headers"]), self._run.label))
            return
        if body := message.get("body"):
            await self._recording.piece(body)
        if not message.get("more_body"):
            self.is_whole = True


def _checked(header: bytes) -> str:
    """The key; raises InvalidHeader."""
    key = header.decode("latin-1").strip()
    if not 1 <= len(key) <= _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        message = f"The header Idempotency-Key must hold 1 to {_LONGEST_KEY} printable ASCII characters."
        raise InvalidHeader(message, param="idempotency-key")
    return key
