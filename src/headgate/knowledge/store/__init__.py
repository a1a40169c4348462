"""What the database keeps of knowledge. Every verb is a transaction, or several of which the last one makes it true."""

from typing import NamedTuple

from headgate.core.ports import Witness
from headgate.db.engine import Database
from headgate.knowledge.store.bodies import Bodies
from headgate.knowledge.store.documents import Documents
from headgate.knowledge.store.indices import Indices
from headgate.knowledge.store.search import Search
from headgate.knowledge.store.words import words_for
from headgate.knowledge.types import Limits

__all__ = ["Bodies", "Documents", "Indices", "Search", "Shelves", "shelves_of"]


class Shelves(NamedTuple):
    """The stores together."""

    indices: Indices
    documents: Documents
    bodies: Bodies
    search: Search


def shelves_of(database: Database, limits: Limits, witness: Witness | None = None, *, pgvector: bool = True) -> Shelves:
    """`witness` is told who takes away what."""
    words = words_for(database)
    return Shelves(
        Indices(database, words, witness),
        Documents(database, limits, witness),
        Bodies(database, words),
        Search(database, words, pgvector=pgvector),
    )
