"""Bring a database up to date at start. An empty one gets the tables as they are declared; Alembic is imported only
for one that an older version made.

A step is a file `migrations/versions/NNNN_title.py`, whose number is its revision. The declared tables are those of the
stores that were imported, so whoever migrates has imported them all. Rows in a table's `info["first"]` come with it.
"""

import asyncio
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, func, inspect, select, text

from headgate.core.errors import DatabaseUnavailable, StartupError
from headgate.db.columns import metadata
from headgate.db.engine import Database

_FOLDER = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"
_LOCK = 0x6865_6164
_TRIES = 10
_PAUSE = 0.1


def revisions() -> list[str]:
    """All there are, the newest last."""
    return sorted(path.stem.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*.py"))


async def migrate(database: Database) -> None:
    """Carry out the steps that the database has not seen; raises StartupError. Of several starters, one does it."""
    for left in range(_TRIES - 1, -1, -1):
        try:
            await _migrate(database)
        except DatabaseUnavailable as error:
            if not left or "database is locked" not in str(error.__cause__):
                raise StartupError(f"{error.message} Is it there, and may this user write it?") from error
            await asyncio.sleep(_PAUSE)  # SQLite does not wait where two make one file at the same moment
        else:
            return


async def _migrate(database: Database) -> None:
    newest = revisions()[-1]
    async with database.reading() as connection:
        stored = await connection.run_sync(stored_revision)
    if stored == newest:
        return
    if stored is not None and stored > newest:
        raise StartupError("The database was written by a newer version of Headgate. Start that version.")
    async with database.writing() as connection:
        await connection.run_sync(_upgrade)


def stored_revision(connection: Connection) -> str | None:
    """What the database says of itself; None when it is empty."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608
    return found


def _upgrade(connection: Connection) -> None:
    """SQLite lets one writer in at a time; elsewhere a lock of this name does."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if not inspect(connection).get_table_names():
        _create(connection)
        return
    from headgate.db.steps import carry_out  # noqa: PLC0415 - slow and large, and needed only now

    carry_out(connection, _FOLDER)


def _create(connection: Connection) -> None:
    """All tables at once, with the mark that every step has been carried out."""
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        for row in table.info.get("first", ()):
            connection.execute(table.insert().values(row))
    mark = Table(_VERSIONS, MetaData(), Column("version_num", String(32), primary_key=True))
    mark.create(connection)
    connection.execute(mark.insert().values(version_num=revisions()[-1]))
