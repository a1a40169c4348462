"""Calls that agents want to make which other agents have asked: approved in the conversation, and all of them go on."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat
from tests.journeys.test_actions import answer, settings, wiped
from tests.journeys.test_agents import calling
from tests.journeys.test_client_tools import actions
from tests.journeys.test_conversations import kept, say
from tests.journeys.test_delegation import as_agents, asked
from tests.journeys.test_mixed_turns import is_valid
from tests.requirements import covers

pytestmark = covers("161", "72")
WIPE = ("wipe", {"target": "logs"})


def agents(stub: Stub, folder: Path, **more: Any) -> dict[str, Any]:
    """The chief asks the middle, which asks the cleaner; or the cleaner itself."""
    made = settings(stub, folder)
    made["agents"] = [
        {"name": "chief", "model": "small", "delegates": ["cleaner", "middle"], "system_prompt": "You are chief."},
        {"name": "middle", "model": "small", "delegates": ["cleaner"], "system_prompt": "You are middle."},
        {"name": "cleaner", "model": "small", "system_prompt": "You are cleaner.", **made["agents"][0] | more},
    ]
    made["agents"][2]["name"] = "cleaner"
    return made


def asks(name: str, request: str = "Clean up.") -> Answer:
    return calling((f"ask_{name}", {"request": request}))


async def waiting(gateway: Gateway, door: str = "chat") -> tuple[str, list[str]]:
    """The conversation, or the response, that waits, and what it waits for."""
    if door == "responses":
        told = (await gateway.http.post("/v1/responses", json={"model": "chief", "input": "Clean up."})).json()
        return told["id"], [one["id"] for one in told["output"] if one["type"] == "mcp_approval_request"]
    response = await say(gateway, "Clean up.", model="chief")
    told = response.json()
    assert told["proxy_status"] == {"type": "stopped", "status": "requires_action"}, told
    return response.headers["x-conversation-id"], [one["action_id"] for one in told["approvals_required"]]


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize("door", ["chat", "responses"])
async def test_a_call_of_a_delegate_is_decided_on_and_both_go_on(
    stub: Stub, tmp_path: Path, decision: str, door: str
) -> None:
    stub.otherwise = as_agents(
        chief=[asks("cleaner"), chat("All is well.")],
        cleaner=[calling(("calculator", {"expression": "6*7"}), WIPE), chat("I have seen to it.")],
    )
    made = agents(stub, tmp_path)
    async with running_gateway(made, tmp_path) as gateway:
        place, [action] = await waiting(gateway, door)
        assert (len(stub.calls), wiped(tmp_path)) == (2, [])
        shown = (await gateway.http.get(f"/a1/actions/{action}")).json()
        assert (shown["tool"], shown["model"], shown["status"]) == ("wipe", "chief", "pending")
    async with running_gateway(made, tmp_path) as gateway:  # all that it takes is in the database
        if door == "chat":
            after = await answer(gateway, action, decision)
        else:
            said = {"type": "mcp_approval_response", "approval_request_id": action, "approve": decision == "approve"}
            body = {"model": "chief", "input": [said], "previous_response_id": place}
            after = await gateway.http.post("/v1/responses", json=body)
        assert "All is well." in after.text
        assert await actions(gateway, waiting="true") == []
    assert wiped(tmp_path) == (["logs"] if decision == "approve" else [])
    below = asked(stub, "cleaner")[-1]["messages"]
    assert is_valid(below)
    results = [one["content"] for one in below if one["role"] == "tool"]
    assert results[0] == "42"
    assert results[1].startswith("wiped logs" if decision == "approve" else "Error: A person refused")
    above = stub.last.json["messages"]
    assert is_valid(above)
    assert [one["content"] for one in above if one["role"] == "tool"][-1] == "I have seen to it."
    assert above[-2]["tool_calls"][0]["function"]["name"] == "ask_cleaner"


async def test_two_levels_below_it_is_the_same(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = as_agents(
        chief=[asks("middle"), chat("All is well.")],
        middle=[asks("cleaner"), chat("The cleaner did it.")],
        cleaner=[calling(WIPE), chat("Wiped.")],
    )
    async with running_gateway(agents(stub, tmp_path), tmp_path) as gateway:
        _, [action] = await waiting(gateway)
        after = await answer(gateway, action)
        assert after.json()["choices"][0]["message"]["content"] == "All is well.", after.text
    assert wiped(tmp_path) == ["logs"]
    assert asked(stub, "middle")[-1]["messages"][-1]["content"] == "Wiped."
    assert stub.last.json["messages"][-1]["content"] == "The cleaner did it."


async def test_of_several_calls_the_last_decision_lets_the_delegate_go_on(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = as_agents(
        chief=[asks("cleaner"), chat("All is well.")],
        cleaner=[calling(("wipe", {"target": "a"}), ("wipe", {"target": "b"})), chat("Both are done.")],
    )
    async with running_gateway(agents(stub, tmp_path), tmp_path) as gateway:
        _, [first, second] = await waiting(gateway)
        half = await answer(gateway, first)
        assert (half.json()["object"], len(asked(stub, "cleaner"))) == ("action", 1)
        await answer(gateway, second, "reject")
    assert wiped(tmp_path) == ["a"]
    results = [one["content"] for one in asked(stub, "cleaner")[-1]["messages"] if one["role"] == "tool"]
    assert (results[0], results[1][:23]) == ("wiped a", "Error: A person refused")
    assert stub.last.json["messages"][-1]["content"] == "Both are done."


async def test_what_it_wants_next_is_asked_for_in_turn(stub: Stub, tmp_path: Path) -> None:
    again = calling(("wipe", {"target": "cache"}))
    stub.otherwise = as_agents(
        chief=[asks("cleaner"), chat("It wants more."), chat("All is well.")],
        cleaner=[calling(WIPE), again, chat("Now it is clean.")],
    )
    async with running_gateway(agents(stub, tmp_path), tmp_path) as gateway:
        conversation, [first] = await waiting(gateway)
        await answer(gateway, first)
        [second] = await actions(gateway, waiting="true")
        assert (second["tool"], second["conversation"]) == ("wipe", conversation)
        after = await answer(gateway, second["id"])
        assert after.json()["choices"][0]["message"]["content"] == "All is well."
        assert is_valid(stub.last.json["messages"])
        kinds = [one["type"] for one in await kept(gateway, conversation)]
    assert wiped(tmp_path) == ["logs", "cache"]
    assert kinds.count("mcp_approval_request") == kinds.count("mcp_approval_response") == 2
    assert stub.last.json["messages"][-1]["content"] == "Now it is clean."


async def test_an_approval_below_a_reasoning_agent_waits_too(stub: Stub, tmp_path: Path) -> None:
    made = agents(stub, tmp_path)
    made["agents"][0]["strategy"] = "reasoning"
    made["strategies"] = {"reasoning": {"steps": "tools"}}
    stub.script.extend([asks("cleaner"), calling(WIPE), chat("Wiped."), chat("So it is done."), chat("All is well.")])
    async with running_gateway(made, tmp_path) as gateway:
        _, [action] = await waiting(gateway)
        after = await answer(gateway, action)
        assert after.json()["choices"][0]["message"]["content"] == "All is well.", after.text
    assert wiped(tmp_path) == ["logs"]


@pytest.mark.parametrize("stored", [True, False], ids=["reasoning below", "not stored"])
async def test_where_nobody_can_be_asked_the_model_and_the_caller_are_told(
    stub: Stub, tmp_path: Path, stored: bool
) -> None:
    """A reasoning agent below keeps no messages to go on from."""
    made = agents(stub, tmp_path, **({"strategy": "reasoning"} if stored else {}))
    made["strategies"] = {"reasoning": {"steps": "tools"}}
    last = [chat("I may not wipe.")] * (2 if stored else 1)
    stub.script.extend([asks("cleaner"), calling(WIPE), *last, chat("It needs your leave.")])
    async with running_gateway(made, tmp_path) as gateway:
        ask = say(gateway, "Clean up.", model="chief") if stored else gateway.chat(model="chief")
        told = (await ask).json()
        assert told["choices"][0]["message"]["content"] == "It needs your leave."
        wanted = {"tool_name": "wipe", "tool_call_id": "call_0", "arguments": '{"target": "logs"}'}
        assert told["approvals_required"] == [wanted]
        assert await actions(gateway) == []
    told_below = str(stub.calls[2].json["messages"])
    assert "was not run: it needs the approval of a person, and nobody was asked" in told_below
    assert wiped(tmp_path) == []
