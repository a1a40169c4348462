"""OpenAI's own clients of the Responses API, and their agents, over providers that speak chat completions or it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types import responses
from pydantic import BaseModel

from tests.clients.answers import provider
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.responses import native
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("responses")
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
KINDS = ["chat", "responses"]


class City(BaseModel):
    city: str
    people: int


@pytest.fixture(params=KINDS)
def speaks(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def door(stub: Stub, speaks: str) -> AsyncIterator[Gateway]:
    stub.otherwise = provider if speaks == "chat" else native
    settings = settings_for(stub)
    settings["upstreams"][0]["speaks"] = [speaks]
    async with running_gateway(settings) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def client(door: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


async def test_an_answer_in_one_piece(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="small", input="Hi", instructions="Be brief.")
    assert answer.output_text == "Hello there."
    assert (answer.status, answer.model, answer.object) == ("completed", "small", "response")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (7, 3, 10)


async def test_a_stream_is_put_together_by_the_client(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model="small", input="Hi") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") == 2
    assert final.output_text == "Hello there."


async def test_a_call_of_a_function_and_its_result(client: openai.AsyncOpenAI, stub: Stub, speaks: str) -> None:
    first = await client.responses.create(model="small", input="Weather in Oslo?", tools=[WEATHER])
    (made,) = first.output
    assert isinstance(made, responses.ResponseFunctionToolCall)
    assert (made.name, json.loads(made.arguments)) == ("weather", {"city": "Oslo"})
    said: Any = [
        {"role": "user", "content": "Weather in Oslo?"},
        made,
        {"type": "function_call_output", "call_id": made.call_id, "output": "rain"},
    ]
    second = await client.responses.create(model="small", input=said, tools=[WEATHER])
    assert second.output_text == "Hello there."
    if speaks == "chat":
        told = stub.last.json["messages"]
        assert told[1]["tool_calls"][0]["id"] == told[2]["tool_call_id"] == made.call_id
        assert told[2]["content"] == "rain"


async def test_a_call_in_a_stream(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model="small", input="Weather?", tools=[WEATHER]) as stream:
        pieces = [event.delta async for event in stream if event.type == "response.function_call_arguments.delta"]
        final = await stream.get_final_response()
    made = final.output[0]
    assert isinstance(made, responses.ResponseFunctionToolCall)
    assert "".join(pieces) == made.arguments == '{"city":"Oslo"}'


async def test_structured_output_is_parsed_by_the_client(stub: Stub) -> None:
    stub.otherwise = provider
    async with (
        running_gateway(settings_for(stub)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        answer = await client.responses.parse(model="small", input="Oslo?", text_format=City)
    assert answer.output_parsed == City(city="Oslo", people=700000)
    asked = stub.last.json["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["name"] == "City"


async def test_the_client_that_waits(door: Gateway) -> None:
    def ask() -> tuple[str, str]:
        with openai.OpenAI(base_url=door.url, api_key=KEY, max_retries=0) as client:
            whole = client.responses.create(model="small", input="Hi").output_text
            events = client.responses.create(model="small", input="Hi", stream=True)
            return whole, "".join(one.delta for one in events if one.type == "response.output_text.delta")

    assert await asyncio.to_thread(ask) == ("Hello there.", "Hello there.")


async def test_errors_are_the_classes_that_the_client_has_for_them(client: openai.AsyncOpenAI, speaks: str) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        await client.responses.create(model="nobody-has-this", input="Hi")
    assert told.value.code == "model_not_found"
    if speaks == "chat":
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="small", input="Hi", previous_response_id="resp_1")
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        await client.responses.delete("resp_1")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("streams", [False, True])
async def test_an_agent_of_their_sdk_uses_its_tool(client: openai.AsyncOpenAI, *, streams: bool) -> None:
    import agents

    agents.set_tracing_disabled(disabled=True)
    asked = []

    @agents.function_tool
    def weather(city: str) -> str:
        asked.append(city)
        return "rain"

    model = agents.OpenAIResponsesModel(model="small", openai_client=client)
    agent = agents.Agent(name="helper", instructions="Help.", tools=[weather], model=model)
    if streams:
        running = agents.Runner.run_streamed(agent, "Weather in Oslo?")
        async for _ in running.stream_events():
            pass
        output = running.final_output
    else:
        output = (await agents.Runner.run(agent, "Weather in Oslo?")).final_output
    assert (asked, output) == (["Oslo"], "Hello there.")
