"""Stored runs of this worker that go on without their callers: who leaves a stream has a while to come back to it.

What other workers want of these runs is read from the database now and then: that somebody follows one, or that it
shall end. Knows nothing of how a run is made.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headgate.conversations.store import RunSignals
from headgate.conversations.store.signals import Signals
from headgate.conversations.types import StoredRun, milliseconds
from headgate.core.errors import HeadgateError, RunCancelled
from headgate.core.run import Run

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.25
_END_SECONDS = 5.0
_NOTHING = Signals()


@dataclass(slots=True)
class Watched:
    """A run at work here. It ends at `until`, in milliseconds since the epoch; 0 for one that does not linger."""

    run: Run
    task: "asyncio.Task[Any]"
    until: int = 0
    is_told: bool = False
    """Whether others can read of it."""
    is_ending: bool = False

    def end(self, why: RunCancelled | None = None) -> None:
        """Once, for a task that is cancelled again does not come to write down its end."""
        if not self.is_ending:
            self.is_ending = True
            self.run.stopped_by = self.run.stopped_by or why
            self.task.cancel()

    def should_end(self, told: Signals, now: int) -> bool:
        """Whether nobody came back for it, or whoever might has gone on elsewhere."""
        return bool(self.until) and now >= told.followed_until and (now >= self.until or told.wish == "dismiss")


class Watch:
    """One for each worker. `grace`: how many seconds a stream goes on whose caller left; 0 for none at all."""

    def __init__(self, signals: RunSignals, grace: float) -> None:
        self.grace = grace
        self._signals = signals
        self._watched: dict[str, Watched] = {}
        self._ended: list[str] = []
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False

    def attend(self, id_: str, run: Run, task: "asyncio.Task[Any]") -> None:
        """Hear what is wanted of a run in the background."""
        self._add(id_, Watched(run, task))

    def linger(self, run: Run, task: "asyncio.Task[Any]") -> bool:
        """Its caller left. False if nobody could go on with what it tells, so that it has to end now."""
        if not run.resumable or not self.grace or self._is_closed or task.done():
            return False
        self._add(run.resumable, Watched(run, task, milliseconds() + int(self.grace * 1000)))
        return True

    async def follow(self, run: StoredRun) -> float:
        """Say that somebody waits for a run's events; gives the seconds until that has to be said again."""
        if not self.grace or run.background:
            return float("inf")
        await self._signals.follow(run.id, milliseconds() + int(self.grace * 1000))
        return self.grace / 4

    async def lingers(self, run: StoredRun) -> bool:
        """Whether it goes on though its caller left, on whatever machine."""
        return (await self._look([run.id])).get(run.id, _NOTHING).lingers_until > milliseconds()

    async def stop(self, id_: str) -> None:
        """End a run: one of this worker at once, another one as soon as its worker hears of it."""
        one = self._watched.get(id_)
        if one is None:
            await self._signals.want(id_, "stop")
            return
        one.end(_stopped())
        await asyncio.wait([one.task], timeout=_END_SECONDS)

    async def dismiss(self, conversation: str) -> bool:
        """End the run of a conversation whose caller left, unless somebody follows it; False where there is none."""
        for id_ in await self._signals.at_work_on(conversation):
            if await self._dismiss(id_):
                return True
        return False

    async def _dismiss(self, id_: str) -> bool:
        """Where it is at work elsewhere, it ends soon."""
        told, now = (await self._look([id_])).get(id_, _NOTHING), milliseconds()
        if told.followed_until > now:
            return False
        one = self._watched.get(id_)
        if one is not None and one.until:
            one.end()
            await asyncio.wait([one.task], timeout=_END_SECONDS)
            return True
        if one is not None or told.lingers_until <= now:
            return False
        await self._signals.want(id_, "dismiss")
        return True

    async def close(self) -> None:
        """Nobody is waited for any more."""
        self._is_closed = True
        lingering = [one for one in self._watched.values() if one.until]
        for one in lingering:
            one.end()
        if lingering:
            await asyncio.wait([one.task for one in lingering], timeout=_END_SECONDS)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking], timeout=_END_SECONDS)

    def _add(self, id_: str, one: Watched) -> None:
        self._watched[id_] = one
        one.task.add_done_callback(lambda _: self._remove(id_, one))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    def _remove(self, id_: str, one: Watched) -> None:
        if self._watched.get(id_) is one:
            del self._watched[id_]
            if one.is_told:
                self._ended.append(id_)

    async def _keep_looking(self) -> None:
        while self._watched or self._ended:
            try:
                await self._tell()
                told = await self._look([*self._watched])
            except HeadgateError as error:
                log.warning("what is wanted of stored runs could not be read: %s", error.message)
                told = {}
            except Exception:  # whatever it is, none of them may go on for ever
                log.exception("what is wanted of stored runs could not be read")
                told = {}
            now = milliseconds()
            for id_, one in [*self._watched.items()]:
                signals = told.get(id_, _NOTHING)
                one.is_told = one.is_told or id_ in told
                if signals.wish == "stop":
                    one.end(_stopped())
                elif one.should_end(signals, now):
                    one.end()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell(self) -> None:
        """Let others know which runs linger, and no more of those that have ended."""
        for id_, one in [*self._watched.items()]:
            if one.until and not one.is_told:
                await self._signals.linger(id_, one.until)
                one.is_told = True
        if self._ended:
            ended, self._ended = self._ended, []
            await self._signals.forget(ended)

    async def _look(self, runs: Sequence[str]) -> dict[str, Signals]:
        return dict(await self._signals.look(runs)) if runs else {}


def _stopped() -> RunCancelled:
    return RunCancelled("The response was cancelled.")
