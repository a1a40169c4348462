"""Carries the journals' entries into the database, some hundreds at a time, and removes a journal once they are there.

One process of a machine does it: the one that holds the lock, in whose file it tells the others what is wrong. Entries
know their ids, so that what was added before a crash is not added again after it. While the database cannot be used,
the journals wait.
"""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

from headgate.core.bounds import Bound, is_budgeted
from headgate.core.errors import HeadgateError
from headgate.usage.journal import Journal, age, files, size, take
from headgate.usage.types import Entry, Unwritten

log = logging.getLogger(__name__)
_EVERY = 1.0
_AT_ONCE = 1000
"""Entries of a transaction, which costs as much as a few hundred entries by itself."""
_AT_A_STRETCH = 100
"""Entries that are read before others get their turn."""
_LEASE = "drain.lock"


class Store(Protocol):
    """Where entries end up."""

    async def add(self, entries: Sequence[Entry]) -> None:
        """All or none; what is there already is left alone. Raises HeadgateError when it cannot."""


class Ledger:
    """A worker's part in it: its own journal, and the drain if no other worker drains.

    `most_lag`: seconds of trouble with the database from which on it counts like trouble with the journal.
    """

    def __init__(
        self, folder: Path, journal: Journal, store: Store, every: float = _EVERY, most_lag: float | None = None
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._store = store
        self._every = every
        self._most_lag = most_lag
        self._lease = -1
        self._ending = asyncio.Event()
        self._trouble = ""
        self._troubled_at = 0.0
        self._left_word: str | None = None
        self._draining = asyncio.Lock()

    @property
    def trouble(self) -> str:
        """Why entries are not written now; empty when they are."""
        return self._journal.trouble or self._trouble

    def unwritable(self, refuse: Unwritten, bounds: tuple[Bound, ...]) -> str:
        """Why a request is refused now, for what it costs would not be written; empty if it is not.

        Where any are refused, all are before something would be lost.
        """
        return self._refusal(refuse, is_budgeted(bounds)) if self._journal.trouble or self._trouble else ""

    def _refusal(self, refuse: Unwritten, budgeted: bool) -> str:
        if refuse == "admit" or not (budgeted or refuse == "refuse" or self._journal.is_full):
            return ""
        if self._trouble and self._most_lag is not None and monotonic() - self._troubled_at > self._most_lag:
            return self.trouble
        return self._journal.trouble

    @property
    def lag(self) -> float:
        """Seconds that the oldest entry has been waiting at most, in any worker's journal."""
        return age(self._folder)

    @property
    def waiting(self) -> int:
        """Bytes of entries that are not in the database yet, in all workers' journals and in this one's memory."""
        return size(self._folder) + self._journal.waiting

    async def keep_draining(self) -> None:
        """Drain at once, which replays what was left, then about once a second; when told to end, once more."""
        is_last = False
        while not is_last:
            is_last = self._ending.is_set()
            try:
                await self.drain()
            except Exception:
                log.exception("the ledger could not be written")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0 if is_last else self._every):
                    await self._ending.wait()
        self._give_up_lease()

    def end(self) -> None:
        """Let `keep_draining` come to its end."""
        self._ending.set()

    async def drain(self) -> int:
        """Add everything that is complete, this worker's own entries included; the number of entries that were read."""
        async with self._draining:
            return await self._drain()

    async def _drain(self) -> int:
        self._journal.seal()
        own = self._journal.remembered()
        count = 0
        try:
            if not self._has_lease():
                self._note(self._told())
                return 0
            for path in files(self._folder):
                count += await self._drain_file(path, own.get(path.name))
        except (HeadgateError, OSError) as error:
            message = error.message if isinstance(error, HeadgateError) else f"A journal cannot be read: {error}."
            if not self._trouble:
                log.error("the ledger waits: %s", message)
            self._note(message)
            self._tell(message)
            return count
        if self._trouble:
            log.warning("the ledger is written again")
            self._note("")
        self._tell("")
        return count

    def _note(self, trouble: str) -> None:
        if trouble and not self._trouble:
            self._troubled_at = monotonic()
        self._trouble = trouble

    def _tell(self, trouble: str) -> None:
        """Leave word for the workers that do not drain; a full disk may keep it from them."""
        if self._lease >= 0 and trouble != self._left_word:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lease, 0)
                os.pwrite(self._lease, trouble.encode(), 0)
                self._left_word = trouble

    def _told(self) -> str:
        return (self._folder / _LEASE).read_text(errors="replace")

    async def _drain_file(self, path: Path, own: list[Entry] | None) -> int:
        """`own`: what the file holds, where that is known."""
        left = take(path)
        if left is None:
            return 0
        count = 0
        try:
            async for entries in _batches(left.entries() if own is None else iter(own)):
                await self._store.add(entries)
                count += len(entries)
            left.remove()
        finally:
            left.release()
        return count

    def _has_lease(self) -> bool:
        if self._lease >= 0:
            return True
        file = os.open(self._folder / _LEASE, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._lease = file
        return True

    def _give_up_lease(self) -> None:
        if self._lease >= 0:
            os.close(self._lease)
            self._lease, self._left_word = -1, None


async def _batches(entries: Iterator[Entry]) -> AsyncIterator[list[Entry]]:
    batch: list[Entry] = []
    while some := list(itertools.islice(entries, _AT_A_STRETCH)):
        batch += some
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
        await asyncio.sleep(0)
    if batch:
        yield batch
