"""The server killed at random moments under load: what a caller saw complete is in the ledger, and nothing twice."""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Amount, settings_for
from tests.harness.events import ends_well
from tests.harness.process import Process, Processes, workers_of
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
PER_SECOND = 200
pytestmark = [covers("152"), pytest.mark.timeout(900)]


def client(serving: Process) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=100)
    return httpx.AsyncClient(
        base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, timeout=BOUND, limits=limits
    )


async def one(http: httpx.AsyncClient, seen: set[str], numbers: random.Random) -> None:
    """One call; its id is noted once the answer was there whole."""
    streamed = numbers.random() < 0.5
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    try:
        response = await http.post("/v1/chat/completions", json=body)
    except httpx.HTTPError:
        return
    if response.status_code == 200 and (not streamed or ends_well(response.content)):
        seen.add(response.headers["x-request-id"])


async def load_until_killed(serving: Process, seen: set[str], numbers: random.Random) -> None:
    """Everything dies at once, as when a machine stops, but for what the kernel was given already."""
    processes = [serving.popen.pid, *workers_of(serving)]
    ends_at = asyncio.get_running_loop().time() + numbers.uniform(0.3, 1.5)
    async with client(serving) as http, asyncio.TaskGroup() as group:
        while asyncio.get_running_loop().time() < ends_at:
            group.create_task(one(http, seen, numbers))
            await asyncio.sleep(1 / PER_SECOND)
        for process in processes:
            os.kill(process, signal.SIGKILL)
    await asyncio.to_thread(serving.wait)


async def ledger_of(serving: Process) -> Counter[str]:
    """How often each run stands in the ledger, once nothing waits in a journal."""
    async with client(serving) as http:
        async with asyncio.timeout(BOUND):
            while (await http.get("/admin/usage")).json()["ledger"]["lag_seconds"] > 0:
                await asyncio.sleep(0.1)
        exported = (await http.get("/admin/usage/export", params={"format": "json"})).json()
        return Counter(entry["run"] for entry in exported)


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_was_answered_is_in_the_ledger_and_nothing_twice(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount, workers: int
) -> None:
    settings: dict[str, Any] = settings_for(stub, server={"workers": workers})
    settings["models"][0]["price"] = {"input": 1, "output": 2}
    (tmp_path / "headgate.yaml").write_text(json.dumps(settings))
    numbers, seen = random.Random(7), set[str]()

    async def serve() -> Process:
        config = str(tmp_path / "headgate.yaml")
        return await asyncio.to_thread(processes.serve, "--config", config, HEADGATE_MASTER_KEY=KEY)

    kills = amount(2, 50)
    for _ in range(kills):
        await load_until_killed(await serve(), seen, numbers)
        stub.requests.clear()
    counted = await ledger_of(await serve())
    print(f"\n{workers} workers, {kills} kills; {len(seen)} answers seen whole, {len(counted)} runs in the ledger")
    assert len(seen) > kills * 20
    assert not seen - set(counted), "an answer is missing from the ledger"
    assert max(counted.values()) == 1
