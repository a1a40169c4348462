"""A database that is locked, full, read-only or gone: calls go on, nothing is lost, and everybody is told."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from headgate.db import engine as engine_file
from headgate.db.engine import FILE, Database
from headgate.usage.ledger import Ledger
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.journeys.test_money import ask, new_key
from tests.requirements import covers

pytestmark = covers("152", "153", "database")
PRICE = {"input": "1.5", "output": "6"}
CALL_NANO = 7 * 1500 + 3 * 6000
Trouble = Callable[[Gateway, Path], Any]


def settings(stub: Stub, **usage: Any) -> dict[str, Any]:
    made = settings_for(stub, usage=usage)
    made["models"][0]["price"] = PRICE
    return made


def database_of(gateway: Gateway) -> Database:
    assert gateway.gate.reports is not None
    return gateway.gate.reports._store._database


@asynccontextmanager
async def locked(gateway: Gateway, folder: Path) -> AsyncIterator[None]:
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@asynccontextmanager
async def gone(gateway: Gateway, folder: Path) -> AsyncIterator[None]:
    (folder / FILE).rename(folder / "elsewhere")
    yield
    (folder / "elsewhere").rename(folder / FILE)


def opened_with(*pragmas: str) -> Trouble:
    @asynccontextmanager
    async def trouble(gateway: Gateway, folder: Path) -> AsyncIterator[None]:
        database = database_of(gateway)
        assert database._threads is not None
        engines = (database.engine.sync_engine, database._threads.engine)

        def hamper(connection: Any, _: object) -> None:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(pragma)
            cursor.close()

        async def open_anew() -> None:
            assert database._threads is not None
            await database.engine.dispose()
            database._threads.leave_file()

        for engine in engines:
            event.listen(engine, "connect", hamper)
        await open_anew()
        yield
        for engine in engines:
            event.remove(engine, "connect", hamper)
        await open_anew()

    return trouble


TROUBLES: dict[str, Trouble] = {
    "locked": locked,
    "full": opened_with("PRAGMA max_page_count=1"),  # no less than what there is
    "read-only": opened_with("PRAGMA query_only=ON"),
    "gone": gone,
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_file, "_PRAGMAS", ("PRAGMA busy_timeout=20", *engine_file._PRAGMAS[1:]))
    monkeypatch.setattr(Ledger.__init__, "__defaults__", (0.05, None))


async def until(gateway: Gateway, path: str, is_so: Callable[[httpx.Response], bool]) -> Any:
    """What a route answers once that is so; bounded."""
    async with asyncio.timeout(BOUND):
        while not is_so(answer := await gateway.http.get(path)):
            await asyncio.sleep(0.02)
        return answer.json()


def tells_of_the_ledger(answer: httpx.Response) -> bool:
    return "ledger" in answer.json()


async def fill_the_page(gateway: Gateway) -> None:
    """Rows until a full database has no room left in the pages it has."""
    for number in range(12):
        await gateway.http.post("/admin/keys", json={"alias": f"filler-{number}", "metadata": {"x": "y" * 4000}})


@pytest.mark.parametrize("kind", TROUBLES)
async def test_calls_go_on_nothing_is_lost_and_everybody_is_told(stub: Stub, tmp_path: Path, kind: str) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        budgeted = await new_key(gateway, budgets=[{"usd": "1", "period": "day"}])
        async with budgeted:
            assert (await ask(budgeted)).status_code == 200
            await until(gateway, "/admin/usage", lambda answer: answer.json()["total"]["requests"] == 1)
            async with TROUBLES[kind](gateway, tmp_path):
                if kind == "full":
                    await fill_the_page(gateway)
                assert [(await ask(budgeted, stream=number % 2 == 0)).status_code for number in range(40)] == [200] * 40
                refused = await gateway.http.post("/admin/keys", json={"metadata": {"x": "y" * 9000}})
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
                assert int(refused.headers["retry-after"]) >= 1
                ready = await until(gateway, "/readyz", tells_of_the_ledger)
                assert ready["status"] == "degraded"
                if kind == "gone":
                    assert (await gateway.http.get("/admin/usage")).status_code == 503
                else:
                    told = await until(gateway, "/admin/usage", lambda one: one.json()["ledger"]["lag_seconds"] > 0)
                    assert told["ledger"]["trouble"] == ready["ledger"]
                assert list((tmp_path / "journal").glob("*.journal"))
            told = await until(gateway, "/admin/usage", lambda answer: answer.json()["total"]["requests"] == 41)
            assert told["total"]["cost_nano_usd"] > 0
            ready = await until(gateway, "/readyz", lambda answer: not tells_of_the_ledger(answer))
            assert ready["status"] == "ready"
            assert (await gateway.http.post("/admin/keys", json={})).status_code == 201


async def test_a_budget_holds_to_the_cent_while_the_database_is_locked(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        caller = await new_key(gateway, budgets=[{"usd": "0.0004", "period": "total"}])
        async with caller, locked(gateway, tmp_path):
            statuses = [(await ask(caller)).status_code for _ in range(20)]
        assert 0 < statuses.count(200) <= 400_000 // CALL_NANO
        assert set(statuses) == {200, 429}
    async with running_gateway(settings(stub), tmp_path) as gateway:
        total = await until(gateway, "/admin/usage", lambda answer: bool(answer.json()["total"]["requests"]))
        assert total["total"]["cost_nano_usd"] == statuses.count(200) * CALL_NANO


@pytest.mark.parametrize(
    ("setting", "budgeted", "others"),
    [("refuse_budgeted", 503, 200), ("refuse", 503, 503), ("admit", 200, 200)],
)
async def test_a_ledger_that_waits_too_long_refuses_as_set(
    stub: Stub, tmp_path: Path, setting: str, budgeted: int, others: int
) -> None:
    async with running_gateway(settings(stub, if_unwritable=setting, most_lag=0.001), tmp_path) as gateway:
        caller = await new_key(gateway, budgets=[{"usd": "1"}])
        async with caller:
            async with locked(gateway, tmp_path):
                assert (await gateway.chat()).status_code == 200
                await until(gateway, "/readyz", tells_of_the_ledger)
                answer = await ask(caller)
                assert (answer.status_code, (await gateway.chat()).status_code) == (budgeted, others)
                if budgeted == 503:
                    assert answer.json()["error"]["code"] == "ledger_unavailable"
                    assert answer.headers["retry-after"] == "1"
            await until(gateway, "/readyz", lambda answer: not tells_of_the_ledger(answer))
            assert [(await ask(caller)).status_code, (await gateway.chat()).status_code] == [200, 200]


async def test_a_file_put_in_the_place_of_the_database_is_opened_anew(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        await gateway.chat()
        await until(gateway, "/admin/usage", lambda answer: answer.json()["total"]["requests"] == 1)
        kept = sqlite3.connect(tmp_path / "backup")
        source = sqlite3.connect(tmp_path / FILE)
        source.backup(kept)
        source.close()
        kept.close()
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        await gateway.chat()
        await until(gateway, "/readyz", tells_of_the_ledger)
        (tmp_path / "backup").rename(tmp_path / FILE)
        await until(gateway, "/admin/usage", lambda a: a.status_code == 200 and a.json()["total"]["requests"] == 2)


async def test_who_starts_without_the_old_database_has_what_the_journals_hold(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        (tmp_path / FILE).unlink()
        await gateway.chat()
        await until(gateway, "/readyz", tells_of_the_ledger)
    async with running_gateway(settings(stub), tmp_path) as gateway:
        await until(gateway, "/admin/usage", lambda answer: answer.json()["total"]["requests"] == 1)
