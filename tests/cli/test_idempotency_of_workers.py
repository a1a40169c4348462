"""A repeat of a call finds its answer whichever process takes it, and after one was killed or all were stopped."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest_asyncio

from tests.harness.events import ends_well
from tests.harness.process import Process, Processes, workers_of
from tests.harness.stub import BOUND, Stub, stream
from tests.requirements import covers

pytestmark = covers("154")
CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest_asyncio.fixture
async def pair(processes: Processes, stub: Stub, tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway with two workers."""
    upstream = {"name": "stub", "provider": "openai_compatible", "base_url": stub.url}
    model = {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
    (tmp_path / "headgate.yaml").write_text(json.dumps({"upstreams": [upstream], "models": [model]}))
    yield await asyncio.to_thread(processes.serve, "--workers", "2")


@asynccontextmanager
async def asked(process: Process, key: str) -> AsyncIterator[httpx.Response]:
    """The beginning of an answer, on a connection of its own, so that any worker may take it."""
    headers = {"authorization": f"Bearer {process.key}", "idempotency-key": key}
    async with (
        httpx.AsyncClient(timeout=BOUND) as http,
        http.stream("POST", f"{process.url}/v1/chat/completions", json=CHAT, headers=headers) as response,
    ):
        yield response


async def ask(process: Process, key: str) -> tuple[str, bytes]:
    """(request id, body)"""
    async with asked(process, key) as response:
        return response.headers["x-request-id"], await response.aread()


def maker(process: Process) -> int:
    """The worker that has a recorded answer open for writing."""
    found = []
    for worker in workers_of(process):
        for file in Path(f"/proc/{worker}/fd").iterdir():
            flags = Path(f"/proc/{worker}/fdinfo/{file.name}").read_text().split("flags:")[1].split()[0]
            if "/data/idempotency/" in str(file.readlink()) and int(flags, 8) & os.O_WRONLY:
                found.append(worker)
    [one] = found
    return one


async def test_forty_repeats_over_two_workers_are_one_call(pair: Process, stub: Stub) -> None:
    for key in ("one", "two"):
        answers = await asyncio.gather(*(ask(pair, key) for _ in range(20)))
        assert len(set(answers)) == 1
        assert ends_well(answers[0][1])
    assert len(stub.calls) == 2


async def test_answers_outlive_a_restart(pair: Process, stub: Stub, processes: Processes) -> None:
    first = await ask(pair, "kept")
    pair.signal(signal.SIGTERM)
    assert await asyncio.to_thread(pair.wait) == 0
    again = await asyncio.to_thread(processes.serve, "--workers", "2")
    assert await ask(again, "kept") == first
    assert len(stub.calls) == 1


async def test_after_its_process_was_killed_a_call_is_made_anew(pair: Process, stub: Stub) -> None:
    stub.answer(stream(release=asyncio.Event()))
    async with asked(pair, "lost") as response:
        assert b"assistant" in await anext(response.aiter_bytes())
        os.kill(maker(pair), signal.SIGKILL)
    answers = await asyncio.gather(*(again(pair) for _ in range(5)))
    assert len(set(answers)) == 1
    assert ends_well(answers[0][1])
    assert len(stub.calls) == 2


async def again(process: Process) -> tuple[str, bytes]:
    """Until the connection is not one that the killed worker had taken."""
    async with asyncio.timeout(BOUND):
        while True:
            try:
                return await ask(process, "lost")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
