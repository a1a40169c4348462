"""Ollama's API over a provider that speaks neither it nor chat completions: Anthropic's own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.messages import CALL, TEXT, THINKING, event, message, messages_stream, native, pieces, settings
from tests.harness.stub import Stub, stream
from tests.journeys.test_ollama import HI, TOOL, client_of
from tests.requirements import covers

pytestmark = covers("ollama", "157")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    stub.otherwise = native
    async with running_gateway(settings(stub.url)) as running:
        yield running


@both_ways
async def test_thoughts_text_and_calls_arrive_in_the_callers_words(
    gateway: Gateway, stub: Stub, streamed: bool
) -> None:
    stub.answer((messages_stream if streamed else message)(THINKING, TEXT, CALL, stop="tool_use"))
    async with client_of(gateway) as client:
        asked: Any = await client.chat("opus", HI, tools=[TOOL], stream=streamed)
        answers = [one async for one in asked] if streamed else [asked]
    assert "".join(one.message.thinking or "" for one in answers) == THINKING["thinking"]
    assert "".join(one.message.content or "" for one in answers) == TEXT["text"]
    [call] = [call for one in answers for call in one.message.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == (CALL["name"], CALL["input"])
    assert (answers[-1].done, answers[-1].done_reason) == (True, "stop")
    assert answers[-1].eval_count > 0
    assert stub.last.path == "/v1/messages"
    assert stub.last.json["tools"][0]["name"] == "weather"


async def test_a_stream_that_breaks_off_ends_with_a_line_of_the_callers_form(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([*pieces()[:5], event("error", error={"type": "overloaded_error", "message": "Overloaded"})]))
    answer = await gateway.http.post("/api/chat", json={"model": "opus", "messages": HI})
    *said, last = [json.loads(line) for line in answer.content.splitlines()]
    assert said
    assert not any(one["done"] for one in said)
    assert "Overloaded" in last["error"]
    stub.answer(stream(pieces()[:5], cut_after=len(b"".join(pieces()[:4]))))
    async with client_of(gateway) as client:
        answers = await client.chat("opus", HI, stream=True)
        with pytest.raises(ollama.ResponseError):
            [one async for one in answers]
