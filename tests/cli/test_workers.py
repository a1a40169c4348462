"""Several workers on one address: each serves, is counted, and is replaced when it ends."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from headgate.app import Prepared
from headgate.cli.workers import Supervisor
from headgate.config.tree import Settings
from headgate.core.errors import StartupError
from tests.harness.process import Process, Processes, workers_of
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = covers("workers")

CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}


@pytest_asyncio.fixture
async def pair(processes: Processes, stub: Stub, tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway with two workers."""
    upstream = {"name": "stub", "provider": "openai_compatible", "base_url": stub.url}
    model = {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
    (tmp_path / "headgate.yaml").write_text(json.dumps({"upstreams": [upstream], "models": [model]}))
    yield await asyncio.to_thread(processes.serve, "--workers", "2")


async def call(process: Process) -> httpx.Response:
    """One chat completion on a connection of its own, so that any worker may take it."""
    async with httpx.AsyncClient(timeout=BOUND) as http:
        headers = {"authorization": f"Bearer {process.key}"}
        return await http.post(f"{process.url}/v1/chat/completions", json=CHAT, headers=headers)


async def counted(process: Process) -> float:
    """Requests answered with 200, as one scrape tells it."""
    async with httpx.AsyncClient(timeout=BOUND) as http:
        scraped = await http.get(f"{process.url}/metrics", headers={"authorization": f"Bearer {process.key}"})
    lines = [line for line in scraped.text.splitlines() if line.startswith("headgate_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'route="chat"' in line and 'status="200"' in line)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_both_serve_and_any_of_them_tells_the_sum(pair: Process) -> None:
    assert len(workers_of(pair)) == 2
    for _ in range(5):
        responses = await asyncio.gather(*(call(pair) for _ in range(20)))
        assert {response.status_code for response in responses} == {200}

    async def all_counted() -> bool:
        return await counted(pair) == 100

    await until(all_counted)


async def test_one_that_is_killed_is_replaced_and_no_counter_falls(pair: Process, tmp_path: Path) -> None:
    for _ in range(20):
        assert (await call(pair)).status_code == 200
    last_call = time.time()

    async def published() -> bool:
        """Both have left their counts since; what a worker had not left would die with it."""
        left = [file.stat().st_mtime for file in (tmp_path / "data" / "run").glob("*/*.metrics")]
        return len(left) == 2 and min(left) > last_call

    await until(published)
    before = workers_of(pair)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)

    async def replaced() -> bool:
        now = workers_of(pair)
        return len(now) == 2 and killed not in now

    await until(replaced)
    assert (await call(pair)).status_code == 200

    async def counted_on() -> bool:
        return await counted(pair) == 21

    await until(counted_on)
    assert f"worker {killed} ended" in pair.err.read_text() + pair.out.read_text()


@covers("132")
async def test_all_end_with_the_first(pair: Process, tmp_path: Path) -> None:
    running = workers_of(pair)
    pair.signal(signal.SIGTERM)
    assert await asyncio.to_thread(pair.wait, BOUND) == 0
    for number in running:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    left = [entry.name for entry in (tmp_path / "data" / "run").iterdir() if entry.is_dir()]
    assert not left, "the counts of the workers are removed"
    assert "Traceback" not in pair.err.read_text() + pair.out.read_text()


async def test_workers_do_not_outlive_a_supervisor_that_was_killed(pair: Process) -> None:
    before = workers_of(pair)
    assert len(before) == 2
    pair.signal(signal.SIGKILL)
    await asyncio.to_thread(pair.wait)

    async def all_gone() -> bool:
        return not any(map(os.path.exists, (f"/proc/{worker}" for worker in before)))

    await until(all_gone)


def test_workers_that_never_become_ready_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        pid, exitcode = 0, 3

        def is_alive(self) -> bool:
            return False

        def join(self, seconds: float | None = None) -> None: ...

        def terminate(self) -> None: ...

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(Supervisor, "_start", lambda self: Dead())
    greetings: list[None] = []
    prepared = Prepared(Settings.model_validate({"server": {"workers": 2}}), (), b"pepper", {})
    with socket.socket() as listening, pytest.raises(StartupError, match="before they are ready"):
        Supervisor(prepared, listening, lambda: greetings.append(None)).run()
    assert not greetings
