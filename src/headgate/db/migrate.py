"""Bring a database up to date at start. Alembic is imported only when there is something to do.

A step is a file `migrations/versions/NNNN_title.py`, whose number is its revision.
"""

from pathlib import Path

from sqlalchemy import Connection, func, inspect, select, text

from headgate.core.errors import DatabaseUnavailable, StartupError
from headgate.db.engine import Database

_FOLDER = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"
_LOCK = 0x6865_6164


def revisions() -> list[str]:
    """All there are, the newest last."""
    return sorted(path.stem.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*.py"))


async def migrate(database: Database) -> None:
    """Carry out the steps that the database has not seen; raises StartupError. Of several starters, one does it."""
    newest = revisions()[-1]
    try:
        async with database.reading() as connection:
            stored = await connection.run_sync(stored_revision)
        if stored == newest:
            return
        if stored is not None and stored > newest:
            raise StartupError("The database was written by a newer version of Headgate. Start that version.")
        async with database.writing() as connection:
            await connection.run_sync(_upgrade)
    except DatabaseUnavailable as error:
        raise StartupError(f"{error.message} Is it there, and may this user write it?") from error


def stored_revision(connection: Connection) -> str | None:
    """What the database says of itself; None when it is empty."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608
    return found


def _upgrade(connection: Connection) -> None:
    """SQLite lets one writer in at a time; elsewhere a lock of this name does."""
    from headgate.db.steps import carry_out  # noqa: PLC0415 - slow, and needed only now

    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    carry_out(connection, _FOLDER)
