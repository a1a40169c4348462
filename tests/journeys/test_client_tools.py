"""Calls of the caller's own tools in stored conversations: they stand as actions until somebody gives their results."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.conversations.items import NO_RESULT
from headgate.pipeline import answering
from tests.harness.databases import on_each_database
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_actions import answer, results, settings, wiped
from tests.journeys.test_agents import calling
from tests.journeys.test_conversations import OWNER, kept
from tests.journeys.test_conversations import say as say_in_chat
from tests.journeys.test_mixed_turns import MINE, answer_of, both_ways, calls, is_valid, said, theirs
from tests.requirements import covers

pytestmark = [covers("66", "161"), on_each_database]
AGENT = "cleaner"
MIXED = (("calculator", MINE), ("open_door", {"door": "front"}))
TOOLS = [theirs()]


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as running:
        yield running


async def say(gateway: Gateway, text: str, conversation: str = "", **fields: Any) -> httpx.Response:
    return await say_in_chat(gateway, text, conversation, **{"model": AGENT, "tools": TOOLS, **fields})


async def actions(gateway: Gateway, **asked: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.http.get("/a1/actions", params=asked)).json()["data"]
    return found


def result(call: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": content}


async def mixed(gateway: Gateway, stub: Stub) -> tuple[str, dict[str, Any]]:
    """A conversation in which a call of the caller's waits beside one that was made, and its action."""
    stub.answer(calling(*MIXED))
    response = await say(gateway, "Open the front door.")
    [action] = await actions(gateway)
    return response.headers["x-conversation-id"], action


@both_ways
async def test_of_a_mixed_turn_ours_are_made_and_the_callers_are_handed_over(
    gateway: Gateway, stub: Stub, streamed: bool
) -> None:
    stub.answer(calls(streamed, *MIXED))
    response = await say(gateway, "Open the front door.", stream=streamed)
    _, listed, finish = answer_of(response, streamed)
    assert ([one["function"]["name"] for one in listed], finish) == (["open_door"], "tool_calls")
    assert len(stub.calls) == 1
    conversation = response.headers["x-conversation-id"]
    assert [one["type"] for one in await kept(gateway, conversation)] == ["message", "mcp_call", "function_call"]
    [action] = await actions(gateway, waiting="true")
    assert (action["kind"], action["tool"], action["call_id"]) == ("client_tool", "open_door", "call_1")
    assert (json.loads(action["arguments"]), action["rule"]) == ({"door": "front"}, "client_tool")
    stub.answer(said(streamed))
    after = await say(gateway, "", conversation, messages=[result("call_1", "opened")], stream=streamed)
    assert answer_of(after, streamed) == ("Hello there.", [], "stop")
    sent = stub.last.json["messages"]
    assert is_valid(sent)
    assert results(stub) == ["42", "opened"]
    assert await actions(gateway, waiting="true") == []
    assert (await actions(gateway))[0]["status"] == "answered"


async def test_the_whole_history_may_be_sent_along_with_the_result(gateway: Gateway, stub: Stub) -> None:
    conversation, _ = await mixed(gateway, stub)
    function = {"name": "open_door", "arguments": '{"door": "front"}'}
    known = [
        {"role": "user", "content": "Open the front door."},
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        result("call_1", "opened"),
    ]
    stub.answer(chat("It is open."))
    await say(gateway, "", conversation, messages=known)
    assert [one["role"] for one in stub.last.json["messages"]] == ["user", "assistant", "tool", "assistant", "tool"]


async def test_it_is_answered_as_an_action_from_another_door(gateway: Gateway, stub: Stub) -> None:
    conversation, action = await mixed(gateway, stub)
    wrong = await answer(gateway, action["id"], "approve")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "decision")
    stub.answer(chat("It is open."))
    response = await answer(gateway, action["id"], "answer", text="opened", tools=TOOLS)
    assert response.json()["choices"][0]["message"]["content"] == "It is open.", response.text
    assert response.headers["x-conversation-id"] == conversation
    assert is_valid(stub.last.json["messages"])
    assert stub.last.json["tools"][-1] == TOOLS[0]
    assert results(stub) == ["42", "opened"]
    again = await answer(gateway, action["id"], "answer", text="opened")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "action_answered")
    rows = (await gateway.http.get("/admin/audit", params={"action": "action.answered"})).json()["data"]
    assert [row["target"]["id"] for row in rows] == [action["id"]]


async def test_a_refusal_is_the_result(gateway: Gateway, stub: Stub) -> None:
    _, action = await mixed(gateway, stub)
    stub.answer(chat("Then not."))
    await answer(gateway, action["id"], "reject", reason="It is locked.")
    assert results(stub) == ["42", f"{answering.REFUSED} The reason: It is locked."]


async def test_the_run_waits_for_the_approval_beside_it(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    stub.answer(calling(("wipe", {"target": "logs"}), ("open_door", {})))
    await say(gateway, "Clean up, then open.")
    waiting = {one["kind"]: one["id"] for one in await actions(gateway, waiting="true")}
    half = await answer(gateway, waiting["client_tool"], "answer", text="opened")
    assert (half.json()["object"], half.json()["status"], len(stub.calls)) == ("action", "answered", 1)
    stub.answer(chat("Done."))
    await answer(gateway, waiting["approval"])
    assert wiped(tmp_path) == ["logs"]
    assert is_valid(stub.last.json["messages"])
    assert sorted(results(stub)) == ["opened", "wiped logs"]


async def test_without_a_result_the_model_is_told_so_and_a_late_one_is_told_later(gateway: Gateway, stub: Stub) -> None:
    conversation, action = await mixed(gateway, stub)
    stub.answer(chat("I wait."))
    await say(gateway, "What now?", conversation)
    before = stub.last.json["messages"]
    assert is_valid(before)
    assert results(stub) == ["42", NO_RESULT]
    stub.answer(chat("It is open."))
    response = await answer(gateway, action["id"], "answer", text="opened")
    assert response.status_code == 200, response.text
    sent = stub.last.json["messages"]
    assert sent[: len(before)] == before
    assert is_valid(sent)
    assert len({call["id"] for one in sent for call in one.get("tool_calls", ())}) == 3
    assert results(stub) == ["42", NO_RESULT, "opened"]


async def test_a_plain_models_calls_are_actions_too(gateway: Gateway, stub: Stub) -> None:
    stub.answer(calling(("open_door", {}), ("open_door", {"n": 2})))
    response = await say(gateway, "Open.", model="small")
    conversation = response.headers["x-conversation-id"]
    first, second = sorted(await actions(gateway, conversation=conversation), key=lambda one: str(one["call_id"]))
    assert (first["call_id"], second["call_id"], first["model"]) == ("call_0", "call_1", "small")
    assert (await answer(gateway, first["id"], "answer", text="one")).json()["object"] == "action"
    stub.answer(chat("Both are open."))
    assert (await answer(gateway, second["id"], "answer", text="two")).status_code == 200
    assert results(stub) == ["one", "two"]
    assert is_valid(stub.last.json["messages"])


@pytest.mark.parametrize("first", ["c1", "session", "messages", "responses"])
async def test_every_door_hands_over_and_takes_back(gateway: Gateway, stub: Stub, first: str) -> None:
    stub.answer(calling(*MIXED), chat("It is open."))
    http, door = gateway.http, {"name": "open_door", "parameters": {"type": "object"}}
    body: dict[str, Any] = {"model": AGENT, "tools": TOOLS}
    if first == "c1":
        asked = await http.post("/c1/chat", json={**body, "message": "Open."})
        where = {"conversation_id": asked.headers["x-conversation-id"]}
        after = await http.post("/c1/chat", json={**body, **where, "message": [result("call_1", "opened")]})
    elif first == "session":
        path = f"/a1/agents/{AGENT}/sessions"
        path = f"{path}/{(await http.post(path)).json()['id']}/messages"
        asked = await http.post(path, json={"tools": TOOLS, "message": "Open."})
        after = await http.post(path, json={"tools": TOOLS, "message": [result("call_1", "opened")]})
    elif first == "messages":
        tools = [{"name": "open_door", "input_schema": {"type": "object"}}]
        body = {"model": AGENT, "tools": tools, "max_tokens": 99}
        opening = {"role": "user", "content": "Open."}
        asked = await http.post("/v1/messages", json={**body, "messages": [opening]}, headers={"x-conversation-id": ""})
        where = {"x-conversation-id": asked.headers["x-conversation-id"]}
        block = {"type": "tool_result", "tool_use_id": "call_1", "content": "opened"}
        given = [{"role": "user", "content": [block]}]
        after = await http.post("/v1/messages", json={**body, "messages": given}, headers=where)
        assert asked.json()["stop_reason"] == "tool_use"
    else:
        body["tools"] = [{"type": "function", **door}]
        asked = await http.post("/v1/responses", json={**body, "input": "Open."})
        assert asked.json()["status"] == "completed"
        assert [one["type"] for one in asked.json()["output"]] == ["mcp_call", "function_call"]
        given = [{"type": "function_call_output", "call_id": "call_1", "output": "opened"}]
        previous = asked.json()["id"]
        after = await http.post("/v1/responses", json={**body, "input": given, "previous_response_id": previous})
    assert (asked.status_code, after.status_code) == (200, 200), after.text
    assert "It is open." in after.text
    assert is_valid(stub.last.json["messages"])
    assert results(stub) == ["42", "opened"]
    assert [one["status"] for one in await actions(gateway)] == ["answered"]


async def test_what_is_not_kept_has_no_actions(gateway: Gateway, stub: Stub) -> None:
    """Of a mixed turn only our calls are made, and the model asks again for the caller's."""
    stub.answer(chat("Hello."))
    first = (await gateway.http.post("/v1/responses", json={"model": AGENT, "input": "Hi"})).json()["id"]
    stub.answer(calling(*MIXED), chat("Asked again."))
    door = {"type": "function", "name": "open_door", "parameters": {"type": "object"}}
    body = {"model": AGENT, "input": "Open.", "tools": [door], "store": False, "previous_response_id": first}
    response = await gateway.http.post("/v1/responses", json=body)
    assert "Asked again." in response.text
    assert await actions(gateway) == []


async def test_after_a_stop_between_an_answer_and_its_item_the_answer_is_told(gateway: Gateway, stub: Stub) -> None:
    conversation, action = await mixed(gateway, stub)
    state = gateway.gate.deps.state
    assert state is not None
    found = await state.actions.get(action["id"], OWNER)
    await state.actions.answer(found, "answer", {"text": "opened"}, "key")
    stub.answer(chat("It is open."))
    await say(gateway, "And?", conversation)
    assert results(stub) == ["42", "opened"]
