"""Puts settled runs into the journal."""

import time

from headgate.core.run import Run
from headgate.usage.entries import PriceOf, entries_of
from headgate.usage.journal import Journal
from headgate.usage.types import Entry


class Recorder:
    """A worker's one way of telling what was spent."""

    def __init__(self, journal: Journal, price_of: PriceOf) -> None:
        self._journal = journal
        self._price_of = price_of

    def record(self, run: Run) -> list[Entry]:
        """Write a run's entries; once they are returned, no killed process loses them."""
        entries = entries_of(run, int(time.time() * 1000), self._price_of)
        self._journal.append(entries)
        return entries
