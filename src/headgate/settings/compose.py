"""Puts the settings of tenants together with their database. The one file of this feature that opens anything."""

from collections.abc import Awaitable, Callable

from headgate.core.ports import Witness
from headgate.db.engine import Database
from headgate.settings.cascade import Cascade
from headgate.settings.store import Store


def reader_of(
    database: Database, cascade: Cascade, witness: Witness | None = None
) -> tuple[Store, Callable[[], Awaitable[frozenset[str]]]]:
    """The store, and what reads from it anew and gives the tenants whose settings changed."""
    store = Store(database, witness)

    async def changed() -> frozenset[str]:
        read = await store.read(cascade.revision)
        return frozenset() if read is None else cascade.take(read)

    return store, changed
