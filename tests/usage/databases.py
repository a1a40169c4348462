"""Databases of a test: made in a folder, with all tables, closed at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from headgate.db.columns import metadata
from headgate.db.engine import Database, open_database
from headgate.usage.store import AttemptStore
from tests.harness.databases import url_of


@asynccontextmanager
async def ledger_database(folder: Path) -> AsyncIterator[tuple[Database, AttemptStore]]:
    """A database with the ledger's tables, and the store on it."""
    database = open_database(url_of(folder))
    try:
        async with database.writing() as connection:
            await connection.run_sync(metadata.create_all)
        yield database, AttemptStore(database)
    finally:
        await database.close()
