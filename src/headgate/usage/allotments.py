"""What may be spent on a target or with a provider: counted from the ledger, and passed over once it is spent.

It is told after the fact. Calls in flight are still paid, and what other workers spent is learned every half minute.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from headgate.core.errors import DatabaseUnavailable
from headgate.core.run import Run

log = logging.getLogger(__name__)
_EVERY = 30.0
_LAG = 3.0
"""Seconds after which what was spent stands in the database, if all is well."""


@dataclass(slots=True, eq=False)
class Allotment:
    """Nano-USD for any `seconds` on end: of the target of this key, or of all targets of these upstreams.

    `names` are noted once it is spent.
    """

    names: frozenset[str]
    nano_usd: int
    seconds: int
    target: str = ""
    upstreams: frozenset[str] = frozenset()
    known: int = 0
    """What the ledger had when it was last asked."""
    recent: deque[tuple[float, int]] = field(default_factory=deque)
    """(when, nano-USD) of this worker since about then."""

    @property
    def spent(self) -> int:
        return self.known + sum(amount for _, amount in self.recent)


Ask = Callable[[Allotment, int], Awaitable[int]]
"""What was spent of an allotment since a moment in milliseconds, as the ledger has it."""


class Allotments:
    """For one worker. `out` holds the names of those that are spent, and is read by whoever chooses targets."""

    def __init__(
        self, several: Sequence[Allotment], ask: Ask, out: set[str], clock: Callable[[], float] = time.time
    ) -> None:
        self._several = several
        self._ask = ask
        self._out = out
        self._clock = clock

    def observe(self, run: Run) -> None:
        """Count a settled run."""
        for attempt in run.attempts:
            for one in self._several if attempt.cost else ():
                if attempt.key == one.target or attempt.upstream in one.upstreams:
                    one.recent.append((self._clock(), attempt.cost or 0))
        self._judge()

    async def refresh(self) -> None:
        """Ask the ledger. While it cannot be read, what was known stays."""
        for one in self._several:
            now = self._clock()
            try:
                known = await self._ask(one, int((now - one.seconds) * 1000))
            except DatabaseUnavailable as error:
                log.warning("what was spent on %s is not known anew: %s", ", ".join(one.names), error.message)
                continue
            one.known = known
            while one.recent and one.recent[0][0] < now - _LAG:
                one.recent.popleft()
        self._judge()

    async def keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await self.refresh()

    def _judge(self) -> None:
        spent = [name for one in self._several if one.spent >= one.nano_usd for name in one.names]
        self._out.intersection_update(spent)
        self._out.update(spent)
