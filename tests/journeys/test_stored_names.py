"""What is stored is named by ids: items that a request refers to, and segments of conversations at every door."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from headgate.conversations.types import Owner
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_sessions import SESSIONS, session, settings
from tests.requirements import covers

OWNER = Owner("default", "")
NOBODYS = "msg_" + "0" * 32


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def respond(gateway: Gateway, given: Any, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"model": "small", "input": given, **fields}
    return await gateway.http.post("/v1/responses", json=body, headers=headers)


def referring(id_: str) -> dict[str, str]:
    return {"type": "item_reference", "id": id_}


def told(stub: Stub) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in stub.last.json["messages"]]


@covers("156")
async def test_a_stored_item_is_named_in_the_place_of_itself(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("The code is 4711."), chat("Yes."))
    [said] = (await respond(gateway, "Which code?")).json()["output"]
    question = {"type": "message", "role": "user", "content": "Is that so?"}
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{gateway.port}/v1") as client:
        second = await client.responses.create(model="small", input=[referring(said["id"]), question])  # type: ignore[list-item]
    assert second.output_text == "Yes."
    assert told(stub) == [("assistant", "The code is 4711."), ("user", "Is that so?")]
    listed = (await gateway.http.get(f"/v1/responses/{second.id}/input_items", params={"order": "asc"})).json()["data"]
    assert [one["role"] for one in listed] == ["assistant", "user"]
    stub.answer(chat("As I said."))
    again = [{"id": said["id"]}, referring(said["id"]), {"role": "user", "content": "Really?"}]
    response = await respond(gateway, again, previous_response_id=second.id)
    assert response.status_code == 200, response.text
    assert [text for _, text in told(stub)] == ["The code is 4711.", "Is that so?", "Yes.", "Really?"]


@covers("156", "77")
@pytest.mark.parametrize("whose", ["nobody's", "another user's"])
async def test_an_unknown_item_and_a_foreign_one_are_404(gateway: Gateway, stub: Stub, whose: str) -> None:
    stub.answer(chat("Secret."))
    [said] = (await respond(gateway, "Hi", headers={"x-user-id": "somebody else"})).json()["output"]
    id_ = said["id"] if whose == "another user's" else NOBODYS
    response = await respond(gateway, ["ignored", referring(id_)][1:])
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "item_not_found", "input[0]")
    assert id_ in error["message"]
    assert len(stub.calls) == 1
    made = await gateway.http.post("/v1/conversations", json={"items": [referring(id_)]})
    assert (made.status_code, made.json()["error"]["param"]) == (404, "items[0]")


@covers("156")
async def test_items_of_conversations_can_be_referred_to_as_well(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("The code is 4711."))
    [said] = (await respond(gateway, "Which code?")).json()["output"]
    made = await gateway.http.post("/v1/conversations", json={"items": [referring(said["id"])]})
    id_ = made.json()["id"]
    await gateway.http.post(f"/v1/conversations/{id_}/items", json={"items": [referring(said["id"])]})
    data = (await gateway.http.get(f"/v1/conversations/{id_}/items")).json()["data"]
    assert [one["content"][0]["text"] for one in data] == ["The code is 4711."] * 2


@covers("156")
async def test_where_nothing_is_stored_a_reference_is_refused(gateway: Gateway, stub: Stub) -> None:
    response = await respond(gateway, [referring(NOBODYS)], store=False)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input[0]")


async def members(gateway: Gateway, stub: Stub, conversation: str = "") -> tuple[str, list[str]]:
    """A conversation with something in it, and the ids of its segments, of which the last is the live one."""
    stub.answer(chat("Hello."))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"x-conversation-id": conversation}
    answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    id_, state = answer.headers["x-conversation-id"], gateway.gate.deps.state
    assert state is not None
    head = await state.heads.get(id_, OWNER)
    for _ in range(2):
        head = await state.heads.rewind(head, head.depth)
    return id_, [one.id for one in await state.heads.lineage(head)]


@covers("89", "80")
@pytest.mark.parametrize("door", ["chat", "c1 header", "c1 field", "messages", "responses", "responses header"])
async def test_a_turn_sent_to_a_segment_lands_on_the_live_conversation(gateway: Gateway, stub: Stub, door: str) -> None:
    conversation, segments = await members(gateway, stub)
    for segment in segments:
        stub.answer(chat("Here."))
        header = {"x-conversation-id": segment}
        body: dict[str, Any] = {"model": "small"}
        asked = [{"role": "user", "content": "And?"}]
        if door == "chat":
            path, body = "/v1/chat/completions", {**body, "messages": asked}
        elif door == "messages":
            path, body = "/v1/messages", {**body, "messages": asked, "max_tokens": 9}
        elif door.startswith("c1"):
            path, body = "/c1/chat", {**body, "message": "And?"}
        else:
            path, body = "/v1/responses", {**body, "input": "And?"}
        if door.endswith("field"):
            body["conversation_id"], header = segment, {}
        elif door == "responses":
            body["conversation"], header = segment, {}
        response = await gateway.http.post(path, json=body, headers=header)
        assert response.status_code == 200, response.text
        assert response.headers["x-conversation-id"] == conversation
        assert told(stub)[:2] == [("user", "Hi"), ("assistant", "Hello.")]


@covers("89", "77")
@pytest.mark.parametrize("whose", ["nobody's", "another user's"])
async def test_an_unknown_segment_and_a_foreign_one_are_404(gateway: Gateway, stub: Stub, whose: str) -> None:
    _, segments = await members(gateway, stub)
    id_ = segments[0] if whose == "another user's" else "seg_" + "0" * 32
    headers = {"x-conversation-id": id_, "x-user-id": "somebody else"}
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "conversation_not_found")
    assert len(stub.calls) == 1


@covers("89")
async def test_a_sessions_segment_and_a_conversations_answer_308(gateway: Gateway, stub: Stub) -> None:
    id_ = await session(gateway.http)
    state = gateway.gate.deps.state
    assert state is not None
    segment = (await state.heads.get(id_, OWNER)).segment
    stub.answer(chat("Hello."))
    moved = await gateway.http.post(f"{SESSIONS}/{segment}/messages", json={"message": "Hi"}, follow_redirects=True)
    assert moved.headers["x-conversation-id"] == id_
    assert [one.status_code for one in moved.history] == [308]
    shown = await gateway.http.get(f"/v1/conversations/{segment}", follow_redirects=True)
    assert (shown.json()["id"], [one.status_code for one in shown.history]) == (id_, [308])
