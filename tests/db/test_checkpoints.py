"""What was committed reaches the database's file beside the writers, and no commit waits for that."""

import asyncio
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.db.engine import FILE, Database, default_url, open_database
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("database")
ROWS = 3000
LARGE = ROWS * 4000


async def fill(database: Database) -> None:
    """Write three times as much in one commit as SQLite lets the log grow before it copies it."""

    async def act(connection: AsyncConnection) -> None:
        rows = [{"said": "x" * 4000} for _ in range(ROWS)]
        await connection.execute(text("INSERT INTO notes (text) VALUES (:said)"), rows)

    await database.do(act)


async def test_the_log_is_copied_beside_the_writers(tmp_path: Path) -> None:
    database = open_database(default_url(tmp_path))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"))
    assert database._threads is not None
    copy, go = database._threads.checkpoints._copy, asyncio.Event()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def late() -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(BOUND)
        copy()

    database._threads.checkpoints._copy = late
    file = tmp_path / FILE
    await fill(database)
    async with asyncio.timeout(BOUND):
        await begun.wait()
    assert file.stat().st_size < LARGE, "a commit copied the log"
    await fill(database)  # nobody waits for a copy under way
    go.set()
    async with asyncio.timeout(BOUND):
        while file.stat().st_size < LARGE:
            await asyncio.sleep(0.01)
    await database.close()


async def test_what_need_not_last_is_there_for_everybody_at_once(tmp_path: Path) -> None:
    one, other = (open_database(default_url(tmp_path)) for _ in range(2))
    async with one.writing() as connection:
        await connection.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"))

    async def note(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO notes (text) VALUES ('x')"))

    async def waits(connection: AsyncConnection) -> int:
        """2 where a commit waits for the disk, 1 where it does not."""
        return int((await connection.execute(text("PRAGMA synchronous"))).scalar_one())

    async def count(connection: AsyncConnection) -> int:
        return int((await connection.execute(text("SELECT count(*) FROM notes"))).scalar_one())

    await one.do(note, lasting=False)
    assert await other.do(count, read_only=True) == 1
    assert [await one.do(waits, lasting=lasting) for lasting in (False, True, False, True)] == [1, 2, 1, 2]
    await asyncio.gather(one.close(), other.close())
