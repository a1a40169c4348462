"""`headgate runs` and `headgate audit` against a gateway of several workers."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.harness.events import read_events
from tests.harness.process import Process, Processes, workers_of
from tests.harness.stub import BOUND, Stub, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("162", "admin-cli")
STREAMS = 6
ASKED = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest_asyncio.fixture
async def gateway(stub: Stub, processes: Processes, tmp_path: Path) -> AsyncIterator[Process]:
    (tmp_path / "headgate.yaml").write_text(
        f"upstreams: [{{name: stub, provider: openai_compatible, base_url: '{stub.url}', api_key: sk-up-1234567}}]\n"
        "models: [{name: small, targets: [{upstream: stub, model: stub-small}], retries: 0}]\n"
    )
    yield await asyncio.to_thread(processes.serve, "--workers", "2")


def tamper(database: Path) -> None:
    with sqlite3.connect(database, timeout=BOUND) as connection:
        connection.execute("UPDATE audit SET outcome = 'refused' WHERE seq = 3")
    connection.close()


async def command(processes: Processes, gateway: Process, *args: str) -> str:
    given = {"HEADGATE_URL": gateway.url, "HEADGATE_KEY": gateway.key}
    ended = await asyncio.to_thread(processes.run, *args, **given)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def call(gateway: Process, number: int) -> tuple[int, bytes]:
    """A stream on a connection of its own, which any worker may take."""
    headers = {"authorization": f"Bearer {gateway.key}", "x-request-id": f"slow-{number}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=BOUND) as http:
        response = await http.post("/v1/chat/completions", json=ASKED)
        return response.status_code, response.content


async def test_runs_of_all_workers_are_listed_and_cancelled_by_any(
    gateway: Process, stub: Stub, processes: Processes
) -> None:
    assert len(workers_of(gateway)) == 2
    stub.answer(*(stream(stream_pieces()[:2], hang=True) for _ in range(STREAMS)))
    calls = [asyncio.get_running_loop().create_task(call(gateway, number)) for number in range(STREAMS)]
    await stub.wait_for_calls(STREAMS)
    names = {f"slow-{number}" for number in range(STREAMS)}
    headers = {"authorization": f"Bearer {gateway.key}", "connection": "close"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=BOUND) as http:
        for _ in range(8):  # each on a new connection, so that both workers are asked
            found = (await http.get("/v1/runs", params={"status": "running"})).json()["data"]
            assert {run["id"] for run in found} == names
        table = (await command(processes, gateway, "runs", "list", "--status", "running")).splitlines()
        assert table[0].split()[:3] == ["ID", "STATUS", "MODEL"]
        assert {line.split()[0] for line in table[1:]} == names
        assert await command(processes, gateway, "runs", "cancel", "slow-0") == "slow-0 is cancelled\n"
        for name in sorted(names - {"slow-0"}):
            assert (await http.post(f"/v1/runs/{name}/cancel")).status_code == 200
    for status, body in await asyncio.gather(*calls):
        assert (status, read_events(body)[-1].json["error"]["code"]) == (200, "run_cancelled")
    for one in stub.calls:
        await asyncio.wait_for(one.left.wait(), 1)
    shown = await command(processes, gateway, "runs", "show", "slow-0")
    assert "only target" in shown
    assert "run_cancelled" in shown
    assert json.loads(await command(processes, gateway, "runs", "show", "slow-1", "--json"))["status"] == "cancelled"
    assert len(json.loads(await command(processes, gateway, "runs", "list", "--json", "--limit", "3"))) == 3


@covers("139")
async def test_the_audit_log_is_listed_checked_and_exported(
    gateway: Process, processes: Processes, tmp_path: Path
) -> None:
    for _ in range(3):
        await command(processes, gateway, "keys", "create")
    table = (await command(processes, gateway, "audit", "list")).splitlines()
    assert table[0].split() == ["SEQ", "AT", "BY", "FROM", "ACTION", "OBJECT", "OUTCOME"]
    assert [line.split()[4] for line in table[1:]] == ["key.created"] * 3 + ["configuration.loaded"]
    lines = (await command(processes, gateway, "audit", "export")).splitlines()
    acts = [json.loads(line) for line in lines]
    assert [act["previous"] for act in acts] == [None, *(act["hash"] for act in acts[:-1])]
    assert "All 4 rows" in await command(processes, gateway, "audit", "verify")
    await asyncio.to_thread(tamper, tmp_path / "data" / "headgate.db")
    given = {"HEADGATE_URL": gateway.url, "HEADGATE_KEY": gateway.key}
    ended = await asyncio.to_thread(processes.run, "audit", "verify", **given)
    assert (ended.returncode, ended.stdout.split(":")[0]) == (1, "Row 3 is altered")


@covers("weight")
@pytest.mark.parametrize("name", ["runs", "audit"])
def test_they_import_no_server_and_no_database(name: str) -> None:
    program = f"import sys, headgate.cli.{name}\nprint(*{{one.partition('.')[0] for one in sys.modules}})"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert not {"sqlalchemy", "starlette", "uvicorn", "alembic"} & set(said.stdout.split())
