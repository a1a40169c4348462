"""The log over a real database: written with the change it tells of, by several workers, and checked."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.app.oversight import audit_log
from headgate.audit.log import AuditLog
from headgate.audit.types import AuditQuery, Row, Verdict
from headgate.core.audit import ORIGIN, Act, Origin
from headgate.core.errors import DatabaseUnavailable
from headgate.core.principal import Principal
from headgate.db.engine import FILE, Database, default_url, open_database
from headgate.db.migrate import migrate
from tests.requirements import covers

pytestmark = covers("139")
PEPPER = b"pepper-of-the-tests"
ACT = Act("thing.done", "thing", "t1", "default", {"a": 1}, {"a": 2})


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(default_url(tmp_path))
    await migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
def log(database: Database, tmp_path: Path) -> AuditLog:
    return audit_log(database, PEPPER, tmp_path)


async def filled(log: AuditLog, count: int) -> None:
    for number in range(count):
        await log.record(Act("thing.done", "thing", f"t{number}", "default"))


def tamper(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def rows(log: AuditLog) -> list[Row]:
    return await log.read(AuditQuery(oldest_first=True), 1000)


def fault(verdict: Verdict) -> tuple[str, int | None]:
    return verdict.fault, verdict.seq


async def test_a_row_tells_who_did_what_when_from_where(log: AuditLog) -> None:
    who = Principal("k1", tenant="blue", user="ann")
    token = ORIGIN.set(Origin(who, "10.0.0.7", "req_1"))
    await log.record(ACT)
    ORIGIN.reset(token)
    await log.record(ACT)
    first, second = await rows(log)
    assert (first.key, first.key_tenant, first.key_user) == ("k1", "blue", "ann")
    assert (first.address, first.request, first.outcome) == ("10.0.0.7", "req_1", "done")
    assert (first.action, first.object, first.before, first.after) == ("thing.done", "t1", '{"a":1}', '{"a":2}')
    assert (second.key, second.previous) == ("system", first.hash)
    assert (await log.verify()).rows == 2


async def test_what_looks_like_a_secret_or_is_called_one_is_not_kept(log: AuditLog) -> None:
    hidden = {"note": "use sk-hg-abcdefgh12345678", "deep": [{"password": "pass-1234", "sk-hg-abcdefgh1234": "name"}]}
    await log.record(Act("thing.done", "thing", "sk-hg-abcdefgh12345678", "default", None, hidden))
    [row] = await rows(log)
    assert "abcdefgh" not in str(row)
    assert "pass-1234" not in str(row)
    assert row.after.count("[redacted]") == 3


async def test_a_change_that_is_undone_leaves_no_row_and_no_gap(log: AuditLog, database: Database) -> None:
    await filled(log, 1)

    async def fails() -> None:
        async with database.writing() as connection:
            await log.note(connection, ACT)
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError):
        await fails()
    await filled(log, 1)
    assert [row.seq for row in await rows(log)] == [1, 2]
    assert (await log.verify()).is_whole


async def test_several_workers_make_one_chain(log: AuditLog, tmp_path: Path) -> None:
    others = [open_database(default_url(tmp_path)) for _ in range(3)]
    workers = [log, *(audit_log(one, PEPPER, tmp_path) for one in others)]
    await asyncio.gather(*(worker.record(ACT) for worker in workers for _ in range(10)))
    verdict = await log.verify()
    assert (verdict.is_whole, verdict.rows) == (True, 40)
    for one in others:
        await one.close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit SET outcome = 'refused' WHERE seq = 3", ("altered", 3)),
        ("UPDATE audit SET \"after\" = '{}' WHERE seq = 1", ("altered", 1)),
        ("DELETE FROM audit WHERE seq = 2", ("missing", 2)),
        ("DELETE FROM audit WHERE seq <= 2", ("missing", 1)),
        ("DELETE FROM audit", ("cut", 1)),
        ("DELETE FROM audit WHERE seq > 3", ("cut", 4)),
        ("UPDATE audit SET seq = 9 WHERE seq = 5", ("altered", 9)),
    ],
)
async def test_the_first_row_that_was_tampered_with_is_named(
    log: AuditLog, tmp_path: Path, statement: str, found: tuple[str, int]
) -> None:
    await filled(log, 5)
    assert (await log.verify()).is_whole
    tamper(tmp_path, statement)
    assert fault(await log.verify()) == found


async def test_an_end_that_was_cut_is_found_also_when_the_database_agrees_and_goes_on(
    log: AuditLog, tmp_path: Path
) -> None:
    await filled(log, 5)
    third = (await rows(log))[2]
    tamper(
        tmp_path,
        "DELETE FROM audit WHERE seq > 3",
        f"UPDATE audit_head SET seq = 3, hash = '{third.hash}'",
    )
    assert fault(await log.verify()) == ("cut", 4)
    await filled(log, 1)
    assert fault(await log.verify()) == ("cut", 5)
    await filled(log, 3)
    assert fault(await log.verify()) == ("altered", 5)


async def test_the_file_outside_the_database_is_signed_and_missed(log: AuditLog, tmp_path: Path) -> None:
    head = tmp_path / "audit.head"
    assert (await log.verify()).is_whole
    await filled(log, 2)
    assert head.stat().st_mode & 0o777 == 0o600
    kept = head.read_text()
    head.write_text(kept.replace('"seq":2', '"seq":1'))
    assert fault(await log.verify()) == ("unsigned", None)
    head.unlink()
    assert fault(await log.verify()) == ("unsigned", None)
    head.write_text(kept)
    assert (await log.verify()).is_whole


async def test_a_head_that_was_left_behind_by_a_crash_catches_up(log: AuditLog, database: Database) -> None:
    await filled(log, 2)
    async with database.writing() as connection:
        await log.note(connection, ACT)  # and then the process dies
    assert (await log.verify()).is_whole
    await filled(log, 1)
    assert (await log.verify()).rows == 4
    tamper_to = database.file
    assert tamper_to is not None
    tamper(tamper_to.parent, "DELETE FROM audit WHERE seq = 4")
    assert fault(await log.verify()) == ("cut", 4)


async def test_any_one_byte_of_any_row_matters(log: AuditLog, tmp_path: Path) -> None:
    await filled(log, 3)
    chosen = random.Random(7)
    for _ in range(20):
        seq, column = chosen.randint(1, 3), chosen.choice([name for name in Row._fields if name not in ("seq", "at")])
        with sqlite3.connect(tmp_path / FILE) as connection:
            [old] = connection.execute(f'SELECT "{column}" FROM audit WHERE seq = {seq}').fetchone()
            connection.execute(f'UPDATE audit SET "{column}" = ? WHERE seq = ?', (f"{old} ", seq))
            connection.commit()
            assert fault(await log.verify()) == ("altered", seq), column
            connection.execute(f'UPDATE audit SET "{column}" = ? WHERE seq = ?', (old, seq))
        connection.close()
    assert (await log.verify()).is_whole


async def test_refusals_are_bounded_and_those_left_out_are_counted(database: Database, tmp_path: Path) -> None:
    now = [6000.0]
    log = audit_log(database, PEPPER, tmp_path, lambda: now[0])
    refusal = Act("route.refused", "route", "GET /x", "default", error="forbidden")
    for _ in range(150):
        await log.refused(refusal)
    assert len(await rows(log)) == 120
    now[0] += 60
    await log.refused(refusal)
    last = (await rows(log))[-1]
    assert (last.after, last.outcome, last.error) == ('{"left_out":30}', "refused", "forbidden")


async def test_an_act_that_cannot_be_put_down_does_not_happen(log: AuditLog, tmp_path: Path) -> None:
    tamper(tmp_path, "DROP TABLE audit")
    with pytest.raises(DatabaseUnavailable):
        await log.record(ACT)
