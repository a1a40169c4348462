"""The official Python SDK, sync and async, unchanged but for its base URL and key."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from operator import attrgetter
from typing import Any

import openai
import pydantic
import pytest

from tests.clients.answers import AUDIO, CALL, CITY, LOGPROB, VECTOR, provider
from tests.harness.gateway import KEY, Gateway
from tests.harness.stub import Answer, Stub, chunk, stream
from tests.requirements import covers

pytestmark = covers("clients")
HI: Any = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {"strict": True, "parameters": {**PARAMETERS, "additionalProperties": False}}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", **STRICT}}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


class City(pydantic.BaseModel):
    city: str
    people: int


class Sdk:
    """One of the SDK's clients; a sync one is called in a thread."""

    def __init__(self, client: openai.OpenAI | openai.AsyncOpenAI) -> None:
        self.client = client

    async def call(self, name: str, /, **fields: Any) -> Any:
        function = attrgetter(name)(self.client)
        if isinstance(self.client, openai.OpenAI):
            return await asyncio.to_thread(lambda: _listed(function(**fields)))
        answer = function(**fields)
        answer = await answer if inspect.isawaitable(answer) else answer
        return [one async for one in answer] if isinstance(answer, openai.AsyncStream) else answer

    async def chat(self, **fields: Any) -> Any:
        return await self.call("chat.completions.create", **{"model": "small", "messages": HI, **fields})


def _listed(answer: Any) -> Any:
    return list(answer) if isinstance(answer, openai.Stream) else answer


@pytest.fixture(params=["async", "sync"])
async def sdk(request: pytest.FixtureRequest, gateway: Gateway, stub: Stub) -> AsyncIterator[Sdk]:
    stub.otherwise = provider
    options: Any = {"base_url": f"{gateway.url}/v1", "api_key": KEY, "max_retries": 0, "timeout": 10}
    if request.param == "sync":
        with openai.OpenAI(**options) as client:
            yield Sdk(client)
    else:
        async with openai.AsyncOpenAI(**options) as async_client:
            yield Sdk(async_client)


def other(sdk: Sdk, **options: Any) -> Sdk:
    return Sdk(sdk.client.with_options(**options))


def text_of(chunks: list[Any]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


async def test_a_chat_is_answered_under_our_name_with_and_without_v1(sdk: Sdk, gateway: Gateway) -> None:
    for one in (sdk, other(sdk, base_url=gateway.url)):
        answer = await one.chat()
        assert answer.choices[0].message.content == "Hello there."
        assert (answer.model, answer.usage.total_tokens) == ("small", 10)


async def test_a_stream_is_assembled_and_has_usage_only_when_asked(sdk: Sdk) -> None:
    plain = await sdk.chat(stream=True)
    assert text_of(plain) == "Hello there."
    assert all(one.usage is None and one.choices for one in plain)
    told = await sdk.chat(stream=True, stream_options={"include_usage": True})
    assert (told[-1].choices, told[-1].usage.total_tokens) == ([], 10)
    assert {one.model for one in told} == {"small"}


async def test_tools_are_called_and_their_results_answered(sdk: Sdk) -> None:
    message = (await sdk.chat(tools=TOOLS)).choices[0].message
    assert message.tool_calls[0].function.arguments == CALL["function"]["arguments"]
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Rain."}
    answer = await sdk.chat(tools=TOOLS, messages=[*HI, message, result])
    assert answer.choices[0].message.content == "Hello there."


async def test_streamed_tool_calls_are_assembled(gateway: Gateway, stub: Stub) -> None:
    stub.otherwise = provider
    async with (
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client,
        client.chat.completions.stream(model="small", messages=HI, tools=TOOLS) as events,
    ):
        final = (await events.get_final_completion()).choices[0]
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    assert final.message.tool_calls[0].function.arguments == CALL["function"]["arguments"]


async def test_structured_output_is_parsed(sdk: Sdk, stub: Stub) -> None:
    answer = await sdk.call("chat.completions.parse", model="small", messages=HI, response_format=City)
    assert answer.choices[0].message.parsed == City(city="Oslo", people=700_000)
    sent = stub.last.json["response_format"]
    assert (sent["type"], sent["json_schema"]["strict"]) == ("json_schema", True)


async def test_json_mode_logprobs_and_image_parts_pass(sdk: Sdk, stub: Stub) -> None:
    answer = await sdk.chat(response_format={"type": "json_object"})
    assert answer.choices[0].message.content == CITY
    answer = await sdk.chat(logprobs=True, top_logprobs=0)
    assert answer.choices[0].logprobs.content[0].model_dump() == LOGPROB
    await sdk.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}])
    assert stub.last.json["messages"][0]["content"][1] == IMAGE


@pytest.mark.parametrize(
    ("given", "count"), [("Hi", 1), (["Hi", "there"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)], ids=str
)
@pytest.mark.parametrize("form", [None, "float", "base64"])
async def test_embeddings_in_every_form(sdk: Sdk, stub: Stub, given: Any, count: int, form: str | None) -> None:
    options = {"encoding_format": form} if form else {}
    answer = await sdk.call("embeddings.create", model="small", input=given, **options)
    assert stub.last.json == {"input": given, "model": "stub-small", "encoding_format": form or "base64"}
    assert len(answer.data) == count
    assert isinstance(answer.data[0].embedding, str) if form == "base64" else tuple(answer.data[0].embedding) == VECTOR
    assert (answer.model, answer.usage.prompt_tokens) == ("small", 4)


async def test_completions_and_moderations(sdk: Sdk) -> None:
    whole = await sdk.call("completions.create", model="small", prompt="Once")
    chunks = await sdk.call("completions.create", model="small", prompt="Once", stream=True)
    assert whole.choices[0].text == chunks[0].choices[0].text == "Once more."
    assert (await sdk.call("moderations.create", model="small", input="Bad.")).results[0].flagged


async def test_speech_transcriptions_and_images(sdk: Sdk, stub: Stub) -> None:
    speech = await sdk.call("audio.speech.create", model="small", voice="alloy", input="Hello.")
    assert speech.content == AUDIO
    heard = await sdk.call("audio.transcriptions.create", model="small", file=("a.mp3", AUDIO))
    assert heard.text == "Hello from afar."
    assert AUDIO in stub.last.body
    assert b"stub-small" in stub.last.body
    assert (await sdk.call("images.generate", model="small", prompt="A gate.")).data[0].b64_json == "AAAA"


async def test_models_are_listed_and_one_with_a_slash_is_found(sdk: Sdk, gateway: Gateway) -> None:
    listed = await sdk.call("models.list")
    assert [one.id for one in listed.data] == ["small"]
    assert (await sdk.call("models.retrieve", model="small")).id == "small"
    with pytest.raises(openai.NotFoundError) as told:
        await sdk.call("models.retrieve", model="stub/none")
    assert told.value.code == "model_not_found"
    assert "stub/none" in str(told.value)


async def test_request_ids_are_those_of_the_log(sdk: Sdk, gateway: Gateway) -> None:
    answer = await sdk.chat()
    line = (await gateway.wait_for_lines(1))[0]
    assert answer._request_id == line["request_id"]


async def test_mistakes_of_the_caller_raise_the_sdks_own_errors(sdk: Sdk) -> None:
    with pytest.raises(openai.AuthenticationError) as wrong_key:
        await other(sdk, api_key="sk-wrong").chat()
    assert wrong_key.value.code == "invalid_authorization"
    assert wrong_key.value.request_id
    with pytest.raises(openai.NotFoundError) as no_model:
        await sdk.chat(model="none")
    assert (no_model.value.code, no_model.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad_field:
        await sdk.chat(temperature="hot")
    assert (bad_field.value.code, bad_field.value.param) == ("invalid_field", "temperature")


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, openai.BadRequestError, 400),
        (401, openai.InternalServerError, 502),
        (404, openai.NotFoundError, 404),
        (409, openai.ConflictError, 409),
        (422, openai.UnprocessableEntityError, 422),
        (429, openai.RateLimitError, 429),
        (500, openai.InternalServerError, 502),
        (503, openai.InternalServerError, 503),
        (504, openai.InternalServerError, 504),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_failures_of_the_provider_raise_the_sdks_own_errors(
    sdk: Sdk, stub: Stub, status: int, kind: type[openai.APIStatusError], expected: int, streams: bool
) -> None:
    stub.answer(Answer(status, b'{"error":{"message":"No.","param":"seed"}}', headers={"retry-after": "7"}))
    with pytest.raises(kind) as told:
        await sdk.chat(stream=streams)
    assert (told.value.status_code, told.value.param) == (expected, "seed")
    assert told.value.response.headers.get("retry-after") == ("7" if status in (429, 503) else None)


async def test_an_error_in_the_middle_of_a_stream_is_raised(sdk: Sdk, stub: Stub) -> None:
    stub.answer(stream([chunk({"role": "assistant", "content": "a"})], cut_after=10_000, framing="close"))
    with pytest.raises(openai.APIError, match="ended its stream"):
        await sdk.chat(stream=True)


def hanging(stub: Stub) -> None:
    stub.answer(stream([chunk({"role": "assistant", "content": "a"})], hang=True))


@pytest.mark.parametrize("leaving", ["close", "break", "drop"])
async def test_leaving_a_sync_stream_closes_the_providers(gateway: Gateway, stub: Stub, leaving: str) -> None:
    def leave() -> None:
        with openai.OpenAI(base_url=gateway.url, api_key=KEY) as client:
            answer = client.chat.completions.create(model="small", messages=HI, stream=True)
            if leaving == "break":
                with answer:
                    for _ in answer:
                        break
            else:
                next(iter(answer))
            if leaving == "close":
                answer.close()

    hanging(stub)
    await asyncio.to_thread(leave)
    await asyncio.wait_for(stub.last.left.wait(), 1)


@pytest.mark.parametrize("leaving", ["close", "break", "cancel"])
async def test_leaving_an_async_stream_closes_the_providers(gateway: Gateway, stub: Stub, leaving: str) -> None:
    hanging(stub)
    came = asyncio.Event()
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key=KEY) as client:
        answer = await client.chat.completions.create(model="small", messages=HI, stream=True)

        async def read() -> None:
            async with answer, aclosing(aiter(answer)) as chunks:  # type: ignore[type-var]
                async for _ in chunks:
                    came.set()
                    if leaving == "break":
                        break

        reading = asyncio.create_task(read())
        await came.wait()
        if leaving == "close":
            await answer.close()
        elif leaving == "cancel":
            reading.cancel()
        await asyncio.wait_for(stub.last.left.wait(), 1)
        reading.cancel()
        await asyncio.wait([reading])
    lines = await gateway.wait_for_lines(1)
    assert lines[0]["outcome"] == "disconnected"


async def test_fifty_calls_at_once_are_all_answered(gateway: Gateway, stub: Stub) -> None:
    stub.otherwise = provider
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
        calls = [client.chat.completions.create(model="small", messages=HI, user=str(number)) for number in range(50)]
        answers = await asyncio.gather(*calls)
    assert len(answers) == 50
    assert sorted(call.json["user"] for call in stub.calls) == sorted(map(str, range(50)))
    assert len({answer._request_id for answer in answers}) == 50
