"""Anthropic's own API as an upstream: in its own words for callers who speak them, translated for all others."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.events import ends_well, text_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.messages import CALL, TEXT, THINKING, event, message, messages_stream, native, pieces, settings
from tests.harness.stub import Answer, Stub, stream
from tests.journeys.test_money import rows
from tests.requirements import covers

pytestmark = covers("157")
HI = [{"role": "user", "content": "Hi"}]
ODD = {
    "thinking": {"type": "adaptive", "display": "omitted"},
    "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "tools": [{"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {"type": "object"}}],
    "a_field_of_tomorrow": [1.0, 1e5],
}
PRICE = {"input": "1", "output": "10", "cached_input": "0.1", "cache_write": "1.25"}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = native
    made = settings(stub.url)
    made["models"][0]["price"] = PRICE
    async with running_gateway(made, tmp_path) as running:
        yield running


async def ask(gateway: Gateway, **fields: Any) -> httpx.Response:
    headers = {"anthropic-version": "2099-01-01", "anthropic-beta": "a-2026,b-2026", "x-other": "no"}
    body = {"model": "opus", "max_tokens": 100, "messages": HI, **fields}
    return await gateway.http.post("/v1/messages", json=body, headers=headers)


async def test_the_callers_bytes_and_headers_reach_it_but_for_name_and_key(gateway: Gateway, stub: Stub) -> None:
    raw = json.dumps({"max_tokens": 100, "model": "opus", "messages": HI, **ODD}, indent=1).encode()
    response = await gateway.http.post("/v1/messages?beta=true", content=raw, headers={"anthropic-beta": "x"})
    assert response.status_code == 200, response.text
    assert stub.last.path == "/v1/messages"
    assert stub.last.body == raw.replace(b'"opus"', b'"claude-stub"')
    sent = stub.last.headers
    assert (sent["x-api-key"], sent["anthropic-version"], sent["anthropic-beta"]) == (
        "sk-ant-upstream-1",
        "2023-06-01",
        "x",
    )
    assert "authorization" not in sent
    await ask(gateway)
    assert stub.last.headers["anthropic-version"] == "2099-01-01"
    assert "x-other" not in stub.last.headers


async def test_its_answers_pass_byte_for_byte_but_for_the_name(gateway: Gateway, stub: Stub) -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    content = (THINKING, search, TEXT, CALL)
    answer = message(*content, stop="tool_use", tomorrow={"x": 1e5})
    stub.answer(answer, messages_stream(*content, stop="tool_use"))
    assert (await ask(gateway)).content == answer.body.replace(b'"claude-stub"', b'"opus"')
    streamed = await ask(gateway, stream=True)
    assert streamed.content == b"".join(pieces(*content, stop="tool_use")).replace(b'"claude-stub"', b'"opus"')
    assert streamed.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("streamed", [False, True])
async def test_cached_tokens_are_counted_and_charged(gateway: Gateway, streamed: bool) -> None:
    await ask(gateway, stream=streamed)
    (entry,) = await rows(gateway, 1)
    counts = [entry[name] for name in ("prompt", "completion", "cached", "cache_write")]
    assert counts == ["127", "5", "100", "20"]
    assert entry["measure"] == "reported"
    assert float(entry["cost_usd"]) == pytest.approx((7 + 100 * 0.1 + 20 * 1.25 + 5 * 10) / 1e6)


async def test_chat_callers_are_translated_both_ways(gateway: Gateway, stub: Stub) -> None:
    stub.answer(message(THINKING, TEXT, CALL, stop="tool_use"))
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    response = await gateway.chat(model="opus", tools=tools, reasoning_effort="low", seed=1)
    sent = stub.last.json
    assert sent["tools"] == [{"name": "weather", "input_schema": function["parameters"]}]
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert sent["max_tokens"] > 2048
    assert response.headers["x-headgate-dropped"] == "seed"
    told = response.json()
    answered, usage = told["choices"][0]["message"], told["usage"]
    assert (answered["content"], answered["reasoning_content"]) == ("Hello there.", "Let me see.")
    assert answered["thinking_blocks"] == [THINKING]
    assert answered["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Berlin"}'}
    assert told["choices"][0]["finish_reason"] == "tool_calls"
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (127, 100)
    back = [*HI, answered, {"role": "tool", "tool_call_id": "toolu_01A", "content": "Rain"}]
    await gateway.chat(model="opus", messages=back, tools=tools, reasoning_effort="low")
    assert stub.last.json["messages"][1]["content"] == [THINKING, TEXT, CALL]
    assert "thinking" in stub.last.json


async def test_chat_streams_end_well_and_tell_usage_only_when_asked(gateway: Gateway) -> None:
    plain = await gateway.stream(model="opus")
    assert ends_well(plain)
    assert (text_of(plain), b'"usage":{' in plain) == ("Hello there.", False)
    assert b'"total_tokens":132' in await gateway.stream(model="opus", stream_options={"include_usage": True})


@pytest.mark.parametrize(
    ("kind", "status", "seen"),
    [
        ("invalid_request_error", 400, 400),
        ("authentication_error", 401, 502),
        ("not_found_error", 404, 404),
        ("request_too_large", 413, 413),
        ("rate_limit_error", 429, 429),
        ("api_error", 500, 502),
        ("overloaded_error", 529, 529),
    ],
)
async def test_refusals_are_told_to_callers_of_either_kind(
    gateway: Gateway, stub: Stub, kind: str, status: int, seen: int
) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "Because."}}).encode()
    stub.answer(*[Answer(status, body) for _ in range(2)])
    told = await ask(gateway)
    assert (told.status_code, told.json()["type"]) == (seen, "error")
    assert "Because." in told.json()["error"]["message"]
    assert told.json()["error"]["type"] == (kind if status != 401 else "api_error")
    plain = await gateway.chat(model="opus")
    assert plain.status_code == (503 if status == 529 else seen)
    assert "Because." in plain.json()["error"]["message"]


async def test_a_stream_that_begins_overloaded_is_tried_elsewhere(stub: Stub) -> None:
    made = settings(stub.url)
    made["upstreams"].append({"name": "other", "provider": "openai_compatible", "base_url": stub.url})
    made["models"][0]["targets"].append({"upstream": "other", "model": "stub-small"})
    stub.answer(stream([event("error", error={"type": "overloaded_error", "message": "Overloaded"})]), stream())
    async with running_gateway(made) as gateway:
        response = await ask(gateway, stream=True)
    assert [call.path for call in stub.calls] == ["/v1/messages", "/v1/chat/completions"]
    assert b"Hello" in response.content
    assert response.content.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert response.headers["x-headgate-attempts"] == "2"


async def test_an_error_in_the_middle_reaches_callers_of_either_kind(gateway: Gateway, stub: Stub) -> None:
    broken = [*pieces()[:5], event("error", error={"type": "overloaded_error", "message": "Overloaded"})]
    stub.answer(stream(broken), stream(broken))
    told = (await ask(gateway, stream=True)).content
    assert told.count(b"event: error") == 1
    assert b'"message":"Overloaded"' in told.splitlines()[-2]
    plain = await gateway.stream(model="opus")
    assert b"[DONE]" not in plain
    assert b'"message":"Overloaded"' in plain.splitlines()[-2]
    entries = await rows(gateway, 2)
    assert {one["outcome"] for one in entries} == {"error"}


async def test_its_count_of_tokens_is_asked_and_an_estimate_replaces_it(gateway: Gateway, stub: Stub) -> None:
    counted = await gateway.http.post("/v1/messages/count_tokens", json={"model": "opus", "messages": HI})
    assert counted.json() == {"input_tokens": 42}
    assert (stub.last.path, stub.last.json["model"]) == ("/v1/messages/count_tokens", "claude-stub")
    assert stub.last.headers["x-api-key"] == "sk-ant-upstream-1"
    stub.answer(
        Answer(404, b"{}"), Answer(400, b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}')
    )
    estimated = await gateway.http.post("/v1/messages/count_tokens", json={"model": "opus", "messages": HI})
    assert 0 < estimated.json()["input_tokens"] < 20
    refused = await gateway.http.post("/v1/messages/count_tokens", json={"model": "opus", "messages": HI})
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "no")
    assert (await gateway.http.get("/admin/usage/export")).text.count("\n") <= 1


async def test_thoughts_that_nobody_signed_are_not_sent_to_anthropic(gateway: Gateway, stub: Stub) -> None:
    unsigned = {**THINKING, "signature": ""}
    result = {"type": "tool_result", "tool_use_id": CALL["id"], "content": "Rain"}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    for thought, kept, lost in (
        (unsigned, [CALL], "messages[].thinking, thinking"),
        (THINKING, [THINKING, CALL], None),
    ):
        said = {"role": "assistant", "content": [thought, CALL]}
        conversation = [*HI, said, {"role": "user", "content": [result]}]
        response = await ask(gateway, messages=conversation, thinking=thinking, max_tokens=2000)
        assert stub.last.json["messages"][1]["content"] == kept
        assert stub.last.json["thinking"] == ({"type": "disabled"} if lost else thinking)
        assert response.headers.get("x-headgate-dropped") == lost
    await ask(gateway, messages=[*HI, {"role": "assistant", "content": [unsigned]}, *HI], thinking=thinking)
    assert (stub.last.json["messages"], stub.last.json["thinking"]) == ([*HI, *HI], thinking)


async def test_its_models_are_listed_with_its_key_and_all_on_one_page(stub: Stub) -> None:
    stub.otherwise = native
    async with running_gateway(settings(stub.url, offer_all=True)) as gateway:
        listed = [model["id"] for model in (await gateway.http.get("/v1/models")).json()["data"]]
    assert "claude/claude-stub" in listed
    asked = next(request for request in stub.requests if request.method == "GET")
    assert (asked.path, asked.headers["x-api-key"]) == ("/v1/models?limit=1000", "sk-ant-upstream-1")
    assert asked.headers["anthropic-version"] == "2023-06-01"


async def test_who_says_that_it_speaks_chat_gets_its_compatible_api_as_before(stub: Stub) -> None:
    async with running_gateway(settings(stub.url, speaks=["chat"])) as gateway:
        assert (await gateway.chat(model="opus")).status_code == 200
        assert (await ask(gateway)).json()["content"] == [{"type": "text", "text": "Hello there."}]
    assert [call.path for call in stub.calls] == ["/v1/chat/completions"] * 2
    assert {call.headers["authorization"] for call in stub.calls} == {"Bearer sk-ant-upstream-1"}


async def test_another_server_that_speaks_both_is_called_in_the_callers_words(stub: Stub) -> None:
    stub.otherwise = native
    made = settings(stub.url, provider="openai_compatible", speaks=["chat", "messages"])
    async with running_gateway(made) as gateway:
        await ask(gateway)
        await gateway.chat(model="opus")
    assert [call.path for call in stub.calls] == ["/v1/messages", "/v1/chat/completions"]
    headers = stub.calls[0].headers
    assert (headers["x-api-key"], headers["authorization"]) == ("sk-ant-upstream-1", "Bearer sk-ant-upstream-1")


async def test_the_configured_effort_default_and_floor_hold_in_its_words(stub: Stub) -> None:
    stub.otherwise = native
    made = settings(stub.url)
    made["models"][0]["parameters"] = {"reasoning_effort": "high", "defaults": {"temperature": 0.5}}
    made["models"][0]["constraints"] = {"min_max_tokens": 500}
    async with running_gateway(made) as gateway:
        await ask(gateway)
    assert stub.last.json["output_config"] == {"effort": "high"}
    assert (stub.last.json["temperature"], stub.last.json["max_tokens"]) == (0.5, 500)


async def test_fields_that_only_chat_knows_are_no_reason_to_take_out_its_own(stub: Stub) -> None:
    stub.otherwise = native
    made = settings(stub.url)
    made["models"][0]["parameters"] = {"drop_unsupported": True}
    async with running_gateway(made) as gateway:
        await ask(gateway, metadata={"user_id": "u"}, service_tier="auto")
    assert (stub.last.json["metadata"], stub.last.json["service_tier"]) == ({"user_id": "u"}, "auto")


async def test_the_bound_of_an_answer_is_the_configured_one_and_never_above_what_the_model_gives(stub: Stub) -> None:
    stub.otherwise = native
    made = settings(stub.url)
    made["models"][0]["parameters"] = {"defaults": {"max_tokens": 3000}}
    made["models"].append({"name": "short", "targets": made["models"][0]["targets"], "retries": 0})
    made["models"][1]["capabilities"] = {"max_output_tokens": 500}
    async with running_gateway(made) as gateway:
        await gateway.chat(model="opus", reasoning_effort="low")
        assert stub.last.json["max_tokens"] == 3000
        assert stub.last.json["thinking"] == {"type": "enabled", "budget_tokens": 1976}
        capped = await gateway.chat(model="short", max_tokens=128000)
        assert stub.last.json["max_tokens"] == 500
        assert capped.headers["x-headgate-applied"] == "max_tokens=500"
        await ask(gateway, model="short", max_tokens=128000)
        assert stub.last.json["max_tokens"] == 128000  # relayed as it is


async def test_an_agents_model_may_speak_it(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub.url)
    made["agents"] = [{"name": "helper", "model": "opus", "tools": ["calculator"]}]
    call = {"type": "tool_use", "id": "toolu_1", "name": "calculator", "input": {"expression": "6*7"}}
    stub.answer(message(call, stop="tool_use"), message({"type": "text", "text": "It is 42."}))
    async with running_gateway(made, tmp_path) as gateway:
        response = await gateway.chat(model="helper")
    assert response.json()["choices"][0]["message"]["content"] == "It is 42."
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"}
    assert stub.last.json["messages"][-1] == {"role": "user", "content": [result]}
