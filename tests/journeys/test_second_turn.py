"""Two turns at once on one conversation: by setting the second is refused, waits for the first, or ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub, chat, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("79")


@asynccontextmanager
async def set_to(stub: Stub, folder: Path, policy: str, **more: Any) -> AsyncIterator[Gateway]:
    settings = settings_for(stub, conversations={"second_turn": policy, **more})
    async with running_gateway(settings, folder) as running:
        yield running


async def say(gateway: Gateway, text: str, conversation: str = "", **headers: str) -> httpx.Response:
    body = {"model": "small", "message": text, "stream": text.startswith("Long")}
    named = {"conversation_id": conversation} if conversation else {}
    return await gateway.http.post("/c1/chat", json={**body, **named}, headers=headers)


async def begun(
    gateway: Gateway, stub: Stub, **headers: str
) -> tuple[str, "asyncio.Task[httpx.Response]", asyncio.Event]:
    """A conversation whose second turn is under way until the event; its first piece is on the way."""
    stub.answer(chat("Hello."))
    conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
    going = asyncio.Event()
    stub.answer(stream(stream_pieces(["a", "b"]), release=going))
    task = asyncio.create_task(say(gateway, "Long", conversation, **headers))
    await stub.wait_for_calls(2)
    return conversation, task, going


async def until_waiting(gateway: Gateway, count: int) -> None:
    """Until so many turns wait for the one under way."""
    async with asyncio.timeout(BOUND):
        while gateway.gate.deps.second_turn.waiting != count:
            await asyncio.sleep(0)


async def kept(gateway: Gateway, conversation: str) -> list[tuple[str, str]]:
    page = (await gateway.http.get(f"/c1/conversations/{conversation}/items")).json()
    assert [one["position"] for one in page["data"]] == list(range(1, len(page["data"]) + 1))
    return [("".join(part["text"] for part in one["content"]), one["status"]) for one in page["data"]]


async def test_it_is_refused_unless_something_else_is_set(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "reject") as gateway:
        conversation, first, going = await begun(gateway, stub)
        second = await say(gateway, "Now", conversation)
        wound = await gateway.http.post(f"/c1/conversations/{conversation}/rewind", json={"item": None})
        for answer in (second, wound):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conversation_busy")
        going.set()
        assert (await first).status_code == 200
        assert [text for text, _ in await kept(gateway, conversation)] == ["Hi", "Hello.", "Long", "ab"]


async def test_two_requests_of_one_id_are_two_turns_all_the_same(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "reject") as gateway:
        head = {"x-request-id": "mine"}
        conversation, first, going = await begun(gateway, stub, **head)
        assert (await say(gateway, "Now", conversation, **head)).status_code == 409
        going.set()
        await first


async def test_queued_turns_come_one_after_another_in_their_order(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "enqueue") as gateway:
        conversation, first, going = await begun(gateway, stub)
        for text in ("Second", "Third", "Fourth"):
            stub.answer(chat(f"Answer to {text}"))
        waiting = []
        for text in ("Second", "Third", "Fourth"):
            waiting.append(asyncio.create_task(say(gateway, text, conversation)))
            await until_waiting(gateway, len(waiting))
        assert len(stub.calls) == 2
        going.set()
        answers = [await one for one in (first, *waiting)]
        assert [answer.status_code for answer in answers] == [200] * 4
        told = ["Hi", "Hello.", "Long", "ab"]
        told += [one for text in ("Second", "Third", "Fourth") for one in (text, f"Answer to {text}")]
        assert [text for text, _ in await kept(gateway, conversation)] == told
        assert [one["content"] for one in stub.calls[-1].json["messages"]] == told[:-1]


async def test_a_queued_turn_waits_no_longer_than_is_set(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "enqueue", wait_seconds=0.2) as gateway:
        conversation, first, going = await begun(gateway, stub)
        waiting = [asyncio.create_task(say(gateway, text, conversation)) for text in ("Second", "Third")]
        for one in waiting:
            answer = await one
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conversation_busy")
        going.set()
        assert (await first).status_code == 200


async def test_a_caller_that_leaves_the_queue_takes_no_turn(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "enqueue") as gateway:
        conversation, first, going = await begun(gateway, stub)
        leaving = asyncio.create_task(say(gateway, "Second", conversation))
        await until_waiting(gateway, 1)
        leaving.cancel()
        await until_waiting(gateway, 0)
        going.set()
        await first
        stub.answer(chat("Here."))
        assert (await say(gateway, "Third", conversation)).status_code == 200
        assert [text for text, _ in await kept(gateway, conversation)][2:] == ["Long", "ab", "Third", "Here."]


async def test_an_interrupting_turn_ends_the_one_under_way_and_its_text_is_kept(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "interrupt") as gateway:
        stub.answer(chat("Hello."))
        conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
        going = asyncio.Event()
        role, partly, *rest_of_it = stream_pieces(["partly", "never"])
        stub.answer(stream([role + partly, *rest_of_it], release=going), chat("At once."))
        body = {"model": "small", "message": "Long", "stream": True, "conversation_id": conversation}
        async with gateway.http.stream("POST", "/c1/chat", json=body) as first:
            lines = first.aiter_lines()
            async for line in lines:
                if "partly" in line:
                    break
            second = await say(gateway, "Now", conversation)
            rest = [line async for line in lines]
        going.set()
        assert second.status_code == 200, second.text
        assert any("run_cancelled" in line for line in rest)
        assert "data: [DONE]" not in rest
        assert await kept(gateway, conversation) == [
            ("Hi", "completed"),
            ("Hello.", "completed"),
            ("Long", "completed"),
            ("partly", "incomplete"),
            ("Now", "completed"),
            ("At once.", "completed"),
        ]
        assert [one["content"] for one in stub.calls[-1].json["messages"]][2:] == ["Long", "partly", "Now"]


async def test_a_conversation_that_is_deleted_under_way_comes_not_back(stub: Stub, tmp_path: Path) -> None:
    async with set_to(stub, tmp_path, "reject") as gateway:
        conversation, first, going = await begun(gateway, stub)
        assert (await gateway.http.delete(f"/c1/conversations/{conversation}")).status_code == 200
        going.set()
        told = await first
        assert "conversation_not_found" in told.text
        assert "[DONE]" not in told.text
        assert (await gateway.http.get("/c1/conversations")).json()["items"] == []
        stub.answer(chat("New."))
        assert (await say(gateway, "Hi")).status_code == 200
