"""Tenants' own settings in the database. Knows no rule but that every change has a number, by which others find it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import time
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.core.audit import Act
from headgate.core.ports import Witness
from headgate.db.columns import Instant, Json, Name, metadata
from headgate.db.engine import Database
from headgate.settings.types import Read, Row

changes = Table(
    "tenant_settings_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    info={"first": [{"id": 1, "revision": 0}]},
)
settings = Table(
    "tenant_settings",
    metadata,
    Column("tenant", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("value", Json),
    Column("updated_by", Name, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index(None, "revision"),
)


class Store:
    """Reads what changed, and writes in transactions of their own."""

    def __init__(self, database: Database, witness: Witness | None = None) -> None:
        self._database = database
        self._witness = witness

    async def read(self, after: int) -> Read | None:
        """What changed after a revision; None if nothing did. Of another database than before, everything."""
        async with self._database.reading() as connection:
            revision = int((await connection.execute(select(changes.c.revision))).scalar_one())
            if revision == after:
                return None
            is_all = revision < after or after < 0
            query = select(settings.c.tenant, settings.c.key, settings.c.value)
            query = query.where(settings.c.value.is_not(None) if is_all else settings.c.revision > after)
            rows = tuple(Row(*row) for row in await connection.execute(query))
            return Read(revision, rows, is_all)

    async def of(self, tenant: str) -> list[tuple[str, Any]]:
        """(key, value) of all that a tenant has set."""
        query = select(settings.c.key, settings.c.value).where(
            settings.c.tenant == tenant, settings.c.value.is_not(None)
        )
        async with self._database.reading() as connection:
            return [(key, value) for key, value in await connection.execute(query.order_by(settings.c.key))]

    async def purge(self, connection: AsyncConnection, tenant: str) -> int:
        """Leave no row of a tenant that is gone, nor the marks by which others learn that there is none."""
        return int((await connection.execute(settings.delete().where(settings.c.tenant == tenant))).rowcount)

    async def put(self, tenant: str, values: Mapping[str, Any], by: str, act: Act) -> None:
        """Set values, or take those away that are None: all or none, and only if the act can be noted."""
        async with self._changing(act) as (connection, revision):
            for key, value in values.items():
                said = {"value": value, "updated_by": by, "updated_at": time(), "revision": revision}
                here = (settings.c.tenant == tenant) & (settings.c.key == key)
                done = await connection.execute(settings.update().where(here).values(said))
                if not done.rowcount:
                    await connection.execute(settings.insert().values(tenant=tenant, key=key, **said))

    @asynccontextmanager
    async def _changing(self, act: Act) -> AsyncIterator[tuple[AsyncConnection, int]]:
        """A transaction and its number; changes come one after another, for each takes the next."""
        async with self._database.writing() as connection:
            await connection.execute(changes.update().values(revision=changes.c.revision + 1))
            yield connection, int((await connection.execute(select(changes.c.revision))).scalar_one())
            noted = await self._witness.note(connection, act) if self._witness is not None else None
        if self._witness is not None:
            await self._witness.committed(noted)
