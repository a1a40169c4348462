"""Callers in Anthropic's words at /v1/messages, over a provider that speaks chat completions only."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.messages_rules import check_stream, check_whole
from tests.conftest import settings_for
from tests.harness.events import read_events
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import DONE, USAGE, Answer, Stub, chat, chunk, stream, stream_pieces
from tests.journeys.test_agents import calling
from tests.journeys.test_agents import settings as with_agent
from tests.journeys.test_reasoning import step
from tests.requirements import covers

pytestmark = covers("157")
HI = [{"role": "user", "content": "Hi"}]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
TOOL = {"name": "weather", "description": "W", "input_schema": {"type": "object", "properties": {}}}


async def ask(gateway: Gateway, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", {})
    body = {"model": "small", "max_tokens": 100, "messages": HI, **fields}
    return await gateway.http.post(path, json=body, headers=headers)


@pytest.mark.parametrize("path", ["/v1/messages", "/messages", "/anthropic/v1/messages", "/v1/messages?beta=true&x=1"])
async def test_a_message_is_answered_at_every_path_whatever_the_query(gateway: Gateway, path: str) -> None:
    response = await ask(gateway, path)
    assert response.status_code == 200, response.text
    said = check_whole(response.content)
    assert (said.text, said.tokens and said.tokens[:2]) == ("Hello there.", (7, 3))
    assert response.json()["model"] == "small"
    assert response.headers["request-id"] == response.headers["x-request-id"]


async def test_a_stream_is_put_into_blocks_and_tells_usage_unasked(gateway: Gateway, stub: Stub) -> None:
    response = await ask(gateway, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    said = check_stream(response.content)
    assert (said.text, said.finish, said.tokens and said.tokens[:2]) == ("Hello there.", "stop", (7, 3))
    assert stub.last.json["stream_options"] == {"include_usage": True}


async def test_keys_come_as_bearer_or_as_x_api_key(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as anybody:
        body = {"model": "small", "max_tokens": 9, "messages": HI}
        for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            assert (await anybody.post("/v1/messages", json=body, headers=headers)).status_code == 200
        refused = await anybody.post("/v1/messages", json=body)
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "authentication_error"
    assert refused.json()["request_id"] == refused.headers["request-id"]


async def test_a_conversation_as_coding_agents_have_it_reaches_a_chat_provider(gateway: Gateway, stub: Stub) -> None:
    response = await ask(
        gateway,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "See"}, PICTURE]},
            {"role": "system", "content": "The date is today."},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "sig"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"}]},
        ],
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2000},
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        context_management={"edits": [{"type": "clear_thinking_20251015"}]},
    )
    assert response.status_code == 200, response.text
    sent = stub.last.json
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "system", "assistant", "tool"]
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
    assert sent["messages"][3]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert sent["messages"][4]["tool_call_id"] == "toolu_1"
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather"]
    assert (sent["parallel_tool_calls"], sent["stop"], sent["user"]) == (False, ["END"], "u1")
    dropped = response.headers["x-headgate-dropped"].split(", ")
    assert {"tools[1]", "context_management"} <= set(dropped)


async def test_parallel_calls_come_back_as_blocks_and_their_results_go_on(gateway: Gateway, stub: Stub) -> None:
    def piece(index: int, **more: Any) -> bytes:
        return chunk({"tool_calls": [{"index": index, **more}]})

    def begun(index: int) -> bytes:
        return piece(index, id=f"call_{index}", type="function", function={"name": "weather", "arguments": ""})

    mixed = [
        begun(0),
        piece(0, function={"arguments": '{"city":'}),
        begun(1),
        piece(1, function={"arguments": '{"city":"Rome"}'}),
        piece(0, function={"arguments": '"Oslo"}'}),
    ]
    stub.answer(stream([*mixed, chunk({}, "tool_calls"), chunk(usage=USAGE), DONE]))
    said = check_stream((await ask(gateway, stream=True, tools=[TOOL])).content)
    assert said.calls == [("call_0", "weather", {"city": "Oslo"}), ("call_1", "weather", {"city": "Rome"})]
    assert said.finish == "tool_calls"


async def test_what_a_model_thinks_is_a_block_of_its_own(gateway: Gateway, stub: Stub) -> None:
    thinking = [chunk({"role": "assistant", "reasoning_content": "Hm"}), *stream_pieces(usage=True)[1:]]
    stub.answer(
        stream(thinking),
        stream([chunk({"content": "<think>Hm</th"}), chunk({"content": "ink>Yes"}), chunk({}, "stop"), DONE]),
    )
    first, second = [check_stream((await ask(gateway, stream=True)).content) for _ in range(2)]
    assert (first.thought, first.text) == ("Hm", "Hello there.")
    assert (second.thought, second.text) == ("Hm", "Yes")


async def test_more_than_a_model_can_say_is_not_asked_of_it(stub: Stub, tmp_path: Path) -> None:
    settings = with_agent(stub)
    settings["models"][0]["capabilities"] = {"max_output_tokens": 16384}
    async with running_gateway(settings, tmp_path) as gateway:
        for model in ("small", "augmented/helper"):
            response = await ask(gateway, model=model, max_tokens=128000)
            assert response.status_code == 200
            assert stub.last.json["max_tokens"] == 16384
            assert response.headers["x-headgate-applied"] == "max_tokens=16384"
        await gateway.chat(model="augmented/helper", max_tokens=128000)
        assert stub.last.json["max_tokens"] == 128000


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (Answer(400, b'{"error":{"message":"no","type":"invalid_request_error"}}'), 400, "invalid_request_error"),
        (Answer(429, b"{}"), 429, "rate_limit_error"),
        (Answer(503, b"{}"), 529, "overloaded_error"),
        (Answer(500, b"{}"), 502, "api_error"),
        (Answer(413, b"{}"), 413, "request_too_large"),
    ],
)
async def test_errors_have_anthropics_form(
    gateway: Gateway, stub: Stub, answer: Answer, status: int, kind: str
) -> None:
    stub.answer(answer)
    response = await ask(gateway)
    assert (response.status_code, response.json()["type"], response.json()["error"]["type"]) == (status, "error", kind)
    assert response.json()["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"model": "nothing"}, 404, "nothing"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "messages[0].content[0].text"),
        ({"messages": []}, 400, "messages"),
        ({"tool_choice": {"type": "some"}}, 400, "tool_choice.type"),
    ],
)
async def test_mistakes_are_named_in_that_form(gateway: Gateway, fields: Any, status: int, named: str) -> None:
    response = await ask(gateway, **fields)
    assert response.status_code == status
    assert named in response.json()["error"]["message"]


async def test_pictures_are_refused_where_the_model_takes_none(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["models"][0]["constraints"] = {"accepts_image_url": False}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [PICTURE]}
    async with running_gateway(settings) as gateway:
        for part in (PICTURE, result):
            response = await ask(gateway, messages=[{"role": "user", "content": [part]}])
            assert (response.status_code, response.headers["x-headgate-error"]) == (400, "image_url_not_supported")


async def test_an_error_in_the_middle_is_the_last_event(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([*stream_pieces()[:3], b'data: {"error":{"message":"out of order","code":500}}\n\n']))
    body = (await ask(gateway, stream=True)).content
    assert check_stream(body).is_broken
    last = read_events(body)[-1].json
    assert (last["error"]["type"], last["error"]["message"]) == ("api_error", "out of order")


async def test_pings_keep_a_silent_stream_alive(stub: Stub) -> None:
    async with running_gateway(settings_for(stub, server={"ping_seconds": 0.05})) as gateway:
        stub.answer(stream(delay=0.2))
        body = (await ask(gateway, stream=True)).content
    assert body.startswith(b'event: ping\ndata: {"type":"ping"}\n\n')
    assert check_stream(body).text == "Hello there."


async def test_an_agent_answers_by_name_and_its_tools_disturb_nobody(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(with_agent(stub), tmp_path) as gateway:
        for streamed in (False, True):
            answers = calling(("calculator", {"expression": "6*7"})), chat("It is 42.")
            stub.answer(*answers) if not streamed else stub.answer(
                stream([chunk({"tool_calls": [_whole_call()]}), chunk({}, "tool_calls"), DONE]), stream()
            )
            response = await ask(gateway, model="augmented/helper", stream=streamed)
            assert response.status_code == 200, response.text
            said = (check_stream if streamed else check_whole)(response.content)
            assert said.text == ("Hello there." if streamed else "It is 42.")
            assert said.calls == []
            assert stub.last.json["messages"][-1]["content"] == "42"
        pings = [event.json for event in read_events(response.content) if event.json["type"] == "ping"]
        assert {one["proxy_status"]["status"] for one in pings} >= {"executing_tool", "tool_completed"}
        plain = await ask(gateway, model="augmented/helper", stream=True, headers={"x-events": "none"})
        assert b"proxy_status" not in plain.content


def _whole_call() -> dict[str, Any]:
    function = {"name": "calculator", "arguments": json.dumps({"expression": "6*7"})}
    return {"index": 0, "id": "call_0", "type": "function", "function": function}


async def test_reasoning_in_steps_is_told_as_thinking(gateway: Gateway, stub: Stub) -> None:
    stub.answer(step("First think.", "finished"), stream())
    response = await ask(gateway, stream=True, headers={"x-routing-mode": "reasoning"})
    said = check_stream(response.content)
    assert "First think." in said.thought
    assert said.text == "Hello there."
