"""Stored responses that break off, at once with others, or are left: what is kept, and what can be gone on from."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conformance.wire import sent
from tests.conftest import settings_for
from tests.harness.databases import on_each_database
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.responses import message, pieces, reasoning, streamed
from tests.harness.stub import BOUND, Stub, stream, stream_pieces
from tests.requirements import covers

pytestmark = [covers("156", "78", "79"), on_each_database]
Fields = dict[str, Any]


def speaking(stub: Stub, dialect: str) -> Fields:
    """A stream ends here as soon as its caller leaves; what happens otherwise is told in test_grace."""
    settings = settings_for(stub, conversations={"grace_seconds": 0})
    settings["upstreams"][0]["speaks"] = [dialect]
    return settings


@pytest_asyncio.fixture(params=["chat", "responses"])
async def gateway(request: pytest.FixtureRequest, stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(speaking(stub, request.param), tmp_path) as running:
        running.http.headers["x-speaks"] = request.param
        yield running


def telling(gateway: Gateway, stub: Stub, **more: Any) -> None:
    """An answer that says `Hel` first, and then goes on as it is told."""
    if gateway.http.headers["x-speaks"] == "chat":
        said = stream_pieces(["Hel", "lo."])
        parts = [b"".join(said[:2]), *said[2:]]
    else:
        said = pieces(message("Hello."))
        at = next(number for number, piece in enumerate(said) if b"output_text.delta" in piece) + 1
        parts = [b"".join(said[:at]), *said[at:]]
    if more.pop("breaks", False):
        more["cut_after"] = len(parts[0])
    stub.answer(stream(parts, **more))


async def items_of(gateway: Gateway, conversation: str) -> list[Fields]:
    listed = await gateway.http.get(f"/v1/conversations/{conversation}/items?order=asc")
    return listed.json()["data"]  # type: ignore[no-any-return]


async def test_what_was_said_before_the_provider_broke_off_is_kept_and_marked(gateway: Gateway, stub: Stub) -> None:
    telling(gateway, stub, breaks=True)
    answer = await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi", "stream": True})
    events = sent(answer.content)
    assert [one.object["sequence_number"] for one in events] == list(range(len(events)))
    assert events[-1].name in ("response.failed", "error")
    id_ = events[0].object["response"]["id"]
    kept = (await gateway.http.get(f"/v1/responses/{id_}")).json()
    assert (kept["status"], kept["id"]) == ("failed", id_)
    items = await items_of(gateway, answer.headers["x-conversation-id"])
    assert [one["role"] for one in items] == ["user", "assistant"]
    assert items[-1]["status"] == "incomplete"
    assert items[-1]["content"][0]["text"].startswith("Hel")
    again = await gateway.http.get(f"/v1/responses/{id_}?stream=true")
    assert again.content == answer.content


async def test_of_a_stream_whose_caller_left_the_text_is_kept_and_marked(gateway: Gateway, stub: Stub) -> None:
    telling(gateway, stub, release=asyncio.Event())
    body = {"model": "small", "input": "Hi", "stream": True}
    seen = b""
    async with gateway.http.stream("POST", "/v1/responses", json=body) as answer:
        async for piece in answer.aiter_raw():
            seen += piece
            if b'"Hel"' in seen:
                break
    id_ = sent(seen[: seen.rindex(b"\n\n") + 2])[0].object["response"]["id"]
    async with asyncio.timeout(BOUND):
        rest = (await gateway.http.get(f"/v1/responses/{id_}?stream=true")).content
    last = sent(rest)[-1].object["response"]
    assert (last["status"], last["output"][0]["status"]) == ("cancelled", "incomplete")
    assert (await gateway.http.get(f"/v1/responses/{id_}")).json() == last
    items = await items_of(gateway, answer.headers["x-conversation-id"])
    assert items[-1]["content"][0]["text"] == "Hel"


async def test_two_that_go_on_from_one_response_at_once_are_two_branches(gateway: Gateway, stub: Stub) -> None:
    telling(gateway, stub)
    body: Fields = {"model": "small", "input": "Hi", "stream": True}
    first = await gateway.http.post("/v1/responses", json=body)
    body["previous_response_id"] = sent(first.content)[0].object["response"]["id"]
    going = asyncio.Event()
    for _ in range(2):
        telling(gateway, stub, release=going)
    both = [asyncio.create_task(gateway.http.post("/v1/responses", json={**body, "input": one})) for one in "AB"]
    await stub.wait_for_calls(3)
    going.set()
    answers = [await one for one in both]
    conversations = {one.headers["x-conversation-id"] for one in answers}
    assert len(conversations) == 2
    for conversation in conversations:
        items = await items_of(gateway, conversation)
        assert [one["role"] for one in items] == ["user", "assistant", "user", "assistant"]


async def test_two_in_one_conversation_at_once_do_not_mix(gateway: Gateway, stub: Stub) -> None:
    conversation = (await gateway.http.post("/v1/conversations")).json()["id"]
    going = asyncio.Event()
    telling(gateway, stub, release=going)
    body = {"model": "small", "input": "Hi", "stream": True, "conversation": conversation}
    first = asyncio.create_task(gateway.http.post("/v1/responses", json=body))
    await stub.wait_for_calls(1)
    second = await gateway.http.post("/v1/responses", json=body)
    added = await gateway.http.post(
        f"/v1/conversations/{conversation}/items", json={"items": [{"role": "user", "content": "x"}]}
    )
    going.set()
    assert (second.status_code, second.json()["error"]["code"]) == (409, "conversation_busy")
    assert (added.status_code, added.json()["error"]["code"]) == (409, "conversation_busy")
    assert (await first).status_code == 200
    assert len(await items_of(gateway, conversation)) == 2


async def test_sealed_thoughts_go_back_to_their_provider_and_open_ones_do_not(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(speaking(stub, "responses"), tmp_path) as gateway:
        thoughts = (reasoning("Hm.", id_="rs_1"), reasoning("Aha.", sealed="gAAAA", id_="rs_2"))
        stub.answer(streamed(*thoughts, message("Hello.")), streamed())
        body: Fields = {"model": "small", "input": "Hi", "stream": True}
        first = await gateway.http.post("/v1/responses", json=body)
        body["previous_response_id"] = sent(first.content)[0].object["response"]["id"]
        await gateway.http.post("/v1/responses", json=body)
    told = [one for one in stub.last.json["input"] if one["type"] == "reasoning"]
    assert [(one["id"], one["encrypted_content"]) for one in told] == [("rs_2", "gAAAA")]
    assert stub.last.json["store"] is False
    assert "previous_response_id" not in stub.last.json


async def test_each_turns_call_begins_with_the_bytes_of_the_last(gateway: Gateway, stub: Stub) -> None:
    previous: Fields = {}
    for number in range(3):
        telling(gateway, stub)
        body = {"model": "small", "instructions": "Be brief.", "input": f"Question {number}", "stream": True}
        answer = await gateway.http.post("/v1/responses", json={**body, **previous})
        previous = {"previous_response_id": sent(answer.content)[0].object["response"]["id"]}
    bodies = [request.body for request in stub.calls]
    for number, (before, after) in enumerate(itertools.pairwise(bodies)):
        assert after.startswith(before[: before.index(b"}", before.index(b"Question %d" % number))])
