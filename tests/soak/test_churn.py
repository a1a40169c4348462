"""Requests of every kind in great number: memory stays where it was."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from bench import cpu
from tests.conftest import Amount, settings_for
from tests.harness.process import Process, Processes
from tests.harness.stub import Answer, Recorded, Stub, chat, stream
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
WIDTH = 20
MOST_GROWTH_MB = 12.0
pytestmark = [covers("weight", "12"), pytest.mark.timeout(900)]


def mixed(request: Recorded) -> Answer:
    """Answers of many kinds, chosen by the caller's seed."""
    seed = request.json.get("seed", 0) if request.method == "POST" else 0
    streamed = request.method == "POST" and request.json.get("stream")
    kinds: list[Answer] = [
        stream() if streamed else chat(),
        stream() if streamed else chat("x" * 20_000),
        Answer(status=503, body=b'{"error":{"message":"no"}}'),
        stream(cut_after=400) if streamed else Answer(body=b"{", cut_after=1),
        stream(gap=0.2) if streamed else Answer(delay=0.2),
        Answer(raw=b"nonsense"),
    ]
    return kinds[seed % len(kinds)]


async def one(http: httpx.AsyncClient, seed: int) -> None:
    """One request; every fifth caller leaves early."""
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": seed % 2 == 0, "seed": seed}
    call = http.post("/v1/chat/completions", json=body)
    try:
        await (asyncio.wait_for(call, 0.03) if seed % 5 == 0 else call)
    except (TimeoutError, httpx.HTTPError):
        return


async def churn(serving: Process, count: int) -> None:
    numbers = random.Random(count)
    limits = httpx.Limits(max_connections=WIDTH)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=serving.url, headers=headers, limits=limits, timeout=20) as http:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await one(http, numbers.randrange(1 << 20))

        await asyncio.gather(*(work() for _ in range(WIDTH)))


async def test_memory_does_not_grow(stub: Stub, processes: Processes, tmp_path: Path, amount: Amount) -> None:
    stub.otherwise = mixed
    settings = settings_for(stub)
    (tmp_path / "headgate.yaml").write_text(str(settings).replace("'", '"'))
    serving = await asyncio.to_thread(
        processes.serve, "--config", str(tmp_path / "headgate.yaml"), HEADGATE_MASTER_KEY=KEY
    )
    await churn(serving, amount(600, 4_000))
    stub.requests.clear()
    before = cpu.usage(serving.popen.pid).rss_mb
    for _ in range(amount(1, 10)):
        await churn(serving, amount(1_000, 4_000))
        stub.requests.clear()
    after = cpu.usage(serving.popen.pid).rss_mb
    print(f"\nmemory {before:.1f} → {after:.1f} MB over {amount(1_000, 40_000)} requests")
    assert after - before < MOST_GROWTH_MB
    assert serving.popen.poll() is None
