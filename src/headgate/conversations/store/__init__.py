"""What the database keeps of conversations. Every verb is one transaction, and none reaches what is somebody else's."""

from typing import NamedTuple

from headgate.conversations.store.heads import Heads
from headgate.conversations.store.runs import Runs
from headgate.db.engine import Database

__all__ = ["Heads", "Runs", "State", "state_of"]


class State(NamedTuple):
    """The stores together."""

    heads: Heads
    runs: Runs


def state_of(database: Database) -> State:
    return State(Heads(database), Runs(database))
