"""Calls with an `Idempotency-Key` whose caller leaves, whose process ends, and what they cost."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.journeys.test_idempotency import KEYED, ask, replayed, told
from tests.journeys.test_money import PRICE, new_key, rows
from tests.journeys.test_money import ask as ask_as
from tests.requirements import covers

pytestmark = covers("154")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def priced(stub: Stub, **more: Any) -> dict[str, Any]:
    made = settings_for(stub, **more)
    made["models"][0]["price"] = PRICE
    return made


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(priced(stub), tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def pair(stub: Stub, tmp_path: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two gateways over one data directory, as two workers are."""
    made = settings_for(stub)
    async with running_gateway(made, tmp_path) as one, running_gateway(made, tmp_path) as other:
        yield one, other


@asynccontextmanager
async def begun(gateway: Gateway) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
    """A stream of which the first piece has come; left at the end."""
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=KEYED) as response:
        pieces = response.aiter_bytes()
        assert b"assistant" in await anext(pieces)
        yield response, pieces


async def until_alone(gateway: Gateway) -> None:
    """Until the call goes on without anybody who waits for it."""
    async with asyncio.timeout(BOUND):
        while any(one.is_heard for one in recordings(gateway)):
            await asyncio.sleep(0.005)


def recordings(gateway: Gateway) -> list[Any]:
    assert gateway.gate.keeper is not None
    return list(gateway.gate.keeper.recordings.values())


async def until_idle(gateway: Gateway) -> None:
    async with asyncio.timeout(BOUND):
        while gateway.gate.active:
            await asyncio.sleep(0.005)
    assert gateway.gate.metrics.in_flight == 0


@pytest.mark.parametrize("back", ["during", "after"])
async def test_who_leaves_in_the_middle_finds_the_whole_stream_when_he_comes_back(
    gateway: Gateway, stub: Stub, back: str
) -> None:
    release = asyncio.Event()
    stub.answer(stream(stream_pieces(usage=True), release=release))
    async with begun(gateway):
        pass
    await until_alone(gateway)
    assert (len(gateway.gate.active), gateway.gate.metrics.in_flight) == (1, 1)
    if back == "after":
        release.set()
        await until_idle(gateway)
    returned = asyncio.create_task(ask(gateway, stream=True))
    async with asyncio.timeout(BOUND):
        while sum(gateway.gate.metrics.idempotent.values()) < 2:
            await asyncio.sleep(0.005)
    release.set()
    answer = await returned
    assert ends_well(answer.content)
    assert replayed(answer)
    assert len(stub.calls) == 1
    await until_idle(gateway)
    [entry] = await rows(gateway, 1)
    assert (entry["outcome"], entry["measure"], entry["prompt"]) == ("ok", "reported", "7")


async def test_who_leaves_before_the_answer_finds_it_when_he_comes_back(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(Answer(pieces=[chat().body[:9], chat().body[9:]], release=release))
    with pytest.raises(httpx.ReadTimeout):
        await gateway.http.post(
            "/v1/chat/completions",
            json={"model": "small", "messages": [{"role": "user", "content": "Hi"}]},
            headers=KEYED,
            timeout=0.2,
        )
    await until_alone(gateway)
    release.set()
    await until_idle(gateway)
    answer = await ask(gateway)
    assert (answer.json()["model"], replayed(answer), len(stub.calls)) == ("small", True, 1)


async def test_without_the_header_leaving_ends_the_call(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()[:2], hang=True))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        await anext(response.aiter_bytes())
    await asyncio.wait_for(stub.calls[0].left.wait(), 1)


async def test_a_call_that_goes_on_alone_counts_as_one_in_flight(stub: Stub, tmp_path: Path) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    settings = settings_for(stub, server={"limits": {"in_flight": 1}})
    async with running_gateway(settings, tmp_path) as gateway:
        async with begun(gateway):
            pass
        await until_alone(gateway)
        refused = await gateway.chat()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        release.set()
        await until_idle(gateway)
        assert (await gateway.chat()).status_code == 200


async def test_the_drain_waits_for_calls_that_go_on_alone(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    async with begun(gateway):
        pass
    await until_alone(gateway)
    gateway.gate.draining = True
    gateway.server._drain_seconds = BOUND
    draining = asyncio.create_task(gateway.server._drain())
    await asyncio.wait([draining], timeout=0.1)
    assert not draining.done()
    release.set()
    await draining
    assert list((await gateway.wait_for_lines(1))[0]["attempts"]) == [{"target": "stub/stub-small", "error": None}]


@both_ways
async def test_repeats_cost_nothing_and_take_nothing_of_a_limit(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    caller = await new_key(gateway, rate={"requests_per_minute": 1}, budgets=[{"usd": "0.0003", "period": "day"}])
    async with caller:
        caller.headers.update(KEYED)
        answers = [await ask_as(caller, stream=streamed) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert "x-ratelimit-limit-requests" in answers[0].headers
        assert not any(name.startswith("x-ratelimit") for name in answers[1].headers)
        assert (await ask_as(caller, headers=KEYED, temperature=1)).status_code == 409
        del caller.headers["idempotency-key"]
        assert (await ask_as(caller)).status_code == 429
    assert len(await rows(gateway, 1)) == 1
    assert len(stub.calls) == 1


async def test_a_refusal_by_a_limit_is_not_kept(gateway: Gateway, stub: Stub) -> None:
    caller = await new_key(gateway, budgets=[{"usd": "0.0000001", "period": "day"}])
    async with caller:
        caller.headers.update(KEYED)
        for _ in range(2):
            refused = await ask_as(caller)
            assert (refused.status_code, replayed(refused)) == (429, False)


@both_ways
async def test_another_worker_has_the_same_answers(pair: tuple[Gateway, Gateway], stub: Stub, streamed: bool) -> None:
    one, other = pair
    assert told(await ask(one, stream=streamed)) == told(await ask(other, stream=streamed))
    assert (await ask(other, stream=streamed, temperature=1)).status_code == 409
    assert len(stub.calls) == 1


async def test_a_caller_of_another_worker_follows_from_the_first_byte(
    pair: tuple[Gateway, Gateway], stub: Stub
) -> None:
    one, other = pair
    release = asyncio.Event()
    stub.answer(stream(release=release))
    first = asyncio.create_task(ask(one, stream=True))
    await stub.wait_for_calls(1)
    async with begun(other) as (attached, _):
        assert (await ask(other, stream=True, temperature=1)).status_code == 409
        assert not first.done()
        second = asyncio.create_task(ask(other, stream=True))
        async with asyncio.timeout(BOUND):
            while other.gate.metrics.idempotent["chat", "attached"] < 2:
                await asyncio.sleep(0.005)
        release.set()
        assert (await second).content == (await first).content
        assert attached.headers["idempotent-replayed"] == "true"
    assert len(stub.calls) == 1


def die(gateway: Gateway) -> None:
    """The process that makes the answer writes no more and its locks are gone."""
    [recording] = recordings(gateway)
    os.close(recording._file)
    recording._file = -1


async def test_a_call_whose_process_died_is_made_anew(pair: tuple[Gateway, Gateway], stub: Stub) -> None:
    one, other = pair
    stub.answer(Answer(raw=b"", hang=True))
    lost = asyncio.create_task(ask(one))
    await stub.wait_for_calls(1)
    waiting = asyncio.create_task(ask(other))
    async with asyncio.timeout(BOUND):
        while not other.gate.metrics.idempotent["chat", "attached"]:
            await asyncio.sleep(0.005)
    die(one)
    answer = await waiting
    assert (answer.status_code, replayed(answer), len(stub.calls)) == (200, False, 2)
    assert "replay_of" not in (await other.wait_for_lines(1))[0]
    assert replayed(await ask(other))
    lost.cancel()


async def test_who_had_a_part_of_it_is_told_that_it_broke(pair: tuple[Gateway, Gateway], stub: Stub) -> None:
    one, other = pair
    stub.answer(stream(stream_pieces()[:2], hang=True))
    lost = asyncio.create_task(ask(one, stream=True))
    await stub.wait_for_calls(1)
    async with begun(other) as (_, pieces):
        die(one)
        rest = b"".join([piece async for piece in pieces])
    assert b'"code":"upstream_broke_off"' in rest
    assert b"[DONE]" not in rest
    assert ends_well((await ask(other, stream=True)).content)
    lost.cancel()


async def test_answers_outlive_a_restart(stub: Stub, tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        async with running_gateway(settings_for(stub), tmp_path) as gateway:
            answers.append(told(await ask(gateway, stream=True)))
    assert answers[0] == answers[1]
    assert len(stub.calls) == 1


async def test_a_call_cut_by_the_end_of_the_process_is_made_anew_after_it(stub: Stub, tmp_path: Path) -> None:
    stub.answer(stream(stream_pieces()[:2], hang=True))
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        async with begun(gateway):
            pass
        await until_alone(gateway)
    await asyncio.wait_for(stub.calls[0].left.wait(), BOUND)
    assert [line["outcome"] for line in gateway.lines] == ["disconnected"]
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        assert ends_well((await ask(gateway, stream=True)).content)
    assert len(stub.calls) == 2


async def test_the_sdks_own_retries_reach_the_call_that_goes_on(gateway: Gateway, stub: Stub) -> None:
    """A try that the SDK gives up after a while, and one that fails for a moment, end in one answer each."""
    hi: Any = [{"role": "user", "content": "Hi"}]
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key=KEY, max_retries=3, timeout=0.4) as client:
        stub.answer(Answer(body=chat().body, delay=0.7))
        slow = await client.chat.completions.create(model="small", messages=hi, extra_headers=KEYED)
        assert slow.choices[0].message.content == "Hello there."
        assert len(stub.calls) == 1
        stub.answer(Answer(status=503), chat("Again."))
        failed = {"idempotency-key": "another"}
        retried = await client.chat.completions.create(model="small", messages=hi, extra_headers=failed)
        assert retried.choices[0].message.content == "Again."
        assert len(stub.calls) == 3
        with pytest.raises(openai.ConflictError) as refused:
            await client.chat.completions.create(model="small", messages=hi, seed=1, extra_headers=KEYED)
    assert refused.value.code == "idempotency_key_reused"
    assert gateway.gate.metrics.idempotent["chat", "refused"] == 1
