"""`headgate keys` and `headgate tenants` against a running gateway."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import administered, bearer
from tests.harness.gateway import KEY, TOKEN, Gateway
from tests.harness.process import Processes
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("admin-cli")

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Awaitable[Done]]


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with administered(settings_for(stub), tmp_path / "gateway") as running:
        yield running


@pytest.fixture
def command(gateway: Gateway, processes: Processes) -> Command:
    """A command with the gateway's address and master key."""

    async def command(*args: str, **environment: str) -> Done:
        given = {"HEADGATE_URL": gateway.url, "HEADGATE_KEY": KEY, **environment}
        return await asyncio.to_thread(processes.run, *args, **given)

    return command


async def done(command: Command, *args: str) -> str:
    ended = await command(*args)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def test_the_life_of_a_key(gateway: Gateway, command: Command) -> None:
    made = await command("keys", "create", "--alias", "ci", "--model", "small", "--budget", "10/month", "--rpm", "5")
    text = made.stdout.strip()
    key_id = made.stderr.split()[0]
    assert text.startswith("sk-hg-")
    assert (await gateway.http.get("/v1/models", headers=bearer(text))).status_code == 200
    table = (await done(command, "keys", "list")).splitlines()
    assert table[0].split()[:4] == ["ID", "ALIAS", "TENANT", "USER"]
    assert table[1].split() == [key_id, "ci", "default", "-", "active", "small", "10/month", "-"]
    await done(command, "keys", "update", key_id, "--deny", "other", "--expires", "30d", "--metadata", '{"a": 1}')
    shown = json.loads(await done(command, "keys", "show", key_id))
    assert shown["models"] == {"allow": ["small"], "deny": ["other"]}
    assert (shown["metadata"], shown["rate"]["requests_per_minute"]) == ({"a": 1}, 5)
    rotated = json.loads(await done(command, "keys", "rotate", key_id, "--grace", "0s", "--json"))
    assert (await gateway.http.get("/v1/models", headers=bearer(text))).status_code == 401
    for act, state in (("block", "blocked"), ("unblock", "active"), ("revoke", "revoked")):
        assert await done(command, "keys", act, key_id) == f"{key_id} is {state}\n"
    assert (await gateway.http.get("/v1/models", headers=bearer(rotated["key"]))).status_code == 401
    assert json.loads(await done(command, "keys", "list", "--state", "active", "--json")) == []


async def test_the_life_of_a_tenant(gateway: Gateway, command: Command) -> None:
    assert await done(command, "tenants", "create", "blue", "--name", "Blue", "--budget", "5/day") == "blue is there\n"
    rows = [line.split() for line in (await done(command, "tenants", "list")).splitlines()]
    assert rows == [
        ["ID", "NAME", "BLOCKED", "SOURCE"],
        ["blue", "Blue", "False", "database"],
        ["default", "-", "False", "database"],
    ]
    shown = json.loads(await done(command, "tenants", "show", "blue"))
    assert shown["budgets"] == [{"usd": 5.0, "period": "day", "hard": True}]
    made = json.loads(await done(command, "keys", "create", "--tenant", "blue", "--json"))
    assert made["tenant"] == "blue"
    refused = await command("tenants", "delete", "blue")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "has keys" in refused.stderr
    await done(command, "keys", "revoke", made["id"])
    assert await done(command, "tenants", "delete", "blue") == "blue is forgotten\n"


async def test_refusals_are_told_in_the_gateways_words_without_a_traceback(command: Command) -> None:
    for args, words in (
        (("keys", "show", "key_nowhere"), "no such key"),
        (("keys", "create", "--budget", "x/day"), "budgets[0].usd"),
        (("keys", "create", "--scope", "wrong"), "scopes[0]"),
    ):
        ended = await command(*args)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr
    ended = await command("keys", "list", HEADGATE_KEY=TOKEN)
    assert "keys:read" in ended.stderr
    assert TOKEN not in ended.stderr


@covers("redaction")
async def test_the_master_key_of_this_machine_is_sent_to_this_machine_only(
    gateway: Gateway, processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "master.key").write_text(KEY)
    here = await asyncio.to_thread(processes.run, "keys", "list", "--url", gateway.url)
    assert here.returncode == 0, here.stderr
    for url in ("http://gateway.example:8000", "https://127.0.0.1.example"):
        away = await asyncio.to_thread(processes.run, "keys", "list", "--url", url)
        assert away.returncode == 2
        assert "No key" in away.stderr


def test_where_no_gateway_answers_that_is_told(processes: Processes) -> None:
    ended = processes.run("keys", "list", "--url", "http://127.0.0.1:9", "--key", "k")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "No gateway answers at http://127.0.0.1:9" in ended.stderr
    assert processes.run("keys", "list", "--url", "file:///etc/passwd", "--key", "k").returncode == 2


@covers("weight")
@pytest.mark.parametrize("name", ["keys", "tenants"])
def test_they_import_no_server_and_no_database(name: str) -> None:
    program = f"import sys, headgate.cli.{name}\nprint(*{{one.partition('.')[0] for one in sys.modules}})"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert not {"sqlalchemy", "starlette", "uvicorn", "alembic"} & set(said.stdout.split())
