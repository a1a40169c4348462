"""Providers through the LiteLLM SDK: the real SDK in a gateway process of its own, the stub as the provider."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio

from headgate.upstreams.frames import FrameRelay
from headgate.upstreams.litellm import SdkStream
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Answer, Stub, chat, chunk, stream
from tests.requirements import covers

pytestmark = covers("litellm-sdk")
OWN = Path(__file__).parents[2] / ".venv-litellm/bin/python"
SDK_PYTHON = str(OWN) if OWN.exists() else sys.executable
HAS_SDK = OWN.exists() or find_spec("litellm") is not None
needs_sdk = pytest.mark.skipif(not HAS_SDK, reason="needs the extra `litellm`")
HI = [{"role": "user", "content": "Hi"}]
KEY = "sk-upstream-secret-1"
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def settings(port: int) -> dict[str, Any]:
    common = {"provider": "litellm", "api_key": KEY}
    plain = {**common, "name": "plain", "litellm_provider": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}
    claude = {**common, "name": "claude", "litellm_provider": "anthropic", "base_url": f"http://127.0.0.1:{port}"}
    return {
        "upstreams": [{**plain, "headers": {"x-team": "blue"}, "options": {"organization": "org-blue"}}, claude],
        "models": [
            {"name": name, "targets": [{"upstream": name, "model": model}], "retries": 0}
            for name, model in (("plain", "stub-small"), ("claude", "claude-sonnet-4-5"))
        ],
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, int]]:
    """A gateway process, and the port where its providers are expected. The SDK's fetches would go there too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "headgate.yaml").write_text(json.dumps(settings(port)))
    processes = Processes(folder, SDK_PYTHON)
    names = ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS", "AUTOROUTER_PRESETS")
    fetched = {f"LITELLM_{name}_URL": f"http://127.0.0.1:{port}/fetched" for name in names}
    yield processes.serve(**fetched), port
    processes.stop()


@pytest_asyncio.fixture
async def provider(served: tuple[Process, int]) -> AsyncIterator[Stub]:
    stub = Stub()
    stub.port = served[1]
    async with stub:
        yield stub
    assert all(request.method == "POST" for request in stub.requests), "the SDK fetched something"


@pytest_asyncio.fixture
async def http(served: tuple[Process, int]) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {served[0].key}"}
    async with httpx.AsyncClient(base_url=served[0].url, headers=headers, timeout=30) as client:
        yield client


async def post(http: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await http.post("/v1/chat/completions", json={"model": "plain", "messages": HI, **fields})


def log_lines(process: Process) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.out.read_text().splitlines()]
    return [line for line in lines if line["event"] == "request"]


async def last_line(process: Process, request_id: str) -> dict[str, Any]:
    async with asyncio.timeout(BOUND):
        while not (found := [line for line in log_lines(process) if line["request_id"] == request_id]):
            await asyncio.sleep(0.02)
    return found[0]


def frames(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]


def test_the_sdk_is_not_imported_at_start() -> None:
    program = f"""
import asyncio, sys
from headgate import app
from headgate.config.tree import Settings

async def main():
    tree = Settings.model_validate({settings(1)!r})
    async with app.gateway(app.Prepared(tree, (("sk-key-of-the-test", True),), b"pepper", {{}})) as gate:
        print([(await one.check()).state for one in gate.deps.upstreams.values()], "litellm" in sys.modules)

asyncio.run(main())
"""
    ended = subprocess.run([SDK_PYTHON, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.strip() == "['unknown', 'unknown'] False"


@needs_sdk
async def test_the_first_call_imports_the_sdk_while_the_gateway_answers(
    served: tuple[Process, int], provider: Stub, http: httpx.AsyncClient
) -> None:
    waits = []
    call = asyncio.create_task(post(http))
    while not call.done():
        started = time.monotonic()
        assert (await http.get("/healthz")).status_code == 200
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.02)
    assert (await call).status_code == 200
    assert len(waits) > 5
    assert sorted(waits)[len(waits) // 2] < 0.5


@needs_sdk
async def test_a_chat_reaches_the_provider_and_comes_back(
    served: tuple[Process, int], provider: Stub, http: httpx.AsyncClient
) -> None:
    answered = await post(http, tools=[TOOL], temperature=0.5, seed=7, metadata={"a": "b"})
    assert answered.status_code == 200, answered.text
    assert answered.json()["choices"][0]["message"]["content"] == "Hello there."
    assert answered.json()["model"] == "plain"
    sent = provider.last
    assert sent.json == {"model": "stub-small", "messages": HI, "tools": [TOOL], "temperature": 0.5, "seed": 7}
    assert (sent.headers["authorization"], sent.headers["x-team"]) == (f"Bearer {KEY}", "blue")
    assert sent.headers["openai-organization"] == "org-blue"
    assert sent.headers["traceparent"].startswith("00-")
    line = await last_line(served[0], answered.headers["x-request-id"])
    assert (line["prompt_tokens"], line["completion_tokens"]) == (7, 3)


@needs_sdk
@pytest.mark.parametrize("wants_usage", [False, True])
async def test_a_stream_keeps_its_form_and_hides_usage_unless_asked(
    served: tuple[Process, int], provider: Stub, http: httpx.AsyncClient, wants_usage: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    answered = await post(http, stream=True, **options)
    assert answered.text.count("data: [DONE]") == 1
    told = frames(answered.text)
    assert {one["model"] for one in told} == {"plain"}
    choices = [one["choices"][0] for one in told if one["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hello there."
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert [one["usage"]["total_tokens"] for one in told if "usage" in one] == ([10] if wants_usage else [])
    assert [one["choices"] for one in told if "usage" in one] == ([[]] if wants_usage else [])
    line = await last_line(served[0], answered.headers["x-request-id"])
    assert (line["prompt_tokens"], line["completion_tokens"]) == (7, 3)


@needs_sdk
async def test_streamed_tool_calls_stay_whole(provider: Stub, http: httpx.AsyncClient) -> None:
    def call(**function: str) -> dict[str, Any]:
        named = {"id": "call_1", "type": "function"} if "name" in function else {}
        return {"tool_calls": [{"index": 0, **named, "function": {"arguments": "", **function}}]}

    deltas = [call(name="add"), call(arguments='{"a":'), call(arguments="1}")]
    pieces = [chunk({"role": "assistant"}), *map(chunk, deltas), chunk({}, "tool_calls"), b"data: [DONE]\n\n"]
    provider.answer(stream(pieces))
    told = frames((await post(http, stream=True, tools=[TOOL])).text)
    calls = [one for frame in told for one in frame["choices"][0]["delta"].get("tool_calls", ())]
    assert {one["index"] for one in calls} == {0}
    assert "".join(one["function"]["arguments"] for one in calls) == '{"a":1}'
    assert calls[0]["function"]["name"] == "add"


@needs_sdk
async def test_embeddings(provider: Stub, http: httpx.AsyncClient) -> None:
    answered = await http.post("/v1/embeddings", json={"model": "plain", "input": ["Hi"]})
    assert answered.json()["data"][0]["embedding"] == [0.1, -0.2, 0.3]
    assert answered.json()["usage"]["prompt_tokens"] == 4


@needs_sdk
@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (400, 400, "upstream_rejected"),
        (401, 502, "upstream_key_refused"),
        (404, 404, "upstream_not_found"),
        (429, 429, "upstream_rate_limited"),
        (500, 502, "upstream_fault"),
        (503, 503, "upstream_unavailable"),
    ],
)
async def test_failures_are_told_by_status(
    provider: Stub, http: httpx.AsyncClient, status: int, expected: int, code: str
) -> None:
    body = json.dumps({"error": {"message": f"no, {KEY}", "param": "seed"}}).encode()
    provider.answer(Answer(status, body, headers={"retry-after": "7"}))
    answered = await post(http)
    assert (answered.status_code, answered.headers["x-headgate-error"]) == (expected, code)
    assert KEY not in answered.text
    assert answered.headers.get("retry-after") == ("7" if status in (429, 503) else None)
    assert len(provider.calls) == 1


@needs_sdk
@pytest.mark.parametrize("field", ["api_base", "api_key", "custom_llm_provider", "extra_headers", "mock_response"])
async def test_a_caller_cannot_set_options_of_the_sdk(provider: Stub, http: httpx.AsyncClient, field: str) -> None:
    answered = await post(http, **{field: "http://127.0.0.1:9"})
    assert (answered.status_code, answered.json()["error"]["param"]) == (400, field)
    assert not provider.calls


@needs_sdk
async def test_leaving_a_stream_closes_the_providers(provider: Stub, http: httpx.AsyncClient) -> None:
    provider.answer(stream([chunk({"role": "assistant", "content": "a"})], hang=True))
    body = {"model": "plain", "messages": HI, "stream": True}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answered:
        await anext(answered.aiter_raw())
    await asyncio.wait_for(provider.last.left.wait(), 1)


async def test_a_stream_that_is_left_between_two_chunks_is_cut() -> None:
    cut = asyncio.Event()

    async def chunks() -> AsyncIterator[Any]:
        try:
            yield 1
            yield 2
        finally:
            cut.set()

    generator = chunks()
    await anext(generator)
    SdkStream(generator, cast(FrameRelay, None), set()).close()
    await asyncio.wait_for(cut.wait(), BOUND)


@needs_sdk
async def test_leaving_before_the_answer_closes_the_providers_call(provider: Stub, http: httpx.AsyncClient) -> None:
    provider.answer(Answer(**{**vars(chat()), "delay": BOUND}))
    call = asyncio.create_task(post(http))
    await provider.wait_for_calls(1)
    call.cancel()
    await asyncio.wait_for(provider.last.left.wait(), 1)


@needs_sdk
async def test_a_provider_with_an_api_of_its_own_answers_as_openai_would(
    provider: Stub, http: httpx.AsyncClient
) -> None:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    ended = {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 2}}
    body = {**message, "content": [{"type": "text", "text": "Bonjour."}], **ended}
    provider.answer(Answer(body=json.dumps(body).encode()))
    answered = (await post(http, model="claude", max_tokens=9)).json()
    assert provider.last.path == "/v1/messages"
    assert (provider.last.headers["x-api-key"], provider.last.json["max_tokens"]) == (KEY, 9)
    assert answered["choices"][0]["message"]["content"] == "Bonjour."
    assert (answered["choices"][0]["finish_reason"], answered["model"]) == ("stop", "claude")
    assert answered["usage"]["total_tokens"] == 7


def anthropic_events(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


@needs_sdk
async def test_its_stream_is_told_as_openais_too(provider: Stub, http: httpx.AsyncClient) -> None:
    usage = {"input_tokens": 5, "output_tokens": 1}
    text = {"type": "text_delta", "text": "Bonjour."}
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "c", "usage": usage}
    pieces = anthropic_events(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
    provider.answer(stream(pieces))
    answered = await post(http, model="claude", stream=True, stream_options={"include_usage": True})
    told = frames(answered.text)
    choices = [one["choices"][0] for one in told if one["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Bonjour."
    assert choices[-1]["finish_reason"] == "stop"
    assert told[-1]["usage"]["total_tokens"] == 7
    assert answered.text.endswith("data: [DONE]\n\n")


@needs_sdk
async def test_a_provider_that_is_gone_is_told(served: tuple[Process, int], http: httpx.AsyncClient) -> None:
    answered = await post(http)
    assert answered.status_code == 502
    assert answered.json()["error"]["code"] == "upstream_fault"
