"""Runs in flight: seen and stopped from any worker, with a proper end for the caller and the money settled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.events import read_events
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, stream, stream_pieces
from tests.journeys.test_money import new_key
from tests.journeys.test_runs import ASKED, listed, settings, show
from tests.requirements import covers

pytestmark = covers("162")


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def neighbour(gateway: Gateway, stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Another worker over the same data directory."""
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


@pytest.fixture(params=["own", "other"])
def asked(request: pytest.FixtureRequest, gateway: Gateway, neighbour: Gateway) -> Gateway:
    """The worker that is asked: the one that serves the run, or another."""
    return gateway if request.param == "own" else neighbour


@asynccontextmanager
async def hanging(caller: httpx.AsyncClient, stub: Stub, run_id: str) -> AsyncIterator[httpx.Response]:
    """A stream that has begun and does not go on."""
    stub.answer(stream(stream_pieces()[:2], hang=True))
    headers = {"x-request-id": run_id}
    async with caller.stream("POST", "/v1/chat/completions", json=ASKED, headers=headers) as response:
        received = b""
        chunks = response.aiter_bytes()
        while b"Hello" not in received:
            received += await anext(chunks)
        yield response


async def cancel(caller: httpx.AsyncClient, run_id: str) -> tuple[int, Any]:
    response = await caller.post(f"/v1/runs/{run_id}/cancel")
    return response.status_code, response.json()


async def test_a_run_in_flight_is_listed_and_shown(asked: Gateway, gateway: Gateway, stub: Stub) -> None:
    async with hanging(gateway.http, stub, "slow"):
        [line] = await listed(asked.http, status="running")
        assert (line["id"], line["status"], line["model"], line["cost_usd"]) == ("slow", "running", "small", None)
        run = await show(asked.http, "slow")
        [attempt] = run["attempts"]
        assert (attempt["target"], attempt["outcome"]) == ("stub/stub-small", "running")
        assert attempt["chunks"] >= 1
        assert [one["id"] for one in await listed(asked.http)] == ["slow"]
        assert await listed(asked.http, status="running", model="many") == []
    async with asyncio.timeout(BOUND):
        while (await show(asked.http, "slow"))["status"] == "running":
            await asyncio.sleep(0.005)
    assert (await show(asked.http, "slow"))["status"] == "disconnected"
    assert await listed(asked.http, status="running") == []


async def test_a_stream_that_is_cancelled_ends_with_an_error_event(
    asked: Gateway, gateway: Gateway, stub: Stub
) -> None:
    stub.answer(stream(stream_pieces()[:2], hang=True))
    body = {**ASKED, "max_tokens": 10}
    call = asyncio.get_running_loop().create_task(
        gateway.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "slow"})
    )
    await stub.wait_for_calls(1)
    async with asyncio.timeout(BOUND):
        while not any(run.attempts and run.attempts[0].chunks > 1 for run in gateway.gate.active.values()):
            await asyncio.sleep(0.001)
    status, told = await cancel(asked.http, "slow")
    assert (status, told["id"], told["status"]) == (200, "slow", "cancelled")
    await asyncio.wait_for(stub.last.left.wait(), 1)
    events = read_events((await call).content)
    assert events[-1].json["error"]["code"] == "run_cancelled"
    assert all(event.data != "[DONE]" for event in events)
    run = await show(asked.http, "slow")
    assert (run["status"], run["error"], run["measure"]) == ("cancelled", "run_cancelled", "estimated")
    assert 0 < float(run["cost_usd"]) < 0.001
    assert [one["id"] for one in await listed(asked.http, status="cancelled")] == ["slow"]
    [line] = [one for one in await gateway.wait_for_lines(1) if one["request_id"] == "slow"]
    assert (line["outcome"], line["error"]) == ("cancelled", "run_cancelled")
    assert not gateway.gate.active


async def test_an_answer_in_one_piece_that_is_cancelled_is_a_409(asked: Gateway, gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(raw=b"", hang=True))
    gateway.http.headers["x-request-id"] = "slow"
    call = asyncio.get_running_loop().create_task(gateway.chat())
    await stub.wait_for_calls(1)
    assert (await cancel(asked.http, "slow"))[0] == 200
    response = await call
    assert (response.status_code, response.json()["error"]["code"]) == (409, "run_cancelled")
    assert response.headers["x-should-retry"] == "false"
    await asyncio.wait_for(stub.last.left.wait(), 1)
    assert (await gateway.chat()).status_code == 200


async def test_a_run_that_waits_to_try_again_is_cancelled_at_once(gateway: Gateway, stub: Stub) -> None:
    gateway.http.headers.update({"x-request-id": "waits", "x-headgate-retries": "1"})
    stub.answer(Answer(status=503, headers={"retry-after": "4"}))
    call = asyncio.get_running_loop().create_task(gateway.chat())
    async with asyncio.timeout(BOUND):
        while not any(run.attempts and run.attempts[0].error for run in gateway.gate.active.values()):
            await asyncio.sleep(0.001)
    assert (await cancel(gateway.http, "waits"))[0] == 200
    assert (await asyncio.wait_for(call, 1)).status_code == 409
    run = await show(gateway.http, "waits")
    assert (run["status"], run["attempts"][0]["error"]) == ("cancelled", "upstream_unavailable")
    assert len(stub.calls) == 1


async def test_what_has_ended_cannot_be_cancelled_and_what_is_not_there_is_not_found(asked: Gateway) -> None:
    response = await asked.chat()
    status, told = await cancel(asked.http, response.headers["x-request-id"])
    assert (status, told["error"]["code"]) == (409, "run_not_running")
    status, told = await cancel(asked.http, "nowhere")
    assert (status, told["error"]["code"]) == (404, "run_not_found")


@covers("116")
async def test_only_its_own_key_or_the_scope_cancels_a_run(gateway: Gateway, neighbour: Gateway, stub: Stub) -> None:
    owner, other = await new_key(gateway), await new_key(gateway)
    reader = await new_key(gateway, scopes=["runs:read"])
    writer = await new_key(neighbour, scopes=["runs:write"])
    async with owner, other, reader, writer:
        async with hanging(owner, stub, "a"):
            for foreign in (other, reader):
                assert (await cancel(foreign, "a"))[0] == 404
            assert (await cancel(owner, "a"))[0] == 200
        async with hanging(owner, stub, "b"):
            assert (await cancel(writer, "b"))[0] == 200


async def test_of_two_runs_with_one_id_a_key_cancels_its_own(gateway: Gateway, stub: Stub) -> None:
    one, other = await new_key(gateway, scopes=["runs:write"]), await new_key(gateway)
    async with one, other, hanging(one, stub, "same"), hanging(other, stub, "same"):
        own = (await one.get("/key/info")).json()["key"]
        assert (await cancel(one, "same"))[1]["key"] == own
        [left] = await listed(gateway.http, status="running")
        assert left["key"] != own


@covers("153", "115")
async def test_what_a_cancelled_run_held_is_given_back(gateway: Gateway, stub: Stub) -> None:
    caller = await new_key(gateway, rate={"streams": 1}, budgets=[{"usd": "0.03", "period": "day"}])
    async with caller:
        for number in range(4):
            async with hanging(caller, stub, f"run-{number}"):
                refused = await caller.post("/v1/chat/completions", json=ASKED)
                assert refused.status_code == 429
                assert (await cancel(caller, f"run-{number}"))[0] == 200


async def test_a_gateway_that_keeps_nothing_shows_and_cancels_what_is_in_flight(stub: Stub) -> None:
    async with running_gateway(settings(stub)) as gateway:
        async with hanging(gateway.http, stub, "slow"):
            assert (await show(gateway.http, "slow"))["status"] == "running"
            assert (await cancel(gateway.http, "slow"))[0] == 200
        assert await listed(gateway.http) == []
        assert (await cancel(gateway.http, "slow"))[0] == 404


async def test_a_worker_that_was_killed_does_not_keep_others_from_answering(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    dead = tmp_path / "run" / "99999999-dead.peer"
    dead.touch()
    async with hanging(gateway.http, stub, "slow"):
        assert len(await listed(gateway.http, status="running")) == 1
    assert not dead.exists()
