"""What always happens at the end of a run, however it ended: first the money, then the telling."""

from collections.abc import Sequence

from headgate.core.run import Run, now
from headgate.pipeline.context import Deps
from headgate.pipeline.decision import decision_of, has_decided
from headgate.usage.types import Entry


def account(run: Run, deps: Deps) -> None:
    """Write what was spent into the journal and give back what was reserved, once: before the last byte goes out."""
    if run.is_accounted:
        return
    run.is_accounted = True
    run.ended = now()
    if run.attempts and not run.attempts[-1].error:
        run.attempts[-1].ended = run.ended
    if has_decided(run):
        run.decision = decision_of(run)
    entries: Sequence[Entry] = ()
    try:
        if deps.record is not None and run.attempts:
            entries = deps.record(run)
            for attempt, entry in zip(run.attempts, entries, strict=False):
                attempt.used = attempt.tokens or entry.tokens
                attempt.measure, attempt.cost = entry.measure, entry.cost
    finally:  # whatever a fault of ours does to the ledger, nothing stays reserved
        if run.ticket is not None and deps.limiter is not None:
            tokens = sum(entry.prompt + entry.completion for entry in entries)
            deps.limiter.settle(run.ticket, tokens, sum(entry.cost or 0 for entry in entries))
            for further in run.further:
                deps.limiter.release(further)


def settle(run: Run, deps: Deps) -> None:
    """Tell the observers, once."""
    if run.is_settled:
        return
    run.is_settled = True
    account(run, deps)
    run.ended = now()
    for observe in deps.observers:
        observe(run)
