"""Conversations at `/c1`: a message at a time, listed, read, forked and taken away; nobody else's are there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, stream, stream_pieces
from tests.journeys.test_money import new_key
from tests.requirements import covers

both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
Fields = dict[str, Any]


def settings(stub: Stub) -> Fields:
    def upstream(name: str, provider: str) -> Fields:
        return {"name": name, "provider": provider, "base_url": stub.url, "api_key": "sk-upstream-0000000000000001"}

    targets = [{"upstream": "first", "model": "at-first"}, {"upstream": "second", "model": "at-second"}]
    here = [{"upstream": "first", "model": "named-local"}]
    return {
        "upstreams": [upstream("first", "openai_compatible"), upstream("second", "mistral")],
        "models": [
            {"name": "small", "targets": targets, "retries": 0, "fallbacks": ["small-local"]},
            {"name": "small-local", "targets": here, "retries": 0},
        ],
    }


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def say(caller: httpx.AsyncClient, message: Any, conversation: str = "", **fields: Any) -> httpx.Response:
    body = {"model": "small", "message": message, **fields}
    if conversation:
        body["conversation_id"] = conversation
    return await caller.post("/c1/chat", json=body)


async def talk(gateway: Gateway, stub: Stub, *texts: str, caller: httpx.AsyncClient | None = None) -> str:
    """A conversation in which this was said, and each time answered by `Answer to …`."""
    conversation = ""
    for text in texts:
        stub.answer(chat(f"Answer to {text}"))
        response = await say(caller or gateway.http, text, conversation)
        assert response.status_code == 200, response.text
        conversation = response.headers["x-conversation-id"]
    return conversation


async def items(gateway: Gateway, conversation: str, **asked: Any) -> Fields:
    answer = await gateway.http.get(f"/c1/conversations/{conversation}/items", params=asked)
    assert answer.status_code == 200, answer.text
    found: Fields = answer.json()
    return found


def texts(page: Fields) -> list[str]:
    return ["".join(part["text"] for part in one["content"]) for one in page["data"]]


def told(stub: Stub) -> list[str]:
    return [one["content"] for one in stub.calls[-1].json["messages"]]


@covers("74", "78")
@both_ways
async def test_the_second_message_is_told_with_the_first_and_its_answer(
    gateway: Gateway, stub: Stub, streamed: bool
) -> None:
    stub.answer(stream(stream_pieces(["Hel", "lo."])) if streamed else chat("Hello."))
    first = await say(gateway.http, "Hi", stream=streamed, temperature=0.5)
    assert stub.calls[-1].json["temperature"] == 0.5
    assert {"message", "conversation_id", "provider"}.isdisjoint(stub.calls[-1].json)
    conversation = first.headers["x-conversation-id"]
    if not streamed:
        assert first.json()["choices"][0]["message"]["content"] == "Hello."
    stub.answer(chat("Again."))
    parts = [{"type": "text", "text": "And now?"}]
    second = await say(gateway.http, parts, conversation)
    assert second.headers["x-conversation-id"] == conversation
    assert told(stub) == ["Hi", "Hello.", "And now?"]
    assert texts(await items(gateway, conversation)) == ["Hi", "Hello.", "And now?", "Again."]


@covers("74")
async def test_the_header_names_a_conversation_as_well(gateway: Gateway, stub: Stub) -> None:
    conversation = await talk(gateway, stub, "Hi")
    stub.answer(chat("Again."))
    body = {"model": "small", "message": "More"}
    answer = await gateway.http.post("/c1/chat", json=body, headers={"x-conversation-id": conversation})
    assert answer.headers["x-conversation-id"] == conversation
    assert told(stub) == ["Hi", "Answer to Hi", "More"]
    body["conversation_id"] = "conv_" + "0" * 32
    answer = await gateway.http.post("/c1/chat", json=body, headers={"x-conversation-id": conversation})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "conversation_id")


@covers("74")
async def test_results_of_the_callers_own_tools_are_sent_as_messages(gateway: Gateway, stub: Stub) -> None:
    conversation = await talk(gateway, stub, "Hi")
    stub.answer(chat("Seen."))
    results = [{"role": "tool", "tool_call_id": f"call_{number}", "content": str(number)} for number in (1, 2)]
    await say(gateway.http, results, conversation)
    assert stub.calls[-1].json["messages"][2:] == results


@covers("74")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "small"}, "message"),
        ({"message": "Hi"}, "model"),
        ({"model": "small", "message": ""}, "message"),
        ({"model": "small", "message": []}, "message"),
        ({"model": "small", "message": 7}, "message"),
        ({"model": "small", "message": [{"role": "user", "content": 7}]}, "message[0].content"),
        ({"model": "small", "message": "Hi", "messages": []}, "messages"),
        ({"model": "small", "message": "Hi", "conversation_id": "mine"}, "conversation_id"),
        ({"model": "small", "message": "Hi", "conversation_id": 7}, "conversation_id"),
        ({"model": "small", "message": "Hi", "provider": {"order": []}}, "provider"),
    ],
)
async def test_a_wrong_field_is_named(gateway: Gateway, stub: Stub, fields: Fields, param: str) -> None:
    answer = await gateway.http.post("/c1/chat", json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert stub.calls == []


@covers("76")
@pytest.mark.parametrize(
    ("provider", "model"),
    [("first", "at-first"), ("second", "at-second"), ("mistral", "at-second"), ("local", "named-local")],
)
async def test_provider_chooses_the_target_of_an_upstream_a_provider_or_a_model_of_that_ending(
    gateway: Gateway, stub: Stub, provider: str, model: str
) -> None:
    stub.answer(chat("Hello."))
    assert (await say(gateway.http, "Hi", provider=provider)).status_code == 200
    assert stub.calls[-1].json["model"] == model


@covers("76")
async def test_a_provider_that_the_model_does_not_have_is_400_and_nothing_is_kept(gateway: Gateway, stub: Stub) -> None:
    answer = await say(gateway.http, "Hi", provider="elsewhere")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "provider")
    assert stub.calls == []
    await nothing_is_kept(gateway, answer)


async def nothing_is_kept(gateway: Gateway, answer: httpx.Response) -> None:
    assert "x-conversation-id" not in answer.headers
    assert (await gateway.http.get("/c1/conversations")).json()["items"] == []


@covers("74", "78")
@both_ways
async def test_a_first_message_that_fails_leaves_no_conversation(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(*[Answer(status=500)] * 3)
    answer = await say(gateway.http, "Hi", stream=streamed)
    assert answer.status_code >= 500
    await nothing_is_kept(gateway, answer)


@covers("76")
async def test_no_other_provider_answers_where_the_one_that_was_chosen_fails(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=503))
    assert (await say(gateway.http, "Hi", provider="first")).status_code >= 500
    assert [call.json["model"] for call in stub.calls] == ["at-first"]


@covers("75")
async def test_conversations_are_listed_the_one_used_last_first(gateway: Gateway, stub: Stub) -> None:
    made = [await talk(gateway, stub, f"About {what}") for what in ("apples", "pears", "plums")]
    await gateway.http.post("/c1/chat", json={"model": "small", "message": "More", "conversation_id": made[0]})
    listed = (await gateway.http.get("/c1/conversations")).json()
    assert [one["id"] for one in listed["items"]] == [made[0], made[2], made[1]]
    first = listed["items"][0]
    assert (first["title"], first["message_count"], first["model"], first["agent"]) == (
        "About apples",
        4,
        "small",
        None,
    )
    assert first["created_at"] <= first["last_used_at"]
    found = (await gateway.http.get("/c1/conversations", params={"q": "PEARS"})).json()["items"]
    assert [one["id"] for one in found] == [made[1]]


@covers("75")
@pytest.mark.parametrize("by", ["cursor", "offset"])
async def test_the_list_comes_page_by_page(gateway: Gateway, stub: Stub, by: str) -> None:
    made = [await talk(gateway, stub, f"Number {number}") for number in range(5)]
    seen: list[str] = []
    place: Fields = {}
    while True:
        page = (await gateway.http.get("/c1/conversations", params={"limit": 2, **place})).json()
        seen += [one["id"] for one in page["items"]]
        if not page["has_more"]:
            break
        place = {"cursor": page["next_cursor"]} if by == "cursor" else {"offset": len(seen)}
    assert seen == made[::-1]


@covers("75")
@pytest.mark.parametrize(
    ("asked", "param"),
    [({"limit": 0}, "limit"), ({"limit": 1000}, "limit"), ({"offset": -1}, "offset"), ({"cursor": "x"}, "cursor")],
)
async def test_a_page_that_cannot_be_is_refused(gateway: Gateway, asked: Fields, param: str) -> None:
    answer = await gateway.http.get("/c1/conversations", params=asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@covers("75")
async def test_a_title_and_metadata_are_changed_and_the_rest_stays(gateway: Gateway, stub: Stub) -> None:
    one = f"/c1/conversations/{await talk(gateway, stub, 'Hi')}"
    changed = (await gateway.http.patch(one, json={"title": "Greetings"})).json()
    assert (changed["title"], changed["metadata"], changed["message_count"]) == ("Greetings", {}, 2)
    changed = (await gateway.http.patch(one, json={"metadata": {"a": 1}})).json()
    assert (changed["title"], changed["metadata"]) == ("Greetings", {"a": 1})
    assert (await gateway.http.get(one)).json() == changed
    for wrong, param in ({"title": 7}, "title"), ({"metadata": []}, "metadata"), ({"agent": "x"}, "agent"):
        answer = await gateway.http.patch(one, json=wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@covers("75")
async def test_a_deleted_conversation_is_404(gateway: Gateway, stub: Stub) -> None:
    conversation = await talk(gateway, stub, "Hi")
    one = f"/c1/conversations/{conversation}"
    assert (await gateway.http.delete(one)).json()["deleted"] is True
    for answer in (
        await gateway.http.get(one),
        await gateway.http.delete(one),
        await say(gateway.http, "?", conversation),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "conversation_not_found")
    assert (await gateway.http.get("/c1/conversations")).json()["items"] == []


@covers("77")
async def test_what_belongs_to_another_user_or_tenant_is_not_there(gateway: Gateway, stub: Stub) -> None:
    await gateway.http.post("/admin/tenants", json={"id": "blue"})
    ann, bob, blue = [
        await new_key(gateway, user="ann"),
        await new_key(gateway, user="bob"),
        await new_key(gateway, tenant="blue", user="ann"),
    ]
    async with ann, bob, blue:
        mine = await talk(gateway, stub, "Mine", caller=ann)
        item = (await ann.get(f"/c1/conversations/{mine}/items")).json()["data"][0]["id"]
        one = f"/c1/conversations/{mine}"
        for other in (bob, blue, gateway.http):
            assert (await other.get("/c1/conversations")).json()["items"] == []
            answers = [
                await other.get(one),
                await other.patch(one, json={"title": "Theirs"}),
                await other.delete(one),
                await other.get(f"{one}/items"),
                await other.post(f"{one}/fork", json={"item": item}),
                await other.post(f"{one}/rewind", json={"item": item}),
                await other.get(f"{one}/lineage"),
                await other.get(f"{one}/diff"),
                await say(other, "Let me in", mine),
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert all("Mine" not in answer.text for answer in answers)
        gateway.http.headers["x-user-id"] = "ann"  # an operator on her behalf
        assert (await gateway.http.get(one)).json()["title"] == "Mine"


@covers("74", "75")
async def test_without_a_data_directory_it_is_said_that_nothing_is_kept(stub: Stub) -> None:
    async with running_gateway(settings(stub)) as gateway:
        for answer in (await say(gateway.http, "Hi"), await gateway.http.get("/c1/conversations")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "state_unavailable")
