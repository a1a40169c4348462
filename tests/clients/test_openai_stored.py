"""OpenAI's own client for Python on stored responses and conversations: it works unchanged, waiting and not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.clients.answers import provider
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.responses import native
from tests.harness.stub import BOUND, Stub, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("156")


@pytest_asyncio.fixture(params=["chat", "responses"])
async def door(request: pytest.FixtureRequest, stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = provider if request.param == "chat" else native
    settings = settings_for(stub)
    settings["upstreams"][0]["speaks"] = [request.param]
    async with running_gateway(settings, tmp_path) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def client(door: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key=KEY, max_retries=0) as opened:
        yield opened


async def test_responses_are_chained_listed_and_deleted(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="small", input="One")
    second = await client.responses.create(model="small", input="Two", previous_response_id=first.id)
    assert (await client.responses.retrieve(second.id)).output_text == "Hello there."
    items = [item async for item in client.responses.input_items.list(second.id, order="asc", limit=2)]
    assert [item.role for item in items] == ["user", "assistant", "user"]  # type: ignore[union-attr]
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_a_stream_is_kept_and_streamed_again(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model="small", input="Hi") as told:
        events = [event async for event in told]
        final = await told.get_final_response()
    assert final.output_text == "Hello there."
    again = await client.responses.retrieve(final.id, stream=True)
    numbers = [event.sequence_number async for event in again]
    assert numbers == list(range(len(numbers)))
    rest = await client.responses.retrieve(final.id, stream=True, starting_after=3)
    assert [event.sequence_number async for event in rest] == numbers[4:]
    assert len(events) >= len(numbers)


async def test_one_in_the_background_is_polled_and_another_cancelled(
    client: openai.AsyncOpenAI, door: Gateway, stub: Stub
) -> None:
    queued = await client.responses.create(model="small", input="Hi", background=True)
    assert queued.status == "queued"
    async with asyncio.timeout(BOUND):
        while (shown := await client.responses.retrieve(queued.id)).status in ("queued", "in_progress"):
            await asyncio.sleep(0.02)
    assert shown.output_text == "Hello there."
    calls = len(stub.calls)
    if "chat" in door.gate.deps.upstreams["stub"].speaks:
        stub.answer(stream(stream_pieces(["a", "b"]), release=asyncio.Event()))
        long = await client.responses.create(model="small", input="Hi", background=True)
        await stub.wait_for_calls(calls + 1)
        assert (await client.responses.cancel(long.id)).status == "cancelled"


async def test_a_background_stream_goes_on_where_it_was_left(client: openai.AsyncOpenAI) -> None:
    events = await client.responses.create(model="small", input="Hi", background=True, stream=True)
    first = await anext(aiter(events))
    assert first.type == "response.created"
    await events.close()
    rest = await client.responses.retrieve(first.response.id, stream=True, starting_after=first.sequence_number)
    told = [event async for event in rest]
    assert [event.sequence_number for event in told] == list(range(1, len(told) + 1))
    assert told[-1].type == "response.completed"


async def test_conversations_hold_items_and_turns(client: openai.AsyncOpenAI) -> None:
    conversation = await client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "Before."}], metadata={"topic": "test"}
    )
    assert conversation.metadata == {"topic": "test"}
    answer = await client.responses.create(model="small", input="Hi", conversation=conversation.id)
    assert answer.conversation is not None
    assert answer.conversation.id == conversation.id
    items = [item async for item in client.conversations.items.list(conversation.id, order="asc", limit=2)]
    assert [item.role for item in items] == ["user", "user", "assistant"]  # type: ignore[union-attr]
    added = await client.conversations.items.create(
        conversation.id, items=[{"type": "message", "role": "user", "content": "After."}]
    )
    one = await client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)  # type: ignore[arg-type]
    assert "After." in one.model_dump_json()
    changed = await client.conversations.update(conversation.id, metadata={"topic": "other"})
    assert (await client.conversations.retrieve(conversation.id)).metadata == changed.metadata == {"topic": "other"}
    left = await client.conversations.items.delete(one.id, conversation_id=conversation.id)  # type: ignore[arg-type]
    assert (left.id, left.metadata) == (conversation.id, {"topic": "other"})
    with pytest.raises(openai.NotFoundError):
        await client.conversations.items.retrieve(one.id, conversation_id=conversation.id)  # type: ignore[arg-type]
    assert (await client.conversations.delete(conversation.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(conversation.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(answer.id)


async def test_the_client_that_waits(door: Gateway) -> None:
    def use() -> list[Any]:
        with openai.OpenAI(base_url=door.url, api_key=KEY, max_retries=0) as client:
            first = client.responses.create(model="small", input="One")
            second = client.responses.create(model="small", input="Two", previous_response_id=first.id, stream=True)
            text = "".join(event.delta for event in second if event.type == "response.output_text.delta")
            conversation = client.conversations.create()
            client.responses.create(model="small", input="Hi", conversation=conversation.id)
            count = len(list(client.conversations.items.list(conversation.id)))
            events = client.responses.create(model="small", input="Hi", background=True, stream=True)
            last = [event.type for event in events][-1]
            client.responses.delete(first.id)
            return [text, count, last]

    assert await asyncio.to_thread(use) == ["Hello there.", 2, "response.completed"]
