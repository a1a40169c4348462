"""What the database keeps of conversations. Every verb is one transaction, and none reaches what is somebody else's."""

from typing import NamedTuple

from headgate.conversations.store.actions import Actions
from headgate.conversations.store.heads import Heads
from headgate.conversations.store.memories import Memories
from headgate.conversations.store.runs import Runs
from headgate.conversations.store.signals import Duties, RunSignals
from headgate.conversations.store.turns import Begin, Ending, Lease, Turns
from headgate.core.ports import Witness
from headgate.db.engine import Database

__all__ = [
    "Actions",
    "Begin",
    "Duties",
    "Ending",
    "Heads",
    "Lease",
    "Memories",
    "RunSignals",
    "Runs",
    "State",
    "Turns",
    "state_of",
]


class State(NamedTuple):
    """The stores together."""

    heads: Heads
    runs: Runs
    actions: Actions
    memories: Memories
    turns: Turns
    signals: RunSignals
    duties: Duties


def state_of(database: Database, witness: Witness | None = None) -> State:
    """`witness` is told who answers what."""
    kept = Heads(database), Runs(database), Actions(database, witness), Memories(database)
    return State(*kept, Turns(database), RunSignals(database), Duties(database))
