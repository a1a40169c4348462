"""What always happens at the end of a run, however it ended."""

from headgate.core.run import Run, now
from headgate.pipeline.context import Deps


def settle(run: Run, deps: Deps) -> None:
    """Tell the observers, once."""
    if run.ended:
        return
    run.ended = now()
    for observe in deps.observers:
        observe(run)
