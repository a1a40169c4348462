"""Ollama's own client in front of providers that speak OpenAI, and what its API tells on the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ollama
import pytest
import pytest_asyncio

from tests.clients.answers import CALL, provider
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, USAGE, Answer, Stub, chat, chunk, stream, stream_pieces
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_agents import settings as agent_settings
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

pytestmark = covers("ollama")
HI = [{"role": "user", "content": "Hi"}]
PIXEL = "iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture
async def client(gateway: Gateway) -> AsyncIterator[ollama.AsyncClient]:
    async with client_of(gateway) as one:
        yield one


def client_of(gateway: Gateway, key: str = KEY) -> ollama.AsyncClient:
    return ollama.AsyncClient(gateway.url, headers={"authorization": f"Bearer {key}"}, timeout=BOUND)


async def lines(gateway: Gateway, path: str, **fields: Any) -> list[dict[str, Any]]:
    answer = await gateway.http.post(path, json={"model": "small", **fields})
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.content.splitlines()]


async def test_a_chat_is_answered_whole_and_streamed(client: ollama.AsyncClient, stub: Stub) -> None:
    answer = await client.chat("small", HI)
    assert (answer.message.content, answer.model, answer.done_reason) == ("Hello there.", "small", "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (7, 3)
    pieces = [one async for one in await client.chat("small", HI, stream=True)]
    assert [one.message.content for one in pieces] == ["Hello", " there", ".", ""]
    assert [one.done for one in pieces] == [False, False, False, True]
    assert (pieces[-1].prompt_eval_count, pieces[-1].eval_count) == (7, 3)
    assert pieces[-1].total_duration is not None
    assert pieces[-1].total_duration > 0
    assert [call.json["messages"] for call in stub.calls] == [HI, HI]
    assert stub.calls[0].path == "/v1/chat/completions"


async def test_the_synchronous_client_works_too(gateway: Gateway) -> None:
    def ask() -> tuple[Any, str]:
        with ollama.Client(gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=BOUND) as client:
            said = "".join(one.response or "" for one in client.generate("small", "Hi", stream=True))
            return client.generate("small", "Hi", system="Be kind.").response, said

    assert await asyncio.to_thread(ask) == ("Hello there.", "Hello there.")


async def test_a_stream_is_what_one_gets_who_does_not_say(gateway: Gateway) -> None:
    found = await lines(gateway, "/api/chat", messages=HI)
    assert [one["message"]["content"] for one in found] == ["Hello", " there", ".", ""]
    found = await lines(gateway, "/api/generate", prompt="Hi")
    assert [one["response"] for one in found] == ["Hello", " there", ".", ""]
    assert [one["done"] for one in found] == [False, False, False, True]


async def test_the_first_line_arrives_before_the_provider_ends(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream([b"".join(stream_pieces()[:2]), *stream_pieces()[2:]], release=release))
    async with gateway.http.stream("POST", "/api/chat", json={"model": "small", "messages": HI}) as response:
        arriving = response.aiter_lines()
        assert json.loads(await anext(arriving))["message"]["content"] == "Hello"
        release.set()
        rest = [json.loads(line) async for line in arriving]
    assert rest[-1]["done"]


@both_ways
async def test_a_conversation_with_a_tool_call(client: ollama.AsyncClient, stub: Stub, streamed: bool) -> None:
    """As Home Assistant has it: results have neither an id nor a name."""
    stub.otherwise = provider
    asked: Any = await client.chat("small", HI, tools=[TOOL], stream=streamed)  # type: ignore[call-overload]
    answers = [one async for one in asked] if streamed else [asked]
    [call] = [call for one in answers for call in one.message.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Oslo"})
    assert answers[-1].done_reason == "stop"
    mine = {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]}
    result = {"role": "tool", "content": "5 degrees"}
    final = await client.chat("small", [*HI, mine, result], tools=[TOOL])
    assert final.message.content == "Hello there."
    sent = stub.last.json["messages"]
    assert sent[1]["tool_calls"] == [{**CALL, "id": "call_0"}]
    assert sent[2] == {"role": "tool", "tool_call_id": "call_0", "content": "5 degrees"}


async def test_what_the_request_says_reaches_the_provider_and_the_rest_is_told(gateway: Gateway, stub: Stub) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    options = {"num_predict": 9, "temperature": 0.5, "seed": 7, "num_ctx": 8192}
    fields = {"messages": [{**HI[0], "images": [PIXEL]}], "format": schema, "think": "low", "keep_alive": "5m"}
    answer = await gateway.http.post(
        "/api/chat", json={"model": "small", "stream": False, "options": options, **fields}
    )
    assert answer.headers["x-headgate-dropped"] == "keep_alive, options.num_ctx"
    sent = stub.last.json
    assert (sent["max_tokens"], sent["temperature"], sent["seed"]) == (9, 0.5, 7)
    assert (sent["reasoning_effort"], sent["response_format"]["json_schema"]["schema"]) == ("low", schema)
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    assert sent["messages"][0]["content"] == [{"type": "text", "text": "Hi"}, image]


@both_ways
async def test_thinking_is_told_apart(client: ollama.AsyncClient, stub: Stub, streamed: bool) -> None:
    if streamed:
        deltas = [{"reasoning_content": "Hm"}, {"reasoning_content": "."}, {"content": "Yes"}]
        stub.answer(stream([*(chunk(delta) for delta in deltas), chunk({}, "stop"), b"data: [DONE]\n\n"]))
    else:
        message = {"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}
        stub.answer(chat(choices=[{"index": 0, "message": message, "finish_reason": "stop"}]))
    asked: Any = await client.chat("small", HI, think=True, stream=streamed)  # type: ignore[call-overload]
    answers = [one async for one in asked] if streamed else [asked]
    assert "".join(one.message.thinking or "" for one in answers) == "Hm."
    assert "".join(one.message.content or "" for one in answers) == "Yes"


@covers("152", "113")
@both_ways
async def test_calls_are_in_the_ledger_and_under_the_keys_limits(stub: Stub, tmp_path: Path, streamed: bool) -> None:
    settings = settings_for(stub)
    settings["models"][0]["price"] = {"input": "1.5", "output": "6"}
    async with running_gateway(settings, tmp_path) as gateway:
        caller = await new_key(gateway, rate={"requests_per_minute": 1})
        async with caller:
            body = {"model": "small", "messages": HI, "stream": streamed}
            assert (await caller.post("/api/chat", json=body)).status_code == 200
            refused = await caller.post("/api/generate", json={"model": "small", "prompt": "Hi"})
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limit_exceeded")
        assert isinstance(refused.json()["error"], str)
        [entry] = await rows(gateway, 1)
    assert (entry["prompt"], entry["completion"], entry["measure"]) == ("7", "3", "reported")
    assert float(entry["cost_usd"]) == pytest.approx((7 * 1.5 + 3 * 6) / 1e6)


@covers("154")
async def test_a_repeat_gets_the_same_bytes(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        for path, fields in (("/api/chat", {"messages": HI}), ("/api/embed", {"input": "x"})):
            body = {"model": "small", **fields}
            answers = [
                await gateway.http.post(path, json=body, headers={"idempotency-key": path[5:]}) for _ in range(2)
            ]
            assert answers[0].content == answers[1].content
            assert (b'"done":true' if path == "/api/chat" else b'"embeddings":[[') in answers[0].content
            assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(stub.calls) == 2


@both_ways
async def test_errors_are_a_text_with_a_true_status(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    for key, model, status in (("sk-wrong", "small", 401), (KEY, "nope", 404)):
        async with client_of(gateway, key) as client:
            with pytest.raises(ollama.ResponseError) as error:
                [one async for one in await client.chat(model, HI, stream=streamed)]
        assert error.value.status_code == status
    stub.answer(Answer(status=503))
    failed = await gateway.http.post("/api/chat", json={"model": "small", "messages": HI, "stream": streamed})
    assert (failed.status_code, failed.json()["code"]) == (503, "upstream_unavailable")
    for path in ("/api/tags", "/api/version"):
        refused = await gateway.http.get(path, headers={"authorization": "Bearer sk-wrong"})
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_authorization")
        assert isinstance(refused.json()["error"], str)


async def test_a_stream_that_breaks_off_ends_with_an_error(client: ollama.AsyncClient, stub: Stub) -> None:
    stub.answer(stream(stream_pieces(), cut_after=len(b"".join(stream_pieces()[:3]))))
    pieces = await client.chat("small", HI, stream=True)
    assert (await anext(pieces)).message.content == "Hello"
    with pytest.raises(ollama.ResponseError, match="broke"):
        [one async for one in pieces]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/api/chat", {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ("/api/chat", {"messages": HI, "options": {"temperature": "hot"}}, "options.temperature"),
        ("/api/chat", {"messages": HI, "model": 5}, "model"),
        ("/api/chat", {"messages": HI, "model": None}, "model"),
        ("/api/generate", {"prompt": "x", "raw": True}, "raw"),
        ("/api/embed", {}, "input"),
        ("/api/embeddings", {"input": "x"}, "prompt"),
        ("/api/show", {"model": ""}, "model"),
    ],
)
async def test_bad_requests_name_the_field(gateway: Gateway, stub: Stub, path: str, fields: Any, param: str) -> None:
    answer = await gateway.http.post(path, json={"model": "small", **fields})
    assert (answer.status_code, answer.json()["param"]) == (400, param), answer.text
    assert not stub.calls


async def test_an_agent_is_a_model_here_too(stub: Stub) -> None:
    async with running_gateway(agent_settings(stub)) as gateway, client_of(gateway) as client:
        agent, small = [one.model for one in (await client.list()).models]
        assert (agent, small) == ("augmented/helper", "small")
        assert (await client.show(agent)).capabilities == ["completion", "tools"]
        stub.answer(calling_in_pieces("calculator", '{"expression":"6*7"}'))
        pieces = [one async for one in await client.chat(agent, HI, stream=True)]
        stub.answer(calling(("calculator", {"expression": "6*7"})))
        answer = await client.chat(agent, HI)
    assert "".join(one.message.content or "" for one in pieces) == answer.message.content == "Hello there."
    assert (pieces[-1].done, answer.done) == (True, True)
    assert not any(one.message.tool_calls for one in (*pieces, answer))
    assert stub.last.json["messages"][-1]["content"] == "42"


@covers("keep-alive")
async def test_a_silent_stream_is_kept_alive_by_lines_that_add_nothing(stub: Stub) -> None:
    settings = settings_for(stub, server={"ping_seconds": 0.05})
    release = asyncio.Event()
    stub.answer(stream(stream_pieces(), release=release))
    async with running_gateway(settings) as gateway:
        body = {"model": "small", "messages": HI}
        async with gateway.http.stream("POST", "/api/chat", json=body) as response:
            arriving = response.aiter_lines()
            assert json.loads(await anext(arriving))["message"]["content"] == ""
            release.set()
            rest = [json.loads(line)["message"]["content"] async for line in arriving]
    assert "".join(rest) == "Hello there."


async def test_a_provider_that_reports_no_tokens_leaves_the_counts_out(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()))
    last = (await lines(gateway, "/api/chat", messages=HI))[-1]
    assert "eval_count" not in last
    stub.answer(stream(stream_pieces(usage=True)))
    last = (await lines(gateway, "/api/chat", messages=HI))[-1]
    assert last["eval_count"] == USAGE["completion_tokens"]
