"""A database is brought up to date at start, once, and without Alembic when there is nothing to do."""

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import headgate
from headgate.core.errors import StartupError
from headgate.db import migrate as migrate_file
from headgate.db.columns import metadata
from headgate.db.engine import Database, default_url, open_database
from headgate.db.migrate import migrate, revisions, stored_revision
from headgate.db.steps import carry_out
from tests.harness.databases import on_each_database, url_of
from tests.requirements import covers

pytestmark = [covers("database", "postgresql"), on_each_database]

SOURCE = Path(headgate.__file__).parent
for store in (*SOURCE.glob("*/store.py"), *SOURCE.glob("*/store/__init__.py")):
    path = store.relative_to(SOURCE).parts[0]
    importlib.import_module(f"headgate.{path}.store")


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [one for one in compare_metadata(context, metadata) if "alembic_version" not in str(one)]


async def test_an_empty_database_gets_the_tables_that_the_stores_declare(tmp_path: Path) -> None:
    database = open_database(url_of(tmp_path))
    await migrate(database)
    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(stored_revision) == revisions()[-1]
    await database.close()


def first_rows(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    found = {table.name: [tuple(row) for row in connection.execute(select(table))] for table in metadata.sorted_tables}
    return {name: rows for name, rows in found.items() if rows}


async def stepped(database: Database, until: str = "head") -> None:
    """As an older version made it."""
    async with database.writing() as connection:
        await connection.run_sync(carry_out, SOURCE / "db" / "migrations", until)


async def test_the_steps_lead_to_the_same_tables_and_rows(tmp_path: Path) -> None:
    seen = []
    for folder in (tmp_path / "steps", tmp_path / "at-once"):
        folder.mkdir()
        database = open_database(default_url(folder))
        await (stepped if folder.name == "steps" else migrate)(database)
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []
            assert await connection.run_sync(stored_revision) == revisions()[-1]
            seen.append(await connection.run_sync(first_rows))
        await database.close()
    assert seen[0] == seen[1] != {}


async def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    database = open_database(url_of(tmp_path))
    await stepped(database, "0002")
    await migrate(database)
    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(stored_revision) == revisions()[-1]
    await database.close()


async def test_starting_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        database = open_database(url_of(tmp_path))
        await migrate(database)
        async with database.writing() as connection:
            await connection.execute(text("UPDATE identity_changes SET revision = revision + 1"))
        await database.close()
    database = open_database(url_of(tmp_path))
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT revision FROM identity_changes"))).scalar() == 2
    await database.close()


async def test_of_several_starters_at_once_one_does_the_work(tmp_path: Path) -> None:
    databases = [open_database(url_of(tmp_path)) for _ in range(4)]
    await asyncio.gather(*map(migrate, databases))
    async with databases[0].reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM identity_changes"))).scalar() == 1
    for database in databases:
        await database.close()


async def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(parents=True)
    (folder / "0001_half.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = '0001', None\n"
        "def upgrade():\n    op.create_table('half', sa.Column('id', sa.Integer))\n    raise KeyError('broken')\n"
    )
    monkeypatch.setattr(migrate_file, "_FOLDER", folder.parent)
    database = open_database(url_of(tmp_path))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE somebody_elses (id INTEGER)"))
    with pytest.raises(KeyError):
        await migrate(database)
    async with database.reading() as connection:
        assert await connection.run_sync(lambda one: inspect(one).get_table_names()) == ["somebody_elses"]
    await database.close()


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    database = open_database(url_of(tmp_path))
    await migrate(database)
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartupError, match="newer version"):
        await migrate(database)
    await database.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "headgate.db").write_text("this is not a database, but it is long enough to be looked at" * 20)
    database = open_database(default_url(tmp_path))
    with pytest.raises(StartupError):
        await migrate(database)
    await database.close()


@covers("weight")
async def test_alembic_is_imported_only_for_a_database_of_an_older_version(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from headgate import app\n"
        "from headgate.db.columns import metadata\n"
        "from headgate.db.engine import default_url, open_database\n"
        "from headgate.db.migrate import migrate\n"
        "asyncio.run(migrate(open_database(default_url(Path(sys.argv[1])))))\n"
        "print('alembic' in sys.modules, len(metadata.tables))\n"
    )
    old = tmp_path / "old"
    old.mkdir()
    database = open_database(default_url(old))
    await stepped(database, "0001")
    await database.close()
    said = [
        subprocess.run(  # noqa: ASYNC221 - nothing else runs here
            [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        for folder in (tmp_path, tmp_path, old)
    ]
    tables = len(metadata.tables)  # of all stores: who starts the gateway has imported them all
    assert said == [f"False {tables}\n", f"False {tables}\n", f"True {tables}\n"]


def test_the_steps_are_one_chain_in_the_order_of_their_names() -> None:
    script = ScriptDirectory(str(SOURCE / "db" / "migrations"))
    assert [step.revision for step in reversed(list(script.walk_revisions()))] == revisions()


def test_every_table_is_valid_for_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))
