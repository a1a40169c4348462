"""Many callers at once over HTTP: only what limits and budgets have room for gets in, with one worker and with two."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.process import Process, Processes
from tests.harness.redis import RedisServer
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat, chunk, stream, stream_pieces
from tests.requirements import covers

pytestmark = [covers("150", "153", "115"), pytest.mark.timeout(120)]
KEY = "sk-crowds-master-key-001"
PER_CALL = 10_000
"""Nano-USD, whatever its size: what is reserved is what it costs."""
CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
BUDGET_FOR_10 = {"usd": f"{10 * PER_CALL / 1e9:.9f}", "period": "total"}


@pytest_asyncio.fixture(params=["one worker", "two workers", "two workers, Redis"])
async def crowd(
    request: pytest.FixtureRequest, stub: Stub, processes: Processes, tmp_path: Path
) -> AsyncIterator[tuple[Process, RedisServer | None]]:
    """A gateway of so many workers, and where they count if that is not on this machine."""
    server = RedisServer(tmp_path) if "Redis" in request.param else None
    settings = settings_for(
        stub,
        server={"workers": 1 if request.param == "one worker" else 2},
        limits={"redis_url": server.url} if server else {},
        routing={"first_pause": 0.01},
    )
    settings["models"][0] |= {"price": {"request": f"{PER_CALL / 1e9:.9f}"}, "retries": 1}
    (tmp_path / "headgate.yaml").write_text(json.dumps(settings))
    arguments = ("--config", str(tmp_path / "headgate.yaml"))
    yield await asyncio.to_thread(processes.serve, *arguments, HEADGATE_MASTER_KEY=KEY), server
    if server:
        server.stop()


def http_to(serving: Process, key: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=serving.url, headers=bearer(key), timeout=BOUND * 3, limits=limits)


async def new_key(serving: Process, **fields: Any) -> tuple[str, str]:
    """(id, text) of a key."""
    async with http_to(serving, KEY) as http:
        made = await http.post("/admin/keys", json=fields)
        assert made.status_code == 201, made.text
        return made.json()["id"], made.json()["key"]


async def spent(serving: Process, key: str, runs: int) -> int:
    """Nano-USD that the ledger has for a key, once so many runs are there; bounded."""
    async with http_to(serving, KEY) as http, asyncio.timeout(BOUND):
        while True:
            total = (await http.get("/admin/usage", params={"key": key})).json()["total"]
            if total["requests"] >= runs:
                assert total["requests"] == runs
                cost: int = total["cost_nano_usd"]
                return cost
            await asyncio.sleep(0.1)


def slowly(request: Recorded) -> Answer:
    """Answers that take a moment, so that many are in flight."""
    if request.method != "POST":
        return chat()
    if request.json.get("stream"):
        return stream(stream_pieces(usage=True), delay=0.3)
    answer = chat()
    answer.delay = 0.3
    return answer


async def call(http: httpx.AsyncClient, streamed: bool, leaves: bool) -> str:
    """`got in`, or the code of the refusal."""
    body = {**CHAT, "stream": streamed}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            await answer.aread()
            return str(answer.json()["error"]["code"])
        if leaves:
            await anext(answer.aiter_bytes())
        else:
            await answer.aread()
        return "got in"


async def at_once(http: httpx.AsyncClient, calls: int, each: int, *, streamed: bool, leaves: bool) -> Counter[str]:
    """How many came to what, of so many callers with so many calls each."""
    answers = Counter[str]()

    async def one_after_another() -> None:
        for _ in range(each):
            answers[await call(http, streamed, leaves)] += 1

    await asyncio.gather(*(one_after_another() for _ in range(calls // each)))
    return answers


async def a_budget_for_10_lets_10_of_200_in(serving: Process, stub: Stub, *, streamed: bool, leaves: bool) -> None:
    stub.requests.clear()
    stub.otherwise = (lambda _: stream([chunk({"content": "x"})], delay=0.3, hang=True)) if leaves else slowly
    name, key = await new_key(serving, budgets=[BUDGET_FOR_10])
    async with http_to(serving, key) as http:
        answers = await at_once(http, 200, 1, streamed=streamed, leaves=leaves)
        assert answers == {"got in": 10, "budget_exceeded": 190}
        assert len(stub.calls) == 10
        assert await spent(serving, name, 10) == 10 * PER_CALL
        assert await call(http, streamed, leaves) == "budget_exceeded"


async def calls_that_cost_twice_their_estimate_overspend_by_that(serving: Process, stub: Stub) -> None:
    """Each fails once, which is billed, before it is answered: the bound is what those in flight were short of."""
    stub.requests.clear()
    known = set[str]()

    def garbled_first(request: Recorded) -> Answer:
        run = request.headers["x-request-id"]
        if run in known:
            return slowly(request)
        known.add(run)
        return Answer(body=b"not JSON")

    stub.otherwise = garbled_first
    name, key = await new_key(serving, budgets=[BUDGET_FOR_10])
    async with http_to(serving, key) as http:
        answers = await at_once(http, 200, 1, streamed=False, leaves=False)
        assert answers == {"got in": 10, "budget_exceeded": 190}
        assert len(stub.calls) == 20
        assert 10 * PER_CALL <= await spent(serving, name, 10) <= 2 * 10 * PER_CALL
        assert await call(http, streamed=False, leaves=False) == "budget_exceeded"


async def a_limit_of_100_per_minute_lets_100_of_1000_in(serving: Process, stub: Stub) -> None:
    """A call counts for 60 seconds at least, and all of these are made in fewer."""
    stub.requests.clear()
    stub.otherwise = lambda _: chat()
    _, key = await new_key(serving, rate={"requests_per_minute": 100})
    began = monotonic()
    async with http_to(serving, key) as http:
        answers = await at_once(http, 1000, 25, streamed=False, leaves=False)
    assert monotonic() - began < 60
    assert answers == {"got in": 100, "rate_limit_exceeded": 900}
    assert len(stub.calls) == 100


async def without_redis_only_calls_without_limits_are_served(serving: Process, redis: RedisServer) -> None:
    name, key = await new_key(serving, budgets=[BUDGET_FOR_10])
    async with http_to(serving, key) as http, http_to(serving, KEY) as master:
        assert await call(http, streamed=False, leaves=False) == "got in"
        redis.stop()
        assert await call(http, streamed=False, leaves=False) == "limits_unavailable"
        assert await call(master, streamed=False, leaves=False) == "got in"
        redis.start()
        async with asyncio.timeout(BOUND):
            while await call(http, streamed=False, leaves=False) == "limits_unavailable":
                await asyncio.sleep(0.05)
        assert await spent(serving, name, 2) == 2 * PER_CALL


async def test_only_what_there_is_room_for_gets_in(stub: Stub, crowd: tuple[Process, RedisServer | None]) -> None:
    serving, redis = crowd
    for streamed, leaves in ((False, False), (True, False), (True, True)):
        await a_budget_for_10_lets_10_of_200_in(serving, stub, streamed=streamed, leaves=leaves)
    await calls_that_cost_twice_their_estimate_overspend_by_that(serving, stub)
    await a_limit_of_100_per_minute_lets_100_of_1000_in(serving, stub)
    if redis:
        await without_redis_only_calls_without_limits_are_served(serving, redis)
