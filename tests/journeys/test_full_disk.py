"""A disk that takes no byte more: what cannot be written is not forgotten, and calls under budgets are refused."""

import asyncio
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.process import Process, Processes, workers_of
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = [
    covers("152", "153"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes the disk away from a running process"),
]
KEY = "sk-full-disk-master-key-1"
CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}


def limit_files(pids: set[int], size: int) -> None:
    """No file of these processes may grow beyond a size, as on a full disk."""
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def serve(processes: Processes, folder: Path, settings: dict[str, Any]) -> Process:
    (folder / "headgate.yaml").write_text(json.dumps(settings))
    config = str(folder / "headgate.yaml")
    return await asyncio.to_thread(processes.serve, "--config", config, HEADGATE_MASTER_KEY=KEY)


async def until(http: httpx.AsyncClient, path: str, is_so: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(BOUND):
        while not is_so(told := (await http.get(path)).json()):
            await asyncio.sleep(0.05)
        return told


async def call(http: httpx.AsyncClient, key: str = KEY) -> httpx.Response:
    """On a connection of its own, so that every worker gets its share."""
    async with httpx.AsyncClient(base_url=http.base_url, timeout=BOUND) as caller:
        return await caller.post("/v1/chat/completions", json=CHAT, headers=bearer(key))


@pytest.mark.parametrize("workers", [1, 2])
async def test_calls_under_budgets_are_refused_until_there_is_room_and_nothing_is_lost(
    stub: Stub, processes: Processes, tmp_path: Path, workers: int
) -> None:
    settings = settings_for(stub, server={"workers": workers})
    settings["models"][0]["price"] = {"input": 1, "output": 2}
    serving = await serve(processes, tmp_path, settings)
    pids = {serving.popen.pid} | (workers_of(serving) if workers > 1 else set())
    async with httpx.AsyncClient(base_url=serving.url, headers=bearer(KEY), timeout=BOUND) as http:
        made = (await http.post("/admin/keys", json={"budgets": [{"usd": "1"}]})).json()["key"]
        assert (await call(http, made)).status_code == 200
        await until(http, "/admin/usage", lambda told: told["total"]["requests"] == 1)
        limit_files(pids, 0)
        served, codes = 1, set[str]()
        async with asyncio.timeout(BOUND):
            while codes != {"ledger_unavailable"} or served < 6 * workers:
                served += (await call(http)).status_code == 200
                answer = await call(http, made)
                served += answer.status_code == 200
                codes = {answer.headers.get("x-headgate-error", "none")}
        ready = await until(http, "/readyz", lambda told: "ledger" in told)
        assert ready["status"] == "degraded"
        assert (await http.post("/admin/keys", json={})).json()["error"]["code"] == "database_unavailable"
        limit_files(pids, resource.RLIM_INFINITY)
        total = (await until(http, "/admin/usage", lambda told: told["total"]["requests"] >= served))["total"]
        assert (total["requests"], total["attempts"]) == (served, served)
        async with asyncio.timeout(BOUND):
            while (await call(http, made)).status_code != 200:
                await asyncio.sleep(0.05)
        await until(http, "/readyz", lambda told: "ledger" not in told)
