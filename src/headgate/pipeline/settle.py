"""What always happens at the end of a run, however it ended: first the money, then the telling."""

import asyncio
from collections.abc import Sequence

from headgate.core.errors import HeadgateError, InternalError
from headgate.core.run import Run, now
from headgate.pipeline.context import Deps
from headgate.usage.types import Entry


def account(run: Run, deps: Deps, *, over: bool = True) -> None:
    """Write what was spent into the journal and give back what was reserved, once: before the last byte goes out.

    A run of several turns does it after each; `over` says that it was the last.
    """
    if run.is_accounted:
        return
    run.is_accounted = over
    run.ended = now()
    entries: Sequence[Entry] = ()
    if len(run.attempts) > run.accounted:
        if not run.attempts[-1].error:
            run.attempts[-1].ended = run.ended
        if deps.record is not None:
            entries = deps.record(run)
            run.cost += sum(entry.cost or 0 for entry in entries)
        run.accounted = len(run.attempts)
    if run.ticket is not None and deps.limiter is not None:
        tokens = sum(entry.prompt + entry.completion for entry in entries)
        deps.limiter.settle(run.ticket, tokens, sum(entry.cost or 0 for entry in entries))


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
                self._run.outcome = "disconnected"
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
    for observe in deps.observers:
        observe(run)
