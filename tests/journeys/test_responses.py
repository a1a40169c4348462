"""The Responses API in front of a provider that speaks chat completions, and in front of agents."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conformance.responses_rules import check_stream, check_whole
from tests.conformance.wire import sent
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, chunk, stream, stream_pieces
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_agents import settings as agent_settings
from tests.journeys.test_money import rows
from tests.requirements import covers

pytestmark = covers("responses")


async def respond(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    """A response in one piece; it keeps to the rules."""
    answer = await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi", **fields})
    assert answer.status_code == 200, answer.text
    check_whole(answer.content)
    told: dict[str, Any] = answer.json()
    return told


async def streamed(gateway: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": "small", "input": "Hi", "stream": True, **fields}
    answer = await gateway.http.post("/v1/responses", json=body, headers=headers or {})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    check_stream(answer.content, usage=any(b'"usage":{' in line for line in answer.content.splitlines()))
    return [event.object for event in sent(answer.content)]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/responses?api-version=1"])
async def test_a_chat_provider_answers_in_the_words_of_the_api(gateway: Gateway, stub: Stub, path: str) -> None:
    body = {"model": "small", "instructions": "Be brief.", "input": "Hi", "max_output_tokens": 9}
    answer = await gateway.http.post(path, json=body)
    told = answer.json()
    check_whole(answer.content)
    assert told["id"] == answer.headers["x-request-id"].replace("req_", "resp_")
    assert told["output"][0]["content"][0]["text"] == "Hello there."
    assert stub.last.path == "/v1/chat/completions"
    assert stub.last.json == {
        "model": "stub-small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 9,
    }


async def test_a_stream_is_numbered_and_ends_with_the_whole_response(gateway: Gateway, stub: Stub) -> None:
    events = await streamed(gateway)
    assert kinds(events)[:2] == ["response.created", "response.in_progress"]
    assert "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta") == "Hello there."
    assert events[-1]["response"]["usage"]["total_tokens"] == 10
    assert stub.last.json["stream_options"] == {"include_usage": True}


async def test_what_the_provider_cannot_be_told_is_named(gateway: Gateway) -> None:
    body = {"model": "small", "input": "Hi", "tools": [{"type": "web_search"}], "truncation": "auto"}
    answer = await gateway.http.post("/v1/responses", json=body)
    assert answer.headers["x-headgate-dropped"] == "tools[0], truncation"


async def test_thoughts_become_items_and_come_back_to_the_provider(gateway: Gateway, stub: Stub) -> None:
    message = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}
    stub.answer(chat(choices=[{"index": 0, "message": message, "finish_reason": "stop"}]))
    first = await respond(gateway)
    assert [item["type"] for item in first["output"]] == ["reasoning", "message"]
    await respond(
        gateway, input=[{"role": "user", "content": "Hi"}, *first["output"], {"role": "user", "content": "?"}]
    )
    assert stub.last.json["messages"][1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


async def test_calls_side_by_side_come_back_with_their_results_and_pictures(gateway: Gateway, stub: Stub) -> None:
    stub.answer(calling(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})))
    tools = [{"type": "function", "name": "weather", "parameters": {}}]
    first = await respond(gateway, tools=tools)
    ids = [item["call_id"] for item in first["output"]]
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    results = [
        {"type": "function_call_output", "call_id": ids[0], "output": "rain"},
        {"type": "function_call_output", "call_id": ids[1], "output": [picture]},
    ]
    await respond(gateway, tools=tools, input=[{"role": "user", "content": "?"}, *first["output"], *results])
    told = stub.last.json["messages"]
    assert [call["id"] for call in told[1]["tool_calls"]] == [one["tool_call_id"] for one in told[2:4]] == ids
    assert told[2]["content"] == "rain"
    assert told[4]["content"][1]["image_url"]["url"] == picture["image_url"]


async def test_a_stream_that_breaks_off_ends_with_a_failed_response(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()[:3]))
    events = await streamed(gateway)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    (line,) = await gateway.wait_for_lines(1)
    assert (line["outcome"], line["route"]) == ("error", "responses")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_refusal_of_the_provider_keeps_its_status_and_words(
    gateway: Gateway, stub: Stub, *, streams: bool
) -> None:
    error = {"message": "The image is too large.", "type": "invalid_request_error", "param": None, "code": "too_large"}
    stub.answer(Answer(status=400, body=json.dumps({"error": error}).encode()))
    answer = await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi", "stream": streams})
    assert answer.status_code == 400
    told = answer.json()["error"]
    assert (told["message"], told["code"]) == ("The image is too large.", "too_large")


async def test_what_would_need_stored_state_is_refused_with_what_to_do(gateway: Gateway, stub: Stub) -> None:
    for fields, code in (
        ({"previous_response_id": "resp_1"}, "previous_response_not_found"),
        ({"conversation": "conv_1"}, "invalid_field"),
        ({"background": True}, "invalid_field"),
    ):
        answer = await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi", **fields})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert answer.json()["error"]["param"] in fields
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        answer = await gateway.http.request(method, f"/v1/responses/resp_1{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")
    assert not stub.calls


async def test_a_silent_stream_gets_comments(stub: Stub) -> None:
    gate = asyncio.Event()
    stub.answer(stream(release=gate))
    async with running_gateway(settings_for(stub, server={"ping_seconds": 0.05})) as gateway:
        body = {"model": "small", "input": "Hi", "stream": True}
        async with gateway.http.stream("POST", "/v1/responses", json=body) as answer:
            pieces = answer.aiter_bytes()
            seen = b""
            while b": ping\n\n" not in seen:
                seen += await anext(pieces)
            gate.set()
            async for piece in pieces:
                seen += piece
    check_stream(seen, usage=False)


async def test_a_conversation_is_compacted_and_goes_on_from_its_summary(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("They agreed on Tuesday."))
    said = [{"role": "user", "content": "Tuesday?"}, {"role": "assistant", "content": "Tuesday."}]
    answer = await gateway.http.post("/v1/responses/compact", json={"model": "small", "input": said})
    told = answer.json()
    assert told["object"] == "response.compaction"
    assert told["usage"]["total_tokens"] == 10
    asked = stub.last.json["messages"]
    assert [one["content"] for one in asked[:2]] == ["Tuesday?", "Tuesday."]
    assert "summary" in asked[2]["content"]
    await respond(gateway, input=[*told["output"], {"role": "user", "content": "When?"}])
    assert "They agreed on Tuesday." in stub.last.json["messages"][0]["content"]
    stub.answer(chat(""))
    empty = await gateway.http.post("/v1/responses/compact", json={"model": "small", "input": said})
    assert empty.status_code == 502


@pytest_asyncio.fixture
async def agent(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(agent_settings(stub), tmp_path) as running:
        yield running


async def test_an_agent_answers_and_tells_its_tools_as_items(agent: Gateway, stub: Stub) -> None:
    stub.answer(calling(("calculator", {"expression": "6*7"})), chat("It is 42."))
    told = await respond(agent, model="augmented/helper")
    call, message = told["output"]
    assert (call["type"], call["name"], call["output"]) == ("mcp_call", "calculator", "42")
    assert message["content"][0]["text"] == "It is 42."
    assert told["usage"]["total_tokens"] == 20
    assert len(await rows(agent, 2)) == 2


async def test_an_agents_stream_tells_its_tools_while_they_run(agent: Gateway, stub: Stub) -> None:
    stub.answer(calling_in_pieces("calculator", '{"expression":"6*7"}'), stream())
    events = await streamed(agent, model="augmented/helper")
    assert "response.mcp_call.completed" in kinds(events)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["mcp_call", "message"]


async def test_reasoning_shows_as_items_and_its_steps_only_when_asked_for(agent: Gateway, stub: Stub) -> None:
    plan = json.dumps({"thought": "It is a greeting.", "next_action": "finished", "tools_to_use": []})
    for wish in ("", "all"):
        stub.answer(chat(plan), stream([chunk({"content": "Hello."}), chunk({}, "stop"), b"data: [DONE]\n\n"]))
        headers = {"x-routing-mode": "reasoning", "x-events": wish}
        events = await streamed(agent, headers, model="small")
        assert ("headgate:step" in kinds(events)) is (wish == "all")
        output = events[-1]["response"]["output"]
        assert output[0]["summary"][0]["text"] == "It is a greeting."
        assert output[-1]["content"][0]["text"] == "Hello."
