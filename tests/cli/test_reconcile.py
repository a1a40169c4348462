"""`headgate usage reconcile` and its route, against a gateway whose ledger is known."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.gateway import KEY, TOKEN, Gateway, running_gateway
from tests.harness.process import Processes
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = covers("reconcile", "113")
PRICE = {"input": "1.5", "output": "6"}
Command = Callable[..., Awaitable[tuple[int, str]]]


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = settings_for(stub)
    settings["models"] = [
        {"name": "small", "targets": [{"upstream": "stub", "model": name}], "price": PRICE} | {"name": name}
        for name in ("first", "second")
    ]
    async with running_gateway(settings, tmp_path / "gateway") as running:
        for model in ("first", "first", "second"):
            assert (await running.chat(model=model)).status_code == 200
        async with asyncio.timeout(BOUND):
            while (await running.http.get("/admin/usage")).json()["total"]["requests"] < 3:
                await asyncio.sleep(0.05)
        yield running


@pytest.fixture
def command(gateway: Gateway, processes: Processes, tmp_path: Path) -> Command:
    """`headgate usage reconcile` of some text; its exit code and what it printed."""

    async def command(export: str, *args: str) -> tuple[int, str]:
        file = tmp_path / "export.csv"
        file.write_text(export)
        given = {"HEADGATE_URL": gateway.url, "HEADGATE_KEY": KEY}
        ended = await asyncio.to_thread(processes.run, "usage", "reconcile", str(file), *args, **given)
        return ended.returncode, ended.stdout + ended.stderr

    return command


async def rows(gateway: Gateway) -> list[dict[str, Any]]:
    """What a provider would export, as the ledger has it."""
    today = datetime.now(UTC).date().isoformat()
    report = (await gateway.http.get("/admin/usage?by=model")).json()
    return [
        {
            "date": today,
            "model": row["name"],
            "prompt": row["prompt"],
            "completion": row["completion"],
            "cost_usd": row["cost_usd"],
        }
        for row in report["rows"]
    ]


def written(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


async def test_what_agrees_ends_well_and_what_differs_does_not(gateway: Gateway, command: Command) -> None:
    told = await rows(gateway)
    code, said = await command(written(told))
    assert code == 0, said
    assert "2 matched, 0 differing, 0 missing here, 0 missing there." in said
    told[0]["prompt"] += 1
    told[1] |= {"model": "of-nobody"}
    code, said = await command(written(told))
    assert code == 1
    assert "0 matched, 1 differing, 1 missing here, 1 missing there." in said
    assert "prompt=14" in said
    assert "prompt=15" in said
    code, said = await command(written(told[:1]), "--tolerance", "50", "--json")
    report = json.loads(said)
    assert (code, report["matched"], report["missing_there"]) == (1, 1, 1)
    assert report["sums"]["here"]["prompt"] == 21
    assert (await command(written(told[:1]), "--upstream", "stub"))[0] == 1


async def test_a_file_that_is_no_export_is_told(command: Command) -> None:
    code, said = await command("of nobody\n1\n")
    assert code == 1
    assert "No column says how much was used" in said


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"tolerance": "x"}, "tolerance"), ({"tolerance": "-1"}, "tolerance"), ({"upstream": "no"}, "upstream")],
)
async def test_wrong_parameters_are_named(gateway: Gateway, asked: dict[str, str], param: str) -> None:
    response = await gateway.http.post("/admin/usage/reconcile", params=asked, content=b"date,prompt\n2026-01-01,1\n")
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("scopes", [[], ["usage:read"], ["usage:read:*"]], ids=["none", "of a tenant", "of all"])
async def test_a_providers_bill_is_for_those_who_may_see_all_tenants(gateway: Gateway, scopes: list[str]) -> None:
    made = (await gateway.http.post("/admin/keys", json={"scopes": scopes})).json()
    response = await gateway.http.post(
        "/admin/usage/reconcile", content=written(await rows(gateway)), headers=bearer(made["key"])
    )
    assert response.status_code == (200 if scopes == ["usage:read:*"] else 403)
    assert (await gateway.http.post("/admin/usage/reconcile", headers=bearer(TOKEN))).status_code == 403
