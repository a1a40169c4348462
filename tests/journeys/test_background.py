"""Responses in the background: they go on without their caller, are asked for, followed, cancelled, and taken over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.api import responses
from headgate.conversations.types import Owner, milliseconds
from tests.conformance.wire import sent
from tests.conftest import settings_for
from tests.harness.databases import on_each_database
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, stream, stream_pieces
from tests.requirements import covers

pytestmark = [covers("156"), on_each_database]
Fields = dict[str, Any]


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub), tmp_path) as running:
        yield running


async def begin(gateway: Gateway, **fields: Any) -> Fields:
    body = {"model": "small", "input": "Hi", "background": True, **fields}
    answer = await gateway.http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def until(gateway: Gateway, id_: str, *statuses: str) -> Fields:
    async with asyncio.timeout(BOUND):
        while (shown := (await gateway.http.get(f"/v1/responses/{id_}")).json())["status"] not in statuses:
            await asyncio.sleep(0.02)
    return shown  # type: ignore[no-any-return]


def text_of(response: Fields) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


async def test_it_is_queued_at_once_and_fetched_later(gateway: Gateway, stub: Stub) -> None:
    going = asyncio.Event()
    stub.answer(stream(stream_pieces(["Hel", "lo."]), release=going))
    queued = await begin(gateway)
    assert (queued["status"], queued["background"], queued["output"]) == ("queued", True, [])
    await stub.wait_for_calls(1)
    assert (await until(gateway, queued["id"], "in_progress", "queued"))["id"] == queued["id"]
    going.set()
    assert text_of(await until(gateway, queued["id"], "completed")) == "Hello."
    lines = [line for line in await gateway.wait_for_lines(1) if line["route"] == "responses"]
    assert [(line["outcome"], line["status"], line["target"]) for line in lines] == [("ok", 200, "stub/stub-small")]


async def test_who_follows_it_gets_all_events_from_anywhere(gateway: Gateway, stub: Stub) -> None:
    going = asyncio.Event()
    stub.answer(stream(stream_pieces(["Hel", "lo."]), release=going))
    queued = await begin(gateway)
    place = f"/v1/responses/{queued['id']}?stream=true"
    following = asyncio.create_task(gateway.http.get(place))
    await stub.wait_for_calls(1)
    going.set()
    all_of_it = (await following).content
    events = sent(all_of_it)
    assert [one.object["sequence_number"] for one in events] == list(range(len(events)))
    assert events[-1].name == "response.completed"
    for number in range(len(events)):
        rest = (await gateway.http.get(f"{place}&starting_after={number}")).content
        assert sent(rest) == events[number + 1 :]
    assert (await gateway.http.get(f"/v1/runs/{queued['id']}/events")).content == all_of_it


async def test_its_caller_may_leave_and_come_back(gateway: Gateway, stub: Stub) -> None:
    going = asyncio.Event()
    pieces = stream_pieces(["Hel", "lo."])
    stub.answer(stream([b"".join(pieces[:2]), *pieces[2:]], release=going))
    body = {"model": "small", "input": "Hi", "background": True, "stream": True}
    seen = b""
    async with gateway.http.stream("POST", "/v1/responses", json=body) as answer:
        async for piece in answer.aiter_raw():
            seen += piece
            if seen.count(b"\n\n") >= 2:
                break
    whole = seen[: seen.rindex(b"\n\n") + 2]
    first = sent(whole)
    id_ = first[0].object["response"]["id"]
    going.set()
    last = first[-1].object["sequence_number"]
    rest = (await gateway.http.get(f"/v1/responses/{id_}?stream=true&starting_after={last}")).content
    again = (await gateway.http.get(f"/v1/responses/{id_}?stream=true")).content
    assert whole + rest == again
    assert sent(again)[-1].name == "response.completed"


async def test_a_cancelled_one_ends_and_keeps_what_was_said(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces(["Hel", "lo."]), release=asyncio.Event()))
    queued = await begin(gateway)
    await stub.wait_for_calls(1)
    cancelled = (await gateway.http.post(f"/v1/responses/{queued['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    again = (await gateway.http.post(f"/v1/responses/{queued['id']}/cancel")).json()
    assert again == cancelled
    assert gateway.gate.deps.background == {}
    events = sent((await gateway.http.get(f"/v1/runs/{queued['id']}/events")).content)
    assert events[-1].object["response"]["status"] == "cancelled"


async def test_one_that_another_worker_makes_is_cancelled_within_a_second_and_keeps_what_was_said(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    pieces = stream_pieces(["Hel", "lo."])
    stub.answer(stream([b"".join(pieces[:2]), *pieces[2:]], release=asyncio.Event()))
    queued = await begin(gateway)
    async with running_gateway(settings_for(stub), tmp_path) as other:
        await until_said(other, queued["id"], "Hel")
        cancelling = asyncio.create_task(other.http.post(f"/v1/responses/{queued['id']}/cancel"))
        await asyncio.wait_for(stub.last.left.wait(), 1)
        cancelled = (await cancelling).json()
        assert (cancelled["status"], text_of(cancelled)) == ("cancelled", "Hel")
        assert cancelled["output"][-1]["status"] == "incomplete"
        assert (await other.http.get(f"/v1/responses/{queued['id']}")).json() == cancelled
        told = sent((await other.http.get(f"/v1/runs/{queued['id']}/events")).content)
        assert told[-1].object["response"] == cancelled
        assert [one.object["sequence_number"] for one in told] == list(range(len(told)))
    async with asyncio.timeout(BOUND):
        while gateway.gate.deps.background:
            await asyncio.sleep(0.005)
    (line,) = [line for line in await gateway.wait_for_lines(1) if line["attempts"]]
    assert (line["outcome"], line["error"]) == ("cancelled", "run_cancelled")


async def test_one_whose_worker_is_gone_is_cancelled_all_the_same(
    gateway: Gateway, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_STOP_SECONDS", 0.1)
    stub.answer(stream(stream_pieces(["Hel", "lo."]), release=asyncio.Event()))
    queued = await begin(gateway)
    await stub.wait_for_calls(1)
    deps = gateway.gate.deps
    assert deps.state is not None
    assert deps.watch is not None
    deps.watch._watched.clear()  # nobody here hears of it any more
    run = await deps.state.runs.get(queued["id"], Owner("default", ""))
    assert run.held_until > milliseconds()
    cancelled = await gateway.http.post(f"/v1/responses/{queued['id']}/cancel")
    assert cancelled.json()["status"] == "cancelled"


async def until_said(gateway: Gateway, id_: str, text: str) -> None:
    """Until other workers can read that it was said."""
    state = gateway.gate.deps.state
    assert state is not None
    async with asyncio.timeout(BOUND):
        while text.encode() not in b"".join(one.data for one in await state.runs.events(id_)):
            await asyncio.sleep(0.005)


async def test_one_in_the_foreground_is_not_cancelled_by_its_id(gateway: Gateway, stub: Stub) -> None:
    made = (await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi"})).json()
    refused = await gateway.http.post(f"/v1/responses/{made['id']}/cancel")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "response_not_in_background")
    gone = await gateway.http.get(f"/v1/responses/{made['id']}?stream=true")
    assert (gone.status_code, gone.json()["error"]["code"]) == (400, "events_not_kept")


async def test_one_that_fails_says_why(gateway: Gateway, stub: Stub) -> None:
    stub.answer(*(Answer(status=500) for _ in range(4)))
    failed = await until(gateway, (await begin(gateway))["id"], "failed")
    assert failed["error"]["code"]
    body = {"model": "nobody-has-this", "input": "Hi", "background": True}
    assert (await gateway.http.post("/v1/responses", json=body)).status_code == 404


async def test_nobody_goes_on_from_one_that_is_not_finished(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces(["a"]), release=asyncio.Event()))
    queued = await begin(gateway)
    body = {"model": "small", "input": "Hi", "previous_response_id": queued["id"]}
    refused = await gateway.http.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "response_unfinished")
    assert (await gateway.http.delete(f"/v1/responses/{queued['id']}")).status_code == 200


async def test_the_next_process_goes_on_with_it(stub: Stub, tmp_path: Path) -> None:
    stub.answer(stream(stream_pieces(["Hel", "lo."]), release=asyncio.Event()))
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        queued = await begin(gateway)
        await stub.wait_for_calls(1)
    stub.answer(stream(stream_pieces(["Hello ", "again."])))
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        done = await until(gateway, queued["id"], "completed")
        events = sent((await gateway.http.get(f"/v1/responses/{queued['id']}?stream=true")).content)
    assert (done["id"], text_of(done)) == (queued["id"], "Hello again.")
    assert [one.object["sequence_number"] for one in events] == list(range(len(events)))
    assert [one.name for one in events].count("response.completed") == 1
    assert [one.json["messages"][-1]["content"] for one in stub.calls] == ["Hi", "Hi"]
