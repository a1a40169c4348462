"""Who is told of settled runs: some at once, the others of several runs together."""

import asyncio
import logging
from collections.abc import Callable

from headgate.core.run import Run

log = logging.getLogger(__name__)
Observe = Callable[[Run], None]
_SOON = 0.02
"""Seconds that a run waits at most."""
_MOST_WAITING = 32
"""Runs; telling of so many takes a millisecond, in which nobody else has a turn."""


class Observers:
    """Calls each of `several` with every settled run, soon after its end; those of `at_once` before `tell` returns.

    To log, count and trace a run takes a fifth of what a request costs. One run after another is read by code that is
    still in the processor's caches; run by run, it took half as long again.
    """

    def __init__(self, *several: Observe) -> None:
        self.several = list(several)
        self.at_once: list[Observe] = []
        self._waiting: list[Run] = []
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, run: Run) -> None:
        """A run was settled."""
        for observe in self.at_once:
            observe(run)
        waiting = self._waiting
        waiting.append(run)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._tell_waiting)
        elif len(waiting) == _MOST_WAITING:  # once the caller has had all of the answer, for its bytes are told, too
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Tell now of all that were settled."""
        runs, self._waiting = self._waiting, []
        for observe in self.several:
            for run in runs:
                try:
                    observe(run)
                except Exception:
                    log.exception("%s is not counted, logged or traced whole", run.id)

    def _tell_waiting(self) -> None:
        self._timer = None
        self.flush()
