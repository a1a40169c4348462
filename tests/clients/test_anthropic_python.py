"""The official Python SDK of Anthropic, unchanged but for its base URL and key, over either kind of provider."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import pytest
import pytest_asyncio
from pydantic import BaseModel

from tests.clients import answers
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.messages import CALL, TEXT, THINKING, message, messages_stream, native, settings
from tests.harness.stub import DONE, USAGE, Answer, Recorded, Stub, chat, chunk, stream
from tests.requirements import covers

pytestmark = covers("157", "clients")
HI: Any = [{"role": "user", "content": "Hi"}]
TOOL: Any = {
    "name": "weather",
    "description": "W",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
either = pytest.mark.parametrize("model", ["opus", "small"], ids=["native", "chat"])
CITY = '{"city":"Oslo","people":700000}'


class City(BaseModel):
    city: str
    people: int


def answering(request: Recorded) -> Answer:
    """A provider for both kinds of call, that calls the tool it is offered until it has a result."""
    if not request.path.endswith("/messages"):
        return answers.provider(request) if request.path.endswith("/chat/completions") else native(request)
    asked = request.json
    wants = bool(asked.get("tools")) and "tool_result" not in json.dumps(asked["messages"])
    text = {"type": "text", "text": CITY} if "output_config" in asked else TEXT
    content = (THINKING, CALL) if wants else (THINKING, text) if "thinking" in asked else (text,)
    stop = "tool_use" if wants else "end_turn"
    return messages_stream(*content, stop=stop) if asked.get("stream") else message(*content, stop=stop)


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    """Model `opus` is at a provider that speaks Messages, `small` at one that speaks chat completions."""
    stub.otherwise = answering
    made, other = settings(stub.url), settings_for(stub)
    made = {name: made[name] + other[name] for name in made}
    async with running_gateway(made) as running:
        yield running


@pytest_asyncio.fixture
async def client(gateway: Gateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as opened:
        yield opened


async def in_thread(gateway: Gateway, use: Callable[[anthropic.Anthropic], Any]) -> Any:
    """What the sync client gives, used in a thread of its own."""

    def work() -> Any:
        with anthropic.Anthropic(base_url=gateway.url, auth_token=KEY, api_key=None, max_retries=0) as client:
            return use(client)

    return await asyncio.to_thread(work)


@either
async def test_a_message_is_answered(client: anthropic.AsyncAnthropic, gateway: Gateway, model: str) -> None:
    told = await client.messages.create(model=model, max_tokens=100, messages=HI)
    assert (told.model, told.stop_reason, told.usage.output_tokens) == (model, "end_turn", 5 if model == "opus" else 3)
    assert [block.to_dict()["text"] for block in told.content] == ["Hello there."]
    assert told._request_id == (await gateway.wait_for_lines(1))[0]["request_id"]


@either
async def test_the_sync_client_works_alike(gateway: Gateway, model: str) -> None:
    def use(client: anthropic.Anthropic) -> tuple[str, str]:
        told = client.messages.create(model=model, max_tokens=100, messages=HI)
        with client.messages.stream(model=model, max_tokens=100, messages=HI) as events:
            return told.content[0].to_dict()["text"], events.get_final_text()  # type: ignore[return-value]

    assert await in_thread(gateway, use) == ("Hello there.", "Hello there.")


@either
async def test_a_stream_is_assembled_with_its_usage(client: anthropic.AsyncAnthropic, model: str) -> None:
    async with client.messages.stream(model=model, max_tokens=100, messages=HI) as events:
        text = "".join([piece async for piece in events.text_stream])
        told = await events.get_final_message()
    assert text == "Hello there."
    assert (told.model, told.stop_reason) == (model, "end_turn")
    usage = told.usage
    assert (usage.input_tokens, usage.output_tokens) == (7, 5 if model == "opus" else 3)
    assert usage.cache_read_input_tokens == (100 if model == "opus" else 0)


@either
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_answered(
    client: anthropic.AsyncAnthropic, model: str, streamed: bool
) -> None:
    async def ask(messages: Any) -> Any:
        fields: Any = {"model": model, "max_tokens": 100, "messages": messages, "tools": [TOOL]}
        if not streamed:
            return await client.messages.create(**fields)
        async with client.messages.stream(**fields) as events:
            return await events.get_final_message()

    told = await ask(HI)
    assert told.stop_reason == "tool_use"
    (call,) = [block for block in told.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("weather", {"city": "Berlin" if model == "opus" else "Oslo"})
    if streamed and model == "small":
        return  # the scripted chat provider goes on calling in streams
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain"}
    back = [*HI, {"role": "assistant", "content": told.content}, {"role": "user", "content": [result]}]
    assert (await ask(back)).content[-1].text == "Hello there."


async def test_the_runner_of_tools_goes_round_over_a_chat_provider(
    client: anthropic.AsyncAnthropic, stub: Stub
) -> None:
    @anthropic.beta_async_tool
    async def weather(city: str) -> str:
        """The weather.

        Args:
            city: Where.
        """
        return f"Rain in {city}"

    runner = client.beta.messages.tool_runner(model="small", max_tokens=100, messages=HI, tools=[weather])
    told = await runner.until_done()
    assert told.content[0].to_dict()["text"] == "Hello there."
    assert stub.last.json["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "Rain in Oslo"}


@either
async def test_thinking_has_blocks_of_its_own(client: anthropic.AsyncAnthropic, stub: Stub, model: str) -> None:
    if model == "small":
        thought = [chunk({"role": "assistant", "reasoning_content": "Let me "}), chunk({"reasoning_content": "see."})]
        stub.answer(stream([*thought, chunk({"content": "Hello there."}), chunk({}, "stop"), chunk(usage=USAGE), DONE]))
    fields: Any = {"model": model, "max_tokens": 4096, "messages": HI}
    fields["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    thoughts, signed = "", 0
    async with client.messages.stream(**fields) as events:
        async for event in events:
            thoughts += event.thinking if event.type == "thinking" else ""
            signed += event.type == "signature"
        told = await events.get_final_message()
    assert [block.type for block in told.content] == ["thinking", "text"]
    assert thoughts == told.content[0].thinking == "Let me see."  # type: ignore[union-attr]
    assert signed == (model == "opus")


@either
async def test_an_answer_has_the_form_that_was_asked_for(client: anthropic.AsyncAnthropic, model: str) -> None:
    told = await client.messages.parse(model=model, max_tokens=100, messages=HI, output_format=City)
    assert told.parsed_output == City(city="Oslo", people=700000)


@either
async def test_tokens_are_counted_and_models_listed(client: anthropic.AsyncAnthropic, model: str) -> None:
    counted = await client.messages.count_tokens(model=model, messages=HI, system="Be brief.")
    assert counted.input_tokens == 42 if model == "opus" else 0 < counted.input_tokens < 20
    assert model in [one.id async for one in client.models.list()]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, b'{"error":{"message":"no"}}'), anthropic.BadRequestError),
        (Answer(404, b"{}"), anthropic.NotFoundError),
        (Answer(429, b"{}"), anthropic.RateLimitError),
        (Answer(503, b"{}"), anthropic.APIStatusError),
    ],
)
@either
async def test_errors_are_the_clients_own(
    client: anthropic.AsyncAnthropic, stub: Stub, answer: Answer, kind: type[anthropic.APIStatusError], model: str
) -> None:
    stub.answer(answer)
    with pytest.raises(kind) as told:
        await client.messages.create(model=model, max_tokens=100, messages=HI)
    assert told.value.request_id
    assert told.value.status_code == (529 if answer.status == 503 else answer.status)


@either
async def test_a_stream_that_breaks_raises(client: anthropic.AsyncAnthropic, stub: Stub, model: str) -> None:
    whole = messages_stream() if model == "opus" else stream([chunk({"content": "Hel"}), chunk({"content": "lo"})])
    whole.pieces = (whole.pieces or [])[:5]
    stub.answer(whole)
    with pytest.raises(anthropic.APIStatusError, match=r"broke|middle|ended"):
        async with client.messages.stream(model=model, max_tokens=100, messages=HI) as events:
            await events.get_final_message()


async def test_a_wrong_key_is_an_authentication_error(gateway: Gateway) -> None:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="sk-wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError):
            await stranger.messages.create(model="small", max_tokens=9, messages=HI)


async def test_pictures_and_documents_reach_a_chat_provider(client: anthropic.AsyncAnthropic, stub: Stub) -> None:
    stub.answer(chat())
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    paper: Any = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}}
    await client.messages.create(model="small", max_tokens=9, messages=[{"role": "user", "content": [picture, paper]}])
    parts = stub.last.json["messages"][0]["content"]
    assert parts[0] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert parts[1]["file"]["file_data"] == "data:application/pdf;base64,BBBB"
