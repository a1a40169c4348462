"""Subjects that get a budget while the gateway runs: what they spent before counts from their next request on."""

import asyncio
import logging
from collections.abc import Collection
from datetime import UTC, datetime

from headgate.core.errors import HeadgateError
from headgate.limits.limiter import Limiter
from headgate.usage.ledger import Ledger
from headgate.usage.reports import Reports

__all__ = ["Lessons"]
log = logging.getLogger(__name__)
_EVERY = 3.0
_LATE = 20
"""Rounds after which the ledger is asked for the last time; then it holds what was long in flight."""
_MOST = 200


class Lessons:
    """Tells the limits what the ledger knows. Amounts that the limits know to be larger stay.

    It is told once more after some seconds, for other workers' entries take a moment to the ledger, and after a minute.
    """

    def __init__(self, ledger: Ledger, reports: Reports, limiter: Limiter) -> None:
        self._ledger = ledger
        self._reports = reports
        self._limiter = limiter
        self._soon: set[str] = set()
        self._later: set[str] = set()

    async def learn(self, subjects: frozenset[str]) -> None:
        """Raises DatabaseUnavailable."""
        await self._ledger.drain()
        await self._tell(subjects)
        self._soon |= subjects

    async def keep_repeating(self) -> None:
        """Until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(_EVERY)
            soon, self._soon = self._soon, set()
            self._later |= soon
            rounds += 1
            if rounds % _LATE == 0:
                soon, self._later = self._later, set()
            try:
                await self._tell(soon)
            except HeadgateError as error:
                self._soon |= soon
                log.warning("what was spent before a budget was set is not counted whole yet: %s", error.message)

    async def _tell(self, subjects: Collection[str]) -> None:
        now = datetime.now(UTC)
        if len(subjects) > _MOST:
            self._limiter.learn(await self._reports.spent_by_period(now))
        elif subjects:
            self._limiter.learn(await self._reports.spent_of_subjects(subjects, now))
