"""Puts keys and tenants together with their database. The one file of this feature that opens anything."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headgate.core.ports import Witness
from headgate.db.engine import Database
from headgate.identity.keys import KeyRing
from headgate.identity.service import Keys
from headgate.identity.signal import Signal
from headgate.identity.store import Store
from headgate.identity.tenants import Tenants
from headgate.identity.users import Users


@dataclass(frozen=True, slots=True)
class Identity:
    """What the routes for operators work with."""

    keys: Keys
    tenants: Tenants
    users: Users


async def identity_of(
    database: Database,
    ring: KeyRing,
    signal: Signal,
    terms_changed: Callable[[], Awaitable[frozenset[str]]] | None = None,
    witness: Witness | None = None,
) -> Identity:
    """Fill the ring from a database that is up to date, and keep it so. Raises DatabaseUnavailable."""
    store = Store(database, witness)
    await ring.follow(signal, store.changed, terms_changed)
    return Identity(Keys(store, ring), Tenants(store, ring), Users(store, ring))
