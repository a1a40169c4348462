"""Writes down what stored runs tell, all runs of this worker together, and wakes those who follow them.

Events wait for a moment, so that a database commits once for many. The events of a run's end are not left to it: they
are written with the end itself.
"""

import asyncio
import logging

from headgate.conversations.store import Runs
from headgate.conversations.types import StoredEvent
from headgate.core.errors import HeadgateError

log = logging.getLogger(__name__)
_EVERY = 0.05
_MOST_WAITING = 64


class Scribe:
    """One for each worker."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._waiting: dict[str, list[StoredEvent]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def note(self, run: str, event: StoredEvent) -> None:
        """Write it soon. Where the database cannot be written, it is tried again until the run ends."""
        waiting = self._waiting.setdefault(run, [])
        waiting.append(event)
        if len(waiting) >= _MOST_WAITING:
            self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_soon())

    async def take(self, run: str) -> list[StoredEvent]:
        """What was not written yet of a run, for whoever writes its end."""
        async with self._writing:
            return self._waiting.pop(run, [])

    async def flush(self) -> None:
        """Write all that waits; raises DatabaseUnavailable, and then it waits on."""
        async with self._writing:
            batch, self._waiting = self._waiting, {}
            if not batch:
                return
            try:
                await self._runs.note_all(batch)
            except BaseException:
                for run, events in self._waiting.items():
                    batch.setdefault(run, []).extend(events)
                self._waiting = batch
                raise
        for run in batch:
            self.wake(run)

    def wake(self, run: str) -> None:
        """There is news of a run."""
        if news := self._news.pop(run, None):
            news.set()

    async def news(self, run: str, seconds: float) -> None:
        """Wait for news of a run; it comes by itself only from this worker."""
        news = self._news.setdefault(run, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass

    async def _write_soon(self) -> None:
        while self._waiting:
            try:
                async with asyncio.timeout(_EVERY):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            try:
                await self.flush()
            except HeadgateError as error:
                log.warning("events of stored runs could not be written: %s", error.message)
