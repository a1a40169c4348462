"""What happens to a turn of a conversation while another one is under way: it is refused, waits, or ends the other.

Knows neither HTTP nor how a run is stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from weakref import WeakValueDictionary

from headgate.conversations.settings import SecondTurnPolicy
from headgate.conversations.store import Runs
from headgate.conversations.types import OPEN, Conversation, StoredRun
from headgate.core.run import Run
from headgate.core.state_errors import ConversationBusy

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


_SOON = 2.0
"""Seconds in which a run ends that was dismissed, wherever it is at work."""


async def _nobody(_holder: str, _by: str) -> bool:
    return False


async def _never(_run: str) -> bool:
    return False


@dataclass(slots=True)
class SecondTurn:
    """`stop` ends the run of a holder on whatever worker, on behalf of a key; False where there is none."""

    policy: SecondTurnPolicy = "reject"
    seconds: float = 30.0
    stop: Callable[[str, str], Awaitable[bool]] = _nobody
    dismiss: Callable[[str], Awaitable[bool]] = _never
    """Ends a stored run whose caller left and that nobody follows; False where it is no such run."""
    waiting: int = 0
    """How many turns wait in this worker."""
    _lines: "WeakValueDictionary[str, asyncio.Lock]" = field(default_factory=WeakValueDictionary)

    async def take(self, runs: Runs, head: Conversation, run: Run, lease: float) -> None:
        """Hold the conversation for a run; raises ConversationBusy where that does not come about in time."""
        holder = holder_of(run)
        if self.policy == "reject":
            await self.hold(runs, head, holder, lease)
            return
        until = monotonic() + self.seconds
        line = self._lines.setdefault(head.id, asyncio.Lock())
        self.waiting += 1
        try:
            await self._line_up(line, head)
            try:
                await self._take(runs, head, run, lease, until)
            finally:
                line.release()
        finally:
            self.waiting -= 1

    async def hold(self, runs: Runs, head: Conversation, holder: str, lease: float) -> None:
        """Hold the conversation at once; raises ConversationBusy while somebody waits for the turn under way."""
        try:
            await runs.hold(head, holder, lease)
        except ConversationBusy:
            if not await self._dismissed(runs, head):
                raise
            await self._take_soon(runs, head, holder, lease)

    async def _take_soon(self, runs: Runs, head: Conversation, holder: str, lease: float) -> None:
        until = monotonic() + _SOON
        while True:
            try:
                return await runs.hold(head, holder, lease)
            except ConversationBusy:
                if monotonic() >= until:
                    raise
            await asyncio.sleep(_FIRST_PAUSE)

    async def _dismissed(self, runs: Runs, head: Conversation) -> bool:
        """Whether the turn under way is one that nobody waits for any more, and now ends."""
        for run in await runs.of(head, 3):
            if run.status == "in_progress" and not run.background and await self.dismiss(run.id):
                return True
        return False

    async def ended(self, runs: Runs, run: StoredRun) -> StoredRun:
        """The run, after it has ended if nobody waits for it any more."""
        if run.status == "in_progress" and not run.background and await self.dismiss(run.id):
            until = monotonic() + _SOON
            while run.status in OPEN and monotonic() < until:
                await asyncio.sleep(_FIRST_PAUSE)
                run = await runs.get(run.id, run.owner)
        return run

    async def _line_up(self, line: asyncio.Lock, head: Conversation) -> None:
        """Of this worker's turns, the one that came first goes first."""
        try:
            async with asyncio.timeout(self.seconds):
                await line.acquire()
        except TimeoutError:
            raise _busy(head) from None

    async def _take(self, runs: Runs, head: Conversation, run: Run, lease: float, until: float) -> None:
        stopped, pause = "", _FIRST_PAUSE
        is_first = True
        while True:
            try:
                await runs.hold(head, holder_of(run), lease)
            except ConversationBusy:
                if monotonic() >= until:
                    raise
            else:
                return
            if is_first:
                is_first = False
                await self._dismissed(runs, head)
            if self.policy == "interrupt" and (other := await runs.holder(head)) and other != stopped:
                stopped = other
                await self.stop(other, run.who.key_id)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def holder_of(run: Run) -> str:
    """What holds a conversation for a run: callers choose the ids of runs, so that two may have the same."""
    return run.trace.span_id


def _busy(head: Conversation) -> ConversationBusy:
    return ConversationBusy(f"Another turn of the conversation {head.id} is under way.", retry_after=1)
