"""What happens to a turn of a conversation while another one is under way: it is refused, waits, or ends the other.

Knows neither HTTP nor how a run is stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar
from weakref import WeakValueDictionary

from headgate.conversations.settings import SecondTurnPolicy
from headgate.conversations.store import Runs
from headgate.conversations.types import Conversation
from headgate.core.run import Run
from headgate.core.state_errors import ConversationBusy

Held = TypeVar("Held")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


_SOON = 2.0
"""Seconds in which a run ends that was dismissed, wherever it is at work."""


async def _nobody(_holder: str, _by: str) -> bool:
    return False


async def _none(_conversation: str) -> bool:
    return False


@dataclass(slots=True)
class SecondTurn:
    """`stop` ends the run of a holder on whatever worker, on behalf of a key; False where there is none."""

    policy: SecondTurnPolicy = "reject"
    seconds: float = 30.0
    stop: Callable[[str, str], Awaitable[bool]] = _nobody
    dismiss: Callable[[str], Awaitable[bool]] = _none
    """Ends the run of a conversation whose caller left and that nobody follows; False where there is none."""
    waiting: int = 0
    """How many turns wait in this worker."""
    _lines: "WeakValueDictionary[str, asyncio.Lock]" = field(default_factory=WeakValueDictionary)

    async def take(self, runs: Runs, head: Conversation, run: Run, lease: float) -> None:
        """Hold the conversation for a run; raises ConversationBusy where that does not come about in time."""
        await self.hold(runs, head.id, run, lambda: runs.hold(head, holder_of(run), lease))

    async def hold(self, runs: Runs, id_: str, run: Run, hold: Callable[[], Awaitable[Held]]) -> Held:
        """What `hold` gives once it comes about; raises ConversationBusy where it does not in time."""
        if self.policy == "reject":
            return await self.at_once(id_, hold)
        until = monotonic() + self.seconds
        line = self._lines.setdefault(id_, asyncio.Lock())
        self.waiting += 1
        try:
            await self._line_up(line, id_)
            try:
                return await self._hold(runs, id_, run, hold, until)
            finally:
                line.release()
        finally:
            self.waiting -= 1

    async def at_once(self, id_: str, hold: Callable[[], Awaitable[Held]]) -> Held:
        """What `hold` gives; raises ConversationBusy while somebody waits for the turn under way."""
        try:
            return await hold()
        except ConversationBusy:
            if not await self.dismiss(id_):
                raise
        until = monotonic() + _SOON
        while True:
            try:
                return await hold()
            except ConversationBusy:
                if monotonic() >= until:
                    raise
            await asyncio.sleep(_FIRST_PAUSE)

    async def _line_up(self, line: asyncio.Lock, id_: str) -> None:
        """Of this worker's turns, the one that came first goes first."""
        try:
            async with asyncio.timeout(self.seconds):
                await line.acquire()
        except TimeoutError:
            raise _busy(id_) from None

    async def _hold(self, runs: Runs, id_: str, run: Run, hold: Callable[[], Awaitable[Held]], until: float) -> Held:
        stopped, pause = "", _FIRST_PAUSE
        with suppress(ConversationBusy):
            return await self.at_once(id_, hold)
        while True:
            try:
                return await hold()
            except ConversationBusy:
                if monotonic() >= until:
                    raise
            if self.policy == "interrupt" and (other := await runs.holder_of(id_)) and other != stopped:
                stopped = other
                await self.stop(other, run.who.key_id)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def holder_of(run: Run) -> str:
    """What holds a conversation for a run: callers choose the ids of runs, so that two may have the same."""
    return run.trace.span_id


def _busy(id_: str) -> ConversationBusy:
    return ConversationBusy(f"Another turn of the conversation {id_} is under way.", retry_after=1)
