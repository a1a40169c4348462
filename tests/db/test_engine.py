"""The database: private to its owner, in whole transactions, and a second writer waits."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import inspect, text

from headgate.core.errors import DatabaseUnavailable, StartupError
from headgate.db import engine as engine_file
from headgate.db.engine import Database, default_url, open_database
from tests.requirements import covers

pytestmark = covers("database")


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(default_url(tmp_path / "data"))
    async with opened.writing() as connection:
        await connection.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"))
    yield opened
    await opened.close()


async def texts(database: Database) -> list[str]:
    async with database.reading() as connection:
        return [row.text for row in await connection.execute(text("SELECT text FROM notes ORDER BY id"))]


async def note(database: Database, said: str) -> None:
    async with database.writing() as connection:
        await connection.execute(text("INSERT INTO notes (text) VALUES (:said)"), {"said": said})


async def test_every_file_of_it_is_its_owners_alone(database: Database, tmp_path: Path) -> None:
    async with database.reading() as connection:
        await connection.execute(text("SELECT * FROM notes"))
        files = list((tmp_path / "data").iterdir())
        assert {file.name for file in files} == {"headgate.db", "headgate.db-wal", "headgate.db-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("busy_timeout", 5000), ("foreign_keys", 1), ("synchronous", 2)]
)
async def test_it_is_opened_as_said(database: Database, pragma: str, value: object) -> None:
    async with database.reading() as connection:
        assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value


async def test_an_error_undoes_the_whole_transaction_also_of_tables(database: Database) -> None:
    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO notes (text) VALUES ('lost')"))
            await connection.execute(text("CREATE TABLE more (id INTEGER)"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await texts(database) == []
    async with database.reading() as connection:
        assert await connection.run_sync(lambda one: inspect(one).get_table_names()) == ["notes"]


async def test_writers_wait_for_each_other_and_readers_for_nobody(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(text("INSERT INTO notes (text) VALUES ('first')"))
        waiting = asyncio.get_running_loop().create_task(note(database, "second"))
        assert await texts(database) == []
        assert not waiting.done()
    await waiting
    assert await texts(database) == ["first", "second"]


async def test_a_read_sees_one_state(database: Database) -> None:
    await note(database, "before")
    async with database.reading() as connection:
        count = text("SELECT count(*) FROM notes")
        assert (await connection.execute(count)).scalar() == 1
        await note(database, "meanwhile")
        assert (await connection.execute(count)).scalar() == 1
    assert len(await texts(database)) == 2


async def test_one_that_stays_locked_is_told_without_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_file, "_PRAGMAS", ("PRAGMA busy_timeout=20", "PRAGMA journal_mode=WAL"))
    impatient = open_database(default_url(tmp_path))
    async with impatient.writing() as holder:
        await holder.execute(text("CREATE TABLE notes (text TEXT)"))
        with pytest.raises(DatabaseUnavailable) as caught:
            await note(impatient, "a-secret-value")
    assert caught.value.retry_after
    assert "secret" not in caught.value.message
    await impatient.close()


@pytest.mark.parametrize("address", ["", "nonsense", "nosuch://x/y", "sqlite+nosuch:///x", "mongodb://x"])
def test_an_address_that_cannot_be_used_is_told(address: str) -> None:
    with pytest.raises(StartupError, match=r"database\.url"):
        open_database(address)


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="HEADGATE_DATA_DIR"):
        open_database(default_url(tmp_path / "file"))
