"""What is billed is the cost times the tenant's factor, else that of all, wherever a bill is shown; environments."""

import asyncio
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.principal import Principal
from headgate.db.columns import metadata
from headgate.db.engine import default_url, open_database
from headgate.usage.entries import entries_of
from headgate.usage.reports import Reports
from headgate.usage.store import AttemptStore
from headgate.usage.types import DIMENSIONS, UsageSettings
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.harness.tenants import ask, caller, code_of, new_key, tree
from tests.requirements import covers
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of, token_counts

COST = Decimal(7) * Decimal("0.0000015") + Decimal(3) * Decimal("0.000006")


async def report(gateway: Gateway, count: int, by: str = "tenant") -> dict[str, Any]:
    """The report, asked once the ledger has so many attempts; bounded."""
    async with asyncio.timeout(BOUND):
        while (await gateway.http.get("/admin/usage")).json()["total"]["attempts"] < count:
            await asyncio.sleep(0.02)
    found: dict[str, Any] = (await gateway.http.get("/admin/usage", params={"by": by})).json()
    return found


@covers("120")
async def test_every_bill_is_marked_up_by_the_tenants_factor_or_else_by_that_of_all(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"settings": {"markup": "3"}}, usage={"markup": "1.5", "eur_per_usd": "0.5"})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue, caller(gateway, TOKEN) as other:
        for client in (blue, other):
            assert (await ask(client)).status_code == 200
        told = await report(gateway, 2)
        rows = {row["name"]: row for row in told["rows"]}
        assert {name: Decimal(row["cost_usd"]) for name, row in rows.items()} == {"blue": COST, "default": COST}
        assert Decimal(rows["blue"]["billed_usd"]) == 3 * COST
        assert Decimal(rows["default"]["billed_usd"]) == Decimal("1.5") * COST
        assert Decimal(told["total"]["billed_usd"]) == Decimal("4.5") * COST
        assert Decimal(rows["blue"]["billed_eur"]) == Decimal("1.5") * COST
        exported = (await gateway.http.get("/admin/usage/export", params={"format": "json"})).json()
        assert {row["tenant"]: Decimal(row["billed_usd"]) for row in exported} == {
            "blue": 3 * COST,
            "default": Decimal("1.5") * COST,
        }
        asked = {"model": "small", "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        for client, factor in ((blue, 3), (other, Decimal("1.5"))):
            spent = float(factor * COST)
            assert (await client.get("/spend/keys")).json()[0]["spend"] == pytest.approx(spent)
            assert (await client.get("/spend/logs")).json()[0]["spend"] == pytest.approx(spent)
            answer = await client.post("/spend/calculate", json={"completion_response": asked})
            assert answer.json()["cost"] == pytest.approx(spent)


CALLS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["k1", "k2"]), token_counts()), max_size=8
)


async def _compare(calls: list[tuple[str, str, Any]]) -> None:
    markups = {"a": Decimal("1.25"), "b": Decimal(0), "c": Decimal("1.25")}
    with TemporaryDirectory() as folder:
        database = open_database(default_url(Path(folder)))
        async with database.writing() as connection:
            await connection.run_sync(metadata.create_all)
        store = AttemptStore(database, markups)
        entries = []
        for number, (tenant, key, tokens) in enumerate(calls):
            run = run_of([attempt(tokens=tokens)], id=f"req_{number}", who=Principal(key, tenant=tenant))
            entries += entries_of(run, SETTLED_AT, price_of)
        if entries:
            await store.add(entries)
        reports = Reports(store, UsageSettings(markup=Decimal(2)))
        expected: dict[str, Decimal] = defaultdict(Decimal)
        for one in entries:
            expected[one.key] += (one.cost or 0) * markups.get(one.tenant, Decimal(2))
        for by in DIMENSIONS:
            if by != "tag":
                told = await reports.report(by)
                assert abs(reports.charge(told.total).billed - sum(expected.values(), Decimal(0))) <= 1
        for row in (await reports.report("key")).rows:
            assert abs(reports.charge(row).billed - expected[row.name]) <= 1
        await database.close()


@covers("120")
@given(CALLS)
@settings(max_examples=15, deadline=None)
def test_the_bill_of_any_report_is_the_sum_of_the_tenants_bills(calls: list[tuple[str, str, Any]]) -> None:
    asyncio.run(_compare(calls))


@covers("environments")
async def test_calls_of_keys_and_tenants_of_an_environment_are_told_apart(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub, {"environment": "prod"}), tmp_path) as gateway:
        keys = [
            await new_key(gateway, environment="dev"),
            await new_key(gateway, tenant="blue", environment="eval"),
            await new_key(gateway, tenant="blue"),
            await new_key(gateway),
        ]
        for key in keys:
            async with caller(gateway, key) as client:
                assert (await ask(client)).status_code == 200
        rows = (await report(gateway, 4, "tag"))["rows"]
        assert {row["name"]: row["attempts"] for row in rows} == {
            "environment:dev": 1,
            "environment:eval": 1,
            "environment:prod": 1,
        }


@covers("environments")
async def test_the_environment_of_a_key_is_shown_changed_and_taken_away(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub), tmp_path) as gateway:
        made = (await gateway.http.post("/admin/keys", json={"environment": "dev"})).json()
        assert made["environment"] == "dev"
        for value in ("prod", None):
            changed = await gateway.http.patch(f"/admin/keys/{made['id']}", json={"environment": value})
            assert changed.json()["environment"] == (value or "")
        wrong = await gateway.http.post("/admin/keys", json={"environment": "My Env"})
        assert code_of(wrong) == (400, "invalid_field", "environment")
