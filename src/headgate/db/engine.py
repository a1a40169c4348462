"""The database: opened by its address, read and written in transactions. Knows no table.

SQLite is opened so that readers never wait for the writer (write-ahead log), a second writer waits instead of failing,
and what was committed survives a loss of power.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from headgate.core.errors import DatabaseUnavailable, StartupError
from headgate.db.checkpoints import PAGES, Checkpoints
from headgate.db.threads import Workers

FILE = "headgate.db"
_BUSY_MILLISECONDS = 5000
_READERS = 4
_WAIT_SECONDS = 5.0
_COMMAND_SECONDS = 60.0
_WAITS, _WAITS_NOT = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
"""Whether a commit waits for the disk."""
_PRAGMAS = (
    f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}",
    "PRAGMA foreign_keys=ON",
    _WAITS,
    f"PRAGMA wal_autocheckpoint={PAGES}",
)

_Kind = Literal["read", "write", "last"]
Found = TypeVar("Found")
Act = Callable[[AsyncConnection], Awaitable[Found]]


class Database:
    """An engine and its transactions. `file` is None where the database is no file of ours."""

    def __init__(self, engine: AsyncEngine, file: Path | None) -> None:
        self.engine = engine
        self.file = file
        self._reader = engine.execution_options(read_only=True)
        self._place = _place(file)
        self._threads = None if file is None else _Threads(engine.url)

    async def do(self, act: Act[Found], *, read_only: bool = False, lasting: bool = True) -> Found:
        """A whole transaction in one go; raises DatabaseUnavailable. `act` awaits nothing but the connection.

        What is not `lasting` need not survive a loss of power by itself: of a file, the disk is not waited for. It does
        once anything lasting is committed after it.

        Of a file it runs in a thread from end to end, which takes a fraction of the time of `reading` and `writing`: in
        those, every statement is a matter between two threads.
        """
        with _told():
            if read_only:  # what is written is looked after once it is
                await self._stay()
            if self._threads is not None:
                found = await self._threads.run(act, "read" if read_only else "last" if lasting else "write")
            else:
                async with self._reader.connect() if read_only else self.engine.begin() as connection:
                    found = await act(connection)
            if not read_only:
                await self._written()
            return found

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state and waits for nobody; raises DatabaseUnavailable."""
        with _told():
            await self._stay()
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end, or undone on an error; raises DatabaseUnavailable."""
        with _told():
            await self._stay()
            async with self.engine.begin() as connection:
                yield connection
            await self._written()

    async def _written(self) -> None:
        await self._stay()
        if self._threads is not None:
            self._threads.checkpoints.written()

    async def _stay(self) -> None:
        """SQLite goes on writing a file that was removed or moved away, and all of that would be lost.

        A file that was put in its place is opened anew.
        """
        if self.file is None:
            return
        place = _place(self.file)
        if place is None:
            raise DatabaseUnavailable("The file of the database is gone.", retry_after=1)
        if place != self._place:
            await self.engine.dispose()
            if self._threads is not None:
                self._threads.leave_file()
            self._place = place
            raise DatabaseUnavailable("The file of the database was replaced.", retry_after=1)

    async def close(self) -> None:
        await self.engine.dispose()
        if self._threads is not None:
            self._threads.checkpoints.close()
            await self._threads.close()


class _Threads:
    """One thread that writes and a few that read, for there is one writer at a time anyhow; each has a connection."""

    def __init__(self, url: URL) -> None:
        self.engine: Engine = create_engine(url.set(drivername="sqlite"), hide_parameters=True)
        event.listen(self.engine, "connect", _prepare)
        self._writing = Workers("headgate-writes")
        self._reading = Workers("headgate-reads", _READERS)
        self._own = threading.local()
        self._open: list[_AtOnce] = []
        self.checkpoints = Checkpoints(self._copy)

    def run(self, act: Act[Found], kind: _Kind) -> "asyncio.Future[Found]":
        return (self._reading if kind == "read" else self._writing).do(partial(self._do, act, kind))

    def _do(self, act: Act[Found], kind: _Kind) -> Found:
        return self._connection().do(act, kind)

    def _copy(self) -> None:
        self._connection().copy()

    def _connection(self) -> "_AtOnce":
        """The own one of the thread that asks."""
        connection: _AtOnce | None = getattr(self._own, "connection", None)
        if connection is None or connection.is_closed:
            connection = self._own.connection = _AtOnce(self.engine.connect())
            self._open.append(connection)
        return connection

    def leave_file(self) -> None:
        """Open it anew at the next transaction."""
        for connection in self._open:
            connection.is_closed = True
        self._open.clear()
        self.engine.dispose()

    async def close(self) -> None:
        await self._writing.close()
        await self._reading.close()
        await self.checkpoints.wait()
        await asyncio.to_thread(self._close_all)

    def _close_all(self) -> None:
        for connection in self._open:
            connection.close()
        self.engine.dispose()


class _AtOnce:
    """A connection in the thread that uses it: what it is asked is there when it is awaited.

    Its transactions are begun and ended by the driver, for SQLAlchemy takes longer over them than the database.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver: Any = connection.connection.driver_connection
        self._kind: _Kind = "last"
        self.dialect = connection.dialect
        self.is_closed = False

    def do(self, act: Act[Found], kind: _Kind) -> Found:
        """A transaction; it is undone on an error."""
        driver = self._driver
        if kind != "read" and kind != self._kind:
            driver.execute(_WAITS if kind == "last" else _WAITS_NOT)
            self._kind = kind
        driver.execute("BEGIN" if kind == "read" else "BEGIN IMMEDIATE")
        try:
            found = _finished(act(cast("AsyncConnection", self)))
            driver.execute("COMMIT")
            return found
        finally:
            if self._connection.in_transaction():
                self._connection.rollback()  # one that it knows of; what was committed stays
            if driver.in_transaction:
                driver.rollback()
            if self.is_closed:
                self.close()

    def copy(self) -> None:
        """Copy the log into the file as far as nobody stands in the way."""
        self._driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        if self.is_closed:
            self.close()

    def close(self) -> None:
        self.is_closed = True
        self._connection.close()

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    async def exec_driver_sql(self, words: str, parameters: Any) -> Any:
        """Said to the driver itself, whose cursor is the result; see prepared.py."""
        if type(parameters) is list:
            return self._driver.executemany(words, parameters)
        return self._driver.execute(words, parameters)


def _finished(awaited: Awaitable[Found]) -> Found:
    """The result of what never has to wait."""
    steps = awaited.__await__()
    try:
        next(steps)
    except StopIteration as end:
        found: Found = end.value
        return found
    raise RuntimeError("A transaction waited for something else than its connection.")


class _told:  # noqa: N801 - used like a function
    """Errors of the database in our words. Their own may hold values, so they are not repeated."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError | PoolTimeout | OSError | sqlite3.Error) or _is_asyncpg(error):
            cause = type(getattr(error, "orig", None) or error).__name__
            raise DatabaseUnavailable(f"The database cannot be used now ({cause}).", retry_after=1) from error


def _is_asyncpg(error: BaseException | None) -> bool:
    """Its errors of connecting come as they are; the library is imported only where it is used."""
    return type(error).__module__.partition(".")[0] == "asyncpg"


def _place(file: Path | None) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None if there is none."""
    try:
        found = os.stat(file) if file is not None else None  # noqa: PTH116 - for every transaction
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def default_url(data_dir: Path) -> str:
    """The address of the database in the data directory."""
    return URL.create("sqlite+aiosqlite", database=str(data_dir / FILE)).render_as_string(hide_password=False)


def open_database(address: str) -> Database:
    """A database by its address; connects on first use. Raises StartupError for an address that cannot be used."""
    try:
        url = make_url(address)
        more: dict[str, Any] = (
            {} if url.drivername.startswith("sqlite") else {"pool_pre_ping": True, "pool_timeout": _WAIT_SECONDS}
        )
        if url.drivername == "postgresql+asyncpg":
            more["connect_args"] = {"timeout": _WAIT_SECONDS, "command_timeout": _COMMAND_SECONDS}
        engine = create_async_engine(url, hide_parameters=True, **more)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        raise StartupError(
            "The address in `database.url` cannot be used. Write it as sqlite+aiosqlite:///FILE, or as "
            "postgresql+asyncpg://USER:PASSWORD@HOST/NAME with `pip install 'headgate[postgres]'`."
        ) from None
    file = None
    if engine.dialect.name == "sqlite":
        if url.database and url.database != ":memory:":
            file = Path(url.database)
            _make(file)
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
    return Database(engine, file)


def _make(file: Path) -> None:
    """An empty file for its owner only; SQLite gives the files beside it the same mode."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StartupError(f"The database {file} cannot be kept: {error.strerror}. Set HEADGATE_DATA_DIR.") from None


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.execute("PRAGMA journal_mode")
    if cursor.fetchone()[0] != "wal":  # setting it does not wait for others, as everything else does
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A transaction that may write takes the lock at once: taken later, it fails instead of waiting."""
    read_only = connection.get_execution_options().get("read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
