"""What always happens at the end of a run, however it ended: first the money, then the telling."""

import asyncio

from headgate.core.errors import HeadgateError, InternalError
from headgate.core.run import Run, now
from headgate.pipeline.context import Deps
from headgate.pipeline.decision import decision_of, has_decided


def account(run: Run, deps: Deps, *, over: bool = True) -> None:
    """Write what was spent into the journal and give back what was reserved, once: before the last byte goes out.

    A run of several turns does it after each; `over` says that it was the last.
    """
    if run.is_accounted:
        return
    run.is_accounted, run.goes_on = over, not over
    run.ended = now()
    tokens = nano_usd = 0
    fresh = run.attempts[run.accounted :] if run.accounted else run.attempts
    if fresh and not fresh[-1].error:
        fresh[-1].ended = run.ended
    if over and has_decided(run):
        run.decision = decision_of(run)
    try:
        if deps.record is not None and (fresh or run.entry is not None):
            entries = deps.record(run)
            run.entry = entries[-1] if entries else None
            for attempt, entry in zip(fresh, entries, strict=False):
                attempt.used = attempt.tokens or entry.tokens
                attempt.measure, attempt.cost = entry.measure, entry.cost
                tokens += entry.prompt + entry.completion
                nano_usd += entry.cost or 0
        run.accounted = len(run.attempts)
    finally:  # whatever a fault of ours does to the ledger, nothing stays reserved
        if run.ticket is not None and deps.limiter is not None:
            deps.limiter.settle(run.ticket, tokens, nano_usd)
            if run.further:
                for further in run.further:
                    deps.limiter.release(further)
                run.further = ()


class Settling:
    """Around the whole of a run: notes how it ended and settles it, on success, error and disconnect alike."""

    __slots__ = ("_deps", "_run")

    def __init__(self, run: Run, deps: Deps) -> None:
        self._run = run
        self._deps = deps

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            if isinstance(error, HeadgateError):
                self._run.fail(error)
            elif isinstance(error, asyncio.CancelledError | GeneratorExit):
                self._run.cut_off()
            else:
                self._run.fail(InternalError("A fault of the gateway itself."))
        settle(self._run, self._deps)


def settle(run: Run, deps: Deps) -> None:
    """Tell the observers, once."""
    if run.is_settled:
        return
    run.is_settled = True
    account(run, deps)
    run.ended = now()
    deps.observers.tell(run)
