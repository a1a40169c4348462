"""A stored conversation on chat completions: what is told to the model, what is kept, and what is not."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.conversations.types import Conversation, Owner
from headgate.pipeline.remember import Turn
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, stream, stream_pieces
from tests.requirements import covers

OWNER = Owner("default", "")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub), tmp_path) as running:
        yield running


async def say(gateway: Gateway, text: str, conversation: str = "", **fields: Any) -> httpx.Response:
    body = {"model": "small", "messages": [{"role": "user", "content": text}], **fields}
    return await gateway.http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": conversation})


async def kept(gateway: Gateway, conversation: str) -> list[dict[str, Any]]:
    state = gateway.gate.deps.state
    assert state is not None
    head: Conversation = await state.heads.get(conversation, OWNER)
    return [dict(item.data) for item in await state.heads.items(head)]


def texts(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["role"], "".join(part["text"] for part in one["content"])) for one in items if "role" in one]


@covers("80", "78")
@both_ways
async def test_the_second_turn_sees_the_first(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(stream(stream_pieces(["Hel", "lo."])) if streamed else chat("Hello."))
    first = await say(gateway, "Hi", stream=streamed)
    conversation = first.headers["x-conversation-id"]
    stub.answer(chat("Again."))
    second = await say(gateway, "And now?", conversation)
    assert second.headers["x-conversation-id"] == conversation
    told = stub.calls[-1].json["messages"]
    assert told == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And now?"},
    ]
    assert texts(await kept(gateway, conversation)) == [
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "And now?"),
        ("assistant", "Again."),
    ]


@covers("80")
async def test_without_the_header_nothing_is_kept_or_changed(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("Hello."))
    response = await gateway.chat()
    assert "x-conversation-id" not in response.headers
    assert stub.calls[-1].json["messages"] == [{"role": "user", "content": "Hi"}]


@covers("80")
@pytest.mark.parametrize("header", ["x", "conv_", "conv_" + "g" * 32, "conv_" + "0" * 31, "../../etc/passwd"])
async def test_a_malformed_id_is_refused(gateway: Gateway, stub: Stub, header: str) -> None:
    response = await say(gateway, "Hi", header)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "x-conversation-id")
    assert stub.calls == []


@covers("80", "77")
async def test_an_unknown_id_and_another_users_are_404(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("Hello."))
    conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
    assert (await say(gateway, "Hi", "conv_" + "0" * 32)).status_code == 404
    gateway.http.headers["x-user-id"] = "somebody else"
    response = await say(gateway, "Hi", conversation)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "conversation_not_found")


@covers("80")
async def test_a_caller_may_send_the_history_along(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("Hello."))
    conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
    whole = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And now?"},
    ]
    stub.answer(chat("Again."))
    await say(gateway, "", conversation, messages=whole)
    assert stub.calls[-1].json["messages"] == whole
    assert len(await kept(gateway, conversation)) == 4


@covers("78")
async def test_of_an_answer_that_breaks_off_the_text_is_kept_and_marked(gateway: Gateway, stub: Stub) -> None:
    pieces = stream_pieces(["Hel", "lo", " there"])
    stub.answer(stream(pieces[:3], cut_after=sum(map(len, pieces[:3]))))
    response = await say(gateway, "Hi", stream=True)
    items = await kept(gateway, response.headers["x-conversation-id"])
    assert texts(items)[0] == ("user", "Hi")
    assert items[-1]["status"] == "incomplete"
    assert texts(items)[1][1] in "Hello there"


@covers("79")
@both_ways
async def test_who_has_the_whole_answer_can_go_on_at_once(
    gateway: Gateway, stub: Stub, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, told = gateway.gate.deps.state, asyncio.Event()
    assert state is not None
    release = state.runs.release

    async def late(head: Conversation, holder: str) -> None:
        await asyncio.wait([asyncio.create_task(told.wait())], timeout=0.1)
        await release(head, holder)

    monkeypatch.setattr(state.runs, "release", late)
    stub.answer(stream(stream_pieces(["Hello."])) if streamed else chat("Hello."))
    conversation = (await say(gateway, "Hi", stream=streamed)).headers["x-conversation-id"]
    assert await state.runs.holder(await state.heads.get(conversation, OWNER)) == ""
    told.set()


@covers("78")
async def test_a_turn_that_failed_leaves_nothing_behind(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("Hello."))
    conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
    stub.answer(Answer(status=500))
    assert (await say(gateway, "Again", conversation)).status_code >= 500
    assert len(await kept(gateway, conversation)) == 2


@covers("79")
async def test_of_two_turns_at_once_one_is_refused_and_no_item_comes_twice(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("Hello."))
    conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
    going = asyncio.Event()
    stub.answer(stream(stream_pieces(["a", "b"]), release=going))
    first = asyncio.create_task(say(gateway, "One", conversation, stream=True))
    await stub.wait_for_calls(2)
    second = await say(gateway, "Two", conversation)
    going.set()
    assert (second.status_code, second.json()["error"]["code"]) == (409, "conversation_busy")
    assert (await first).status_code == 200
    assert [text for _, text in texts(await kept(gateway, conversation))] == ["Hi", "Hello.", "One", "ab"]


@covers("78")
async def test_tool_calls_and_results_are_kept_and_told_again(gateway: Gateway, stub: Stub) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    answer = json.loads(chat("").body)
    answer["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
    stub.answer(Answer(body=json.dumps(answer).encode()))
    conversation = (await say(gateway, "Look")).headers["x-conversation-id"]
    stub.answer(chat("Seen."))
    result = {"role": "tool", "tool_call_id": "call_1", "content": "42"}
    await say(gateway, "", conversation, messages=[result])
    told = stub.calls[-1].json["messages"]
    assert [one["role"] for one in told] == ["user", "assistant", "tool"]
    assert told[1]["tool_calls"] == [call]
    assert told[2] == result


@covers("78")
async def test_each_turns_call_begins_with_the_bytes_of_the_last(gateway: Gateway, stub: Stub) -> None:
    conversation = ""
    for number in range(4):
        stub.answer(chat(f"Answer {number}."))
        response = await say(gateway, f"Question {number}", conversation, temperature=0.5)
        conversation = response.headers["x-conversation-id"]
    bodies = [request.body for request in stub.calls]
    for before, after in itertools.pairwise(bodies):
        messages = before[: before.index(b"]")]
        assert after.startswith(messages)


@covers("79")
@both_ways
async def test_whoever_has_the_end_of_an_answer_may_begin_the_next_turn_at_once(
    gateway: Gateway, stub: Stub, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    is_over, leave = asyncio.Event(), Turn.leave

    async def late(turn: Turn) -> None:
        await is_over.wait()
        await leave(turn)

    monkeypatch.setattr(Turn, "leave", late)
    stub.answer(stream(stream_pieces(["Hel", "lo."])) if streamed else chat("Hello."), chat("Again."))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    request = gateway.http.stream("POST", "/v1/chat/completions", json=body, headers={"x-conversation-id": ""})
    async with request as first:
        conversation, said = first.headers["x-conversation-id"], b""
        async for piece in first.aiter_bytes():
            said += piece
            if b"[DONE]" in said or not streamed:
                break
        second = asyncio.create_task(say(gateway, "And now?", conversation))
        await stub.wait_for_calls(2)
        is_over.set()
        assert (await second).status_code == 200
