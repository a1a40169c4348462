"""An agent's sessions: made, listed, read, told and gone on with, also after a restart; conversations at all doors."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_money import new_key
from tests.requirements import covers

both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
AGENT = "/a1/agents/home/lights"
SESSIONS = f"{AGENT}/sessions"


def settings(stub: Stub) -> dict[str, Any]:
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}],
        "agents": [
            {"name": "home/lights", "model": "small", "system_prompt": "Turn lights on.", "tools": ["calculator"]},
            {"name": "other", "model": "small"},
            {"name": "any", "model": "inherit"},
        ],
    }


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def session(caller: httpx.AsyncClient, **fields: Any) -> str:
    answer = await caller.post(SESSIONS, json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def say(caller: httpx.AsyncClient, id_: str, message: Any, **fields: Any) -> httpx.Response:
    return await caller.post(f"{SESSIONS}/{id_}/messages", json={"message": message, **fields})


async def history(caller: httpx.AsyncClient, id_: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await caller.get(f"{SESSIONS}/{id_}/messages")).json()["data"]
    return found


def words(items: list[dict[str, Any]]) -> list[str]:
    return ["".join(part["text"] for part in one["content"]) for one in items if one["type"] == "message"]


def told(stub: Stub) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in stub.calls[-1].json["messages"]]


@covers("84", "85")
@both_ways
async def test_a_session_is_made_talked_in_read_and_taken_away(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    answer = await gateway.http.post(SESSIONS, json={"metadata": {"room": "hall"}})
    made = answer.json()
    assert (answer.status_code, made["object"], made["agent"], made["message_count"]) == (
        201,
        "session",
        "home/lights",
        0,
    )
    for text in ("Hall on", "And off"):
        stub.answer(stream(stream_pieces(["Do", "ne."])) if streamed else chat("Done."))
        answer = await say(gateway.http, made["id"], text, stream=streamed)
        assert (answer.status_code, answer.headers["x-conversation-id"]) == (200, made["id"])
    assert told(stub)[0][1].startswith("Turn lights on.")
    assert told(stub)[1:] == [("user", "Hall on"), ("assistant", "Done."), ("user", "And off")]
    assert words(await history(gateway.http, made["id"])) == ["Hall on", "Done.", "And off", "Done."]
    read = (await gateway.http.get(f"{SESSIONS}/{made['id']}")).json()
    assert (read["title"], read["message_count"], read["metadata"]) == ("Hall on", 4, {"room": "hall"})
    assert (await gateway.http.delete(f"{SESSIONS}/{made['id']}")).json()["object"] == "session.deleted"
    for gone in (await gateway.http.get(f"{SESSIONS}/{made['id']}"), await say(gateway.http, made["id"], "Hi")):
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "conversation_not_found")


@covers("84")
async def test_sessions_are_listed_of_this_agent_and_this_user_alone(gateway: Gateway) -> None:
    ann = await new_key(gateway, user="ann")
    async with ann:
        mine = [await session(ann), await session(ann)]
        await session(gateway.http)
        await ann.post("/a1/agents/other/sessions", json={})
        listed = (await ann.get(SESSIONS)).json()["items"]
        assert {one["id"] for one in listed} == set(mine)
        one = f"/a1/agents/other/sessions/{mine[0]}"
        wrong = [await ann.get(one), await ann.post(f"{one}/messages", json={"message": "Hi"})]
        theirs = f"{SESSIONS}/{mine[0]}"
        wrong += [
            await gateway.http.get(theirs),
            await gateway.http.delete(theirs),
            await say(gateway.http, mine[0], "Hi"),
        ]
        assert {answer.status_code for answer in wrong} == {404}
        assert (await ann.get("/a1/agents/nobody/sessions")).json()["error"]["code"] == "agent_not_found"


@covers("84", "85")
async def test_sessions_survive_a_restart(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        id_ = await session(gateway.http)
        stub.answer(chat("Done."))
        await say(gateway.http, id_, "Hall on")
    async with running_gateway(settings(stub), tmp_path) as gateway:
        assert [one["id"] for one in (await gateway.http.get(SESSIONS)).json()["items"]] == [id_]
        stub.answer(chat("Off."))
        await say(gateway.http, id_, "And off")
        assert told(stub)[1:] == [("user", "Hall on"), ("assistant", "Done."), ("user", "And off")]


@covers("84", "74", "80")
async def test_a_session_has_the_same_id_at_all_doors(gateway: Gateway, stub: Stub) -> None:
    id_ = await session(gateway.http)
    stub.answer(chat("One."), chat("Two."), chat("Three."))
    await say(gateway.http, id_, "1")
    body: dict[str, Any] = {"model": "home/lights", "message": "2", "conversation_id": id_}
    assert (await gateway.http.post("/c1/chat", json=body)).status_code == 200
    head = {"x-conversation-id": id_}
    body = {"model": "home/lights", "messages": [{"role": "user", "content": "3"}]}
    assert (await gateway.http.post("/v1/chat/completions", json=body, headers=head)).status_code == 200
    assert [text for _, text in told(stub)[1:]] == ["1", "One.", "2", "Two.", "3"]
    same = (await gateway.http.get(f"/c1/conversations/{id_}/items")).json()
    assert same["data"] == await history(gateway.http, id_)
    assert (await gateway.http.get(f"/c1/conversations/{id_}")).json()["agent"] == "home/lights"


@covers("85", "78")
@both_ways
async def test_calls_of_the_gateways_own_tools_are_kept_and_told_again(
    gateway: Gateway, stub: Stub, streamed: bool
) -> None:
    id_ = await session(gateway.http)
    if streamed:
        stub.answer(calling_in_pieces("calculator", '{"expression": "6*7"}'), stream(stream_pieces(["It is ", "42."])))
    else:
        stub.answer(calling(("calculator", {"expression": "6*7"})), chat("It is 42."))
    await say(gateway.http, id_, "6*7?", stream=streamed)
    kinds = [one["type"] for one in await history(gateway.http, id_)]
    assert kinds == ["message", "mcp_call", "message"]
    call = (await history(gateway.http, id_))[1]
    assert (call["name"], json.loads(call["arguments"]), "42" in call["output"]) == (
        "calculator",
        {"expression": "6*7"},
        True,
    )
    stub.answer(chat("Because."))
    await say(gateway.http, id_, "Why?")
    _, asked, called, result, answered, why = stub.calls[-1].json["messages"]
    [again] = called["tool_calls"]
    assert (asked["content"], answered["content"], why["content"]) == ("6*7?", "It is 42.", "Why?")
    assert again["function"]["name"] == "calculator"
    assert json.loads(again["function"]["arguments"]) == {"expression": "6*7"}
    assert (result["role"], result["tool_call_id"], "42" in result["content"]) == ("tool", again["id"], True)


def thinking(answer: Answer) -> Answer:
    body = json.loads(answer.body)
    body["choices"][0]["message"]["reasoning_content"] = "Which hall?"
    return Answer(body=json.dumps(body).encode())


@covers("85")
async def test_what_the_model_thought_is_kept_and_told_again_where_it_led_to_a_call(
    gateway: Gateway, stub: Stub
) -> None:
    id_ = await session(gateway.http)
    stub.answer(thinking(chat("Done.")), thinking(calling(("calculator", {"expression": "1"}))), chat("One."))
    await say(gateway.http, id_, "Hall on")
    await say(gateway.http, id_, "1?")
    kinds = [one["type"] for one in await history(gateway.http, id_)]
    assert kinds == ["message", "reasoning", "message", "message", "reasoning", "mcp_call", "message"]
    assert json.dumps(await history(gateway.http, id_)).count("Which hall?") == 2
    stub.answer(chat("Yes."))
    await say(gateway.http, id_, "Sure?")
    told_thoughts = [one.get("reasoning_content") for one in stub.calls[-1].json["messages"]]
    assert told_thoughts == [None, None, None, None, "Which hall?", None, None, None]


@covers("85")
async def test_an_agent_that_takes_its_callers_model_is_told_it_with_each_message(gateway: Gateway, stub: Stub) -> None:
    sessions = "/a1/agents/any/sessions"
    id_ = (await gateway.http.post(sessions)).json()["id"]
    refused = await gateway.http.post(f"{sessions}/{id_}/messages", json={"message": "Hi"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    stub.answer(chat("Hello."))
    answer = await gateway.http.post(f"{sessions}/{id_}/messages", json={"message": "Hi", "model": "small"})
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    body = {"message": "Hi", "model": "small"}
    id_ = await session(gateway.http)
    refused = await gateway.http.post(f"{SESSIONS}/{id_}/messages", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")


@covers("160", "84")
async def test_a_session_is_forked_and_wound_back(gateway: Gateway, stub: Stub) -> None:
    id_ = await session(gateway.http)
    stub.answer(chat("One."), chat("Two."))
    await say(gateway.http, id_, "1")
    await say(gateway.http, id_, "2")
    second = (await history(gateway.http, id_))[1]["id"]
    one = f"{SESSIONS}/{id_}"
    forked = (await gateway.http.post(f"{one}/fork", json={"item": second})).json()
    assert (forked["object"], forked["agent"], forked["message_count"]) == ("session", "home/lights", 2)
    assert len((await gateway.http.get(SESSIONS)).json()["items"]) == 2
    assert (await gateway.http.post(f"{one}/rewind", json={"item": second})).json()["message_count"] == 2
    lineage = (await gateway.http.get(f"{one}/lineage")).json()
    assert [one["cause"] for one in lineage["segments"]] == ["root", "rewind"]
    assert [one["conversation_id"] for one in lineage["forks"]] == [forked["id"]]
    assert (await gateway.http.get(f"{one}/diff")).json()["data"] == []


@covers("84")
async def test_the_same_key_for_repeats_in_two_sessions_means_two_requests(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("One."), chat("Two."))
    first, second = await session(gateway.http), await session(gateway.http)
    head = {"idempotency-key": "turn-1"}
    body = {"message": "Hi"}
    for _ in range(2):
        answer = await gateway.http.post(f"{SESSIONS}/{first}/messages", json=body, headers=head)
        assert answer.status_code == 200
    other = await gateway.http.post(f"{SESSIONS}/{second}/messages", json=body, headers=head)
    assert other.status_code == 409
    assert words(await history(gateway.http, first)) == ["Hi", "One."]
    assert await history(gateway.http, second) == []
