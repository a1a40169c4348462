"""`headgate tenants config`, `headgate budgets` and `headgate keys setup` against a running gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.admin import administered, bearer
from tests.harness.gateway import KEY, Gateway
from tests.harness.process import Processes
from tests.harness.stub import Stub
from tests.harness.tenants import tree
from tests.requirements import covers


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    blue = {"budgets": [{"usd": 10, "period": "day"}], "settings": {"retries": 1}}
    async with administered(tree(stub, blue), tmp_path / "gateway") as running:
        yield running


@pytest.fixture
def run(gateway: Gateway, processes: Processes) -> "Command":
    return Command(gateway, processes)


class Command:
    """`await run("budgets", "list")`: (exit code, standard output, standard error)."""

    def __init__(self, gateway: Gateway, processes: Processes) -> None:
        self._given = {"HEADGATE_URL": gateway.url, "HEADGATE_KEY": KEY}
        self._processes = processes

    async def __call__(self, *args: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(self._processes.run, *args, **self._given)
        return done.returncode, done.stdout, done.stderr


@covers("117", "admin-cli")
async def test_settings_are_shown_set_and_unset(gateway: Gateway, run: Command) -> None:
    where = ("--tenant", "blue")
    _, table, _ = await run("tenants", "config", "get", *where)
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["SETTING", "VALUE", "SOURCE", "WRITABLE"]
    assert ["retries", "1", "yaml", "yes"] in lines
    assert ["markup", '"1"', "builtin", "no"] in lines
    _, one, _ = await run("tenants", "config", "set", "reasoning_effort", "low", *where)
    assert one.splitlines()[1].split() == ["reasoning_effort", '"low"', "db", "yes"]
    await run("tenants", "config", "set", "tags", '["a", "b"]', *where)
    _, shown, _ = await run("tenants", "config", "get", "tags", "--json", *where)
    assert json.loads(shown)["value"] == ["a", "b"]
    _, gone, _ = await run("tenants", "config", "unset", "tags", "--json", *where)
    assert (json.loads(gone)["value"], json.loads(gone)["source"]) == ([], "builtin")


@covers("118", "admin-cli")
async def test_a_setting_that_is_read_only_is_told_with_what_to_do(run: Command) -> None:
    code, _, told = await run("tenants", "config", "set", "markup", "2")
    assert code == 1
    assert "'markup' is read-only" in told
    assert "configuration file" in told


@covers("budgets-used", "admin-cli")
async def test_budgets_are_a_table_or_json(gateway: Gateway, run: Command) -> None:
    _, table, _ = await run("budgets", "list")
    heads, row = table.splitlines()
    assert heads.split()[:4] == ["SUBJECT", "PERIOD", "KIND", "BUDGET"]
    assert row.split()[:7] == ["tenant:blue", "day", "hard", "10.0", "0.0", "0.0", "10.0"]
    assert row.endswith("T00:00:00.000Z")
    _, shown, _ = await run("budgets", "show", "tenant:blue", "--json")
    assert [one["left_usd"] for one in json.loads(shown)] == ["10.000000000"]
    code, _, told = await run("budgets", "show", "tenant:red")
    assert (code, "'tenant:red' has no budget" in told) == (1, True)


@covers("environments", "admin-cli")
async def test_a_key_for_each_environment_is_made_once(gateway: Gateway, run: Command) -> None:
    _, made, _ = await run("keys", "setup", "--tenant", "blue")
    keys = dict(line.split("=") for line in made.splitlines())
    assert list(keys) == ["HEADGATE_DEV_KEY", "HEADGATE_EVAL_KEY", "HEADGATE_PROD_KEY"]
    for key in keys.values():
        assert (await gateway.http.get("/v1/models", headers=bearer(key))).status_code == 200
    code, again, told = await run("keys", "setup", "dev", "test", "--tenant", "blue")
    assert (code, list(dict(line.split("=") for line in again.splitlines()))) == (0, ["HEADGATE_TEST_KEY"])
    assert "has a key dev already" in told
    listed = (await gateway.http.get("/admin/keys", params={"tenant": "blue"})).json()["data"]
    assert sorted((one["alias"], one["environment"], *one["budgets"]) for one in listed) == [
        (name, name) for name in ("dev", "eval", "prod", "test")
    ]
