"""Conversations that go on by Responses or Messages are compacted as others are, and called in those words."""

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Recorded, Stub
from tests.journeys.test_agents import calling
from tests.journeys.test_compaction import (
    LONG,
    SUMMARY,
    WINDOW,
    answering,
    contents,
    counted,
    is_summary_call,
    lineage,
    settings,
    settled,
)
from tests.requirements import covers

pytestmark = covers("87")
TOOL = {"type": "function", "name": "look", "description": "Look.", "parameters": {"type": "object"}, "strict": None}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = answering()
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def respond(gateway: Gateway, text: str, **more: Any) -> Any:
    body = {"model": "small", "input": text, "instructions": "Be brief.", **more}
    response = await gateway.http.post("/v1/responses", json=body)
    assert response.status_code == 200, response.text
    await settled(gateway)
    return response


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_stored_responses_go_on_in_a_compacted_conversation(gateway: Gateway, stub: Stub, by: str) -> None:
    place: dict[str, Any] = {}
    if by == "conversation":
        place = {by: (await gateway.http.post("/v1/conversations", json={})).json()["id"]}
    for number in range(7):
        response = await respond(gateway, f"Question {number}: {LONG}", tools=[TOOL], **place)
        if by == "previous_response_id":
            place = {by: response.json()["id"]}
    [call, *_] = [one for one in stub.calls if is_summary_call(one)]
    own = stub.calls[stub.calls.index(call) - 1]
    assert call.json["messages"][0] == own.json["messages"][0]
    assert "Be brief." in contents(call)[0]
    assert call.json["messages"][:-1] == own.json["messages"][: len(call.json["messages"]) - 1]
    assert call.json["tools"] == own.json["tools"]
    last = contents(stub.calls[-1])
    assert any(SUMMARY in one for one in last)
    assert sum("Be brief." in one for one in last) == 1
    assert response.headers["x-headgate-segment"].startswith("seg_")
    segments = await lineage(gateway, response.headers["x-conversation-id"])
    assert segments[1].told["trigger"] == "automatic"


async def test_a_response_that_would_overflow_waits_for_a_compaction(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = answering()
    async with running_gateway(settings(stub, at=1.0), tmp_path) as gateway:
        place: dict[str, Any] = {}
        for number in range(5):
            answer = await respond(gateway, f"Question {number}: {LONG}", **place)
            place = {"previous_response_id": answer.json()["id"]}
        assert not any(map(is_summary_call, stub.calls))
        answer = await respond(gateway, f"A long one: {LONG * 6}", **place)
        assert is_summary_call(stub.calls[-2])
        segments = await lineage(gateway, answer.headers["x-conversation-id"])
        assert segments[-1].told["trigger"] == "overflow"


async def test_an_agent_reads_the_history_by_responses_too(gateway: Gateway, stub: Stub) -> None:
    place: dict[str, Any] = {}
    for number in range(3):
        answer = await respond(gateway, f"Question {number}: {LONG}", model="helper", instructions=None, **place)
        place = {"previous_response_id": answer.json()["id"]}
    conversation = answer.headers["x-conversation-id"]
    told = await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})
    assert told.json()["changed"]
    stub.answer(calling(("read_history", {"search": "answer 2:"})))
    await respond(gateway, "What did you say?", model="helper", instructions=None, **place)
    assert contents(stub.calls[-1])[-1].startswith("[2] assistant: Answer 2:")


async def test_messages_go_on_in_a_compacted_conversation(gateway: Gateway, stub: Stub) -> None:
    conversation = ""
    tool = {"name": "look", "description": "Look.", "input_schema": {"type": "object"}}
    for number in range(7):
        body = {
            "model": "small",
            "max_tokens": 100,
            "system": "Be brief.",
            "tools": [tool],
            "messages": [{"role": "user", "content": f"Question {number}: {LONG}"}],
        }
        response = await gateway.http.post("/v1/messages", json=body, headers={"x-conversation-id": conversation})
        assert response.status_code == 200, response.text
        conversation = response.headers["x-conversation-id"]
        await settled(gateway)
    [call, *_] = [one for one in stub.calls if is_summary_call(one)]
    own = stub.calls[stub.calls.index(call) - 1]
    assert call.json["tools"] == own.json["tools"]
    assert call.json["messages"][:-1] == own.json["messages"][: len(call.json["messages"]) - 1]
    assert any(SUMMARY in one for one in contents(stub.calls[-1]))
    assert [one["role"] for one in stub.calls[-1].json["messages"]].count("system") == 1


@pytest.mark.parametrize("door", ["responses", "chat"])
async def test_a_first_turn_that_is_too_long_is_asked_and_refused_with_window_and_size(
    stub: Stub, tmp_path: Path, door: str
) -> None:
    """Nothing is stored yet that could be summed up, and the provider alone can count."""
    told = {"error": {"message": "Too long.", "code": "context_length_exceeded", "type": "invalid_request_error"}}
    stub.answer(Answer(status=400, body=json.dumps(told).encode()))
    async with running_gateway(settings(stub), tmp_path) as gateway:
        if door == "responses":
            body: dict[str, Any] = {"model": "small", "input": LONG * 40}
            response = await gateway.http.post("/v1/responses", json=body)
        else:
            body = {"model": "small", "messages": [{"role": "user", "content": LONG * 40}]}
            header = {"x-conversation-id": ""}
            response = await gateway.http.post("/v1/chat/completions", json=body, headers=header)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert f"'stub/stub-small' has a window of {WINDOW} tokens; we put the prompt at " in error["message"]
    assert len(stub.calls) == 1
    about = int(error["message"].split(" at ")[-1].rstrip("."))
    assert 0.7 * counted(stub.last) < about < 1.5 * counted(stub.last)


@pytest.mark.parametrize("door", ["responses", "chat"])
@pytest.mark.parametrize("window", [True, False], ids=["window too large", "no window"])
async def test_what_the_provider_finds_too_long_is_summed_up_and_can_be_sent_again(
    stub: Stub, tmp_path: Path, door: str, window: bool
) -> None:
    """Whatever the gateway thought of the model's window, or of what was said."""
    made = settings(stub)
    made["models"][0]["capabilities"] = {"context_window": 100_000} if window else {}
    told = {"error": {"message": "Too long.", "code": "context_length_exceeded", "type": "invalid_request_error"}}
    counting = answering()

    def strict(request: Recorded) -> Answer:
        if counted(request) > 900 and not is_summary_call(request):
            return Answer(status=400, body=json.dumps(told).encode())
        answer: Answer = counting(request)
        return answer

    stub.otherwise = strict
    async with running_gateway(made, tmp_path) as gateway:
        place: dict[str, str] = {}
        said: list[int] = []
        for _ in range(9):
            if door == "responses":
                body: dict[str, Any] = {"model": "small", "input": LONG, **place}
                response = await gateway.http.post("/v1/responses", json=body)
                if response.status_code == 200:
                    place = {"previous_response_id": response.json()["id"]}
            else:
                body = {"model": "small", "messages": [{"role": "user", "content": LONG}]}
                header = {"x-conversation-id": "", **place}
                response = await gateway.http.post("/v1/chat/completions", json=body, headers=header)
                place = {"x-conversation-id": response.headers["x-conversation-id"]}
            said.append(response.status_code)
            if response.status_code == 400:
                assert response.json()["error"]["message"].endswith("is summed up now: send the turn again.")
        assert 400 in said
        assert (400, 400) not in list(itertools.pairwise(said))
        conversation = response.headers["x-conversation-id"]
        assert {one.told["trigger"] for one in (await lineage(gateway, conversation))[1:]} == {"overflow"}
