"""Calls that a run makes of the gateway itself, on the same account: each is a run of its own, with a parent."""

from headgate.core.ids import child_of, new_run_id
from headgate.core.run import Run
from headgate.tools.types import Caller


def inner_run(caller: Caller, route: str, model: str) -> Run:
    """A run on behalf of another one, a level below it."""
    run = Run(new_run_id(), child_of(caller.traceparent), route, who=caller.who, model=model)
    run.parent = caller.run
    run.depth = caller.depth + 1
    run.tells_more = False
    return run
