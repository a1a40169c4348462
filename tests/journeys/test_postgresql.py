"""A gateway whose keys and money are in PostgreSQL, also while that is away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.databases import PostgreSQL
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = covers("postgresql", "152")


async def runs_counted(gateway: Gateway, count: int) -> dict[str, Any]:
    """The sums, once so many runs are in them; bounded."""
    async with asyncio.timeout(BOUND):
        while True:
            answer = await gateway.http.get("/admin/usage")
            if answer.status_code == 200 and answer.json()["total"]["requests"] >= count:
                found: dict[str, Any] = answer.json()
                return found
            await asyncio.sleep(0.05)


async def test_keys_and_money_are_kept_there_and_outlast_its_absence(
    stub: Stub, postgresql: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(stub, database={"url": postgresql.database(tmp_path)})
    settings["models"][0]["price"] = {"input": 1, "output": 2}
    async with running_gateway(settings, tmp_path) as gateway:
        made = (await gateway.http.post("/admin/keys", json={"alias": "ci", "budgets": [{"usd": "1"}]})).json()
        gateway.http.headers.update(bearer(made["key"]))
        assert (await gateway.chat()).status_code == 200
        postgresql.stop()
        try:
            assert [(await gateway.chat(stream=True)).status_code for _ in range(3)] == [200] * 3
        finally:
            postgresql.start()
    async with running_gateway(settings, tmp_path) as gateway:
        total = (await runs_counted(gateway, 4))["total"]
        assert (total["requests"], total["attempts"], total["unpriced"]) == (4, 4, 0)
        keys = (await gateway.http.get("/admin/usage", params={"by": "key"})).json()["rows"]
        assert [(row["name"], row["requests"]) for row in keys] == [(made["id"], 4)]
        postgresql.stop()
        try:
            refused = await gateway.http.post("/admin/keys", json={"alias": "other"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
            assert (await gateway.chat()).status_code == 200
            async with asyncio.timeout(BOUND):
                while not (ready := (await gateway.http.get("/readyz")).json()).get("ledger"):
                    await asyncio.sleep(0.05)
            assert ready["status"] == "degraded"
        finally:
            postgresql.start()
        await runs_counted(gateway, 5)
        assert (await gateway.http.get("/readyz")).json()["status"] == "ready"
    assert not (tmp_path / "headgate.db").exists()
