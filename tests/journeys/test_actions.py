"""A call that policy holds back in a stored conversation waits for a person, is answered once, and the run goes on."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.conversations.items import WAITS
from headgate.pipeline import answering
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_conversations import OWNER, kept, say
from tests.requirements import covers

pytestmark = [covers("161"), on_each_database]
PLUGIN = '''
from pathlib import Path
from headgate.tools.plugin import tool

@tool
def wipe(target: str = "") -> str:
    """Delete something."""
    with Path(__file__).with_name("wiped").open("a") as file:
        file.write(target + "\\n")
    return f"wiped {target}"
'''


def settings(stub: Stub, folder: Path, **tools: Any) -> dict[str, Any]:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "wiping.py").write_text(PLUGIN)
    target = [{"upstream": "stub", "model": "stub-small"}]
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": target, "retries": 0}],
        "agents": [{"name": "cleaner", "model": "small", "tools": ["wipe", "calculator", "ask_user"]}],
        "tools": {"folder": str(folder / "plugins"), **tools},
        "database": {"url": url_of(folder)},
    }


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as running:
        yield running


def wiped(folder: Path) -> list[str]:
    file = folder / "plugins" / "wiped"
    return file.read_text().split() if file.exists() else []


async def held(gateway: Gateway, stub: Stub, *calls: tuple[str, dict[str, Any]]) -> tuple[str, list[str]]:
    """A conversation in which these calls wait, and the ids of their actions."""
    stub.answer(calling(*(calls or [("wipe", {"target": "logs"})])))
    response = await say(gateway, "Clean up.", model="cleaner")
    told = response.json()
    assert told["proxy_status"] == {"type": "stopped", "status": "requires_action"}
    return response.headers["x-conversation-id"], [one["action_id"] for one in told["approvals_required"]]


async def answer(gateway: Gateway, action: str, decision: str = "approve", **fields: Any) -> httpx.Response:
    return await gateway.http.post(f"/a1/actions/{action}", json={"decision": decision, **fields})


def results(stub: Stub) -> list[str]:
    return [one["content"] for one in stub.last.json["messages"] if one["role"] == "tool"]


async def test_an_approved_call_is_made_once_and_the_run_goes_on(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    conversation, [action] = await held(gateway, stub)
    assert (len(stub.calls), wiped(tmp_path)) == (1, [])
    shown = (await gateway.http.get(f"/a1/actions/{action}")).json()
    assert (shown["kind"], shown["status"], shown["tool"]) == ("approval", "pending", "wipe")
    assert shown["rule"] == "tool_policy: auto, destructiveHint: not told"
    stub.answer(chat("All clean."))
    response = await answer(gateway, action, digest=shown["digest"])
    assert response.status_code == 200, response.text
    assert response.headers["x-conversation-id"] == conversation
    assert response.json()["choices"][0]["message"]["content"] == "All clean."
    assert wiped(tmp_path) == ["logs"]
    told = stub.last.json["messages"]
    assert [one["role"] for one in told] == ["user", "assistant", "tool"]
    assert told[1]["tool_calls"][0]["function"] == {"name": "wipe", "arguments": '{"target": "logs"}'}
    assert told[2]["content"] == "wiped logs"
    again = await answer(gateway, action)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "action_answered")
    assert wiped(tmp_path) == ["logs"]
    kinds = [one["type"] for one in await kept(gateway, conversation)]
    assert kinds == ["message", "mcp_approval_request", "mcp_approval_response", "mcp_call", "message"]


async def test_a_refused_call_is_not_made_and_the_model_is_told_why(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    conversation, [action] = await held(gateway, stub)
    stub.answer(chat("Then not."))
    await answer(gateway, action, "reject", reason="Keep the logs.")
    assert wiped(tmp_path) == []
    assert results(stub) == [f"{answering.REFUSED} The reason: Keep the logs."]
    [refused] = [one for one in await kept(gateway, conversation) if one["type"] == "mcp_call"]
    assert (refused["status"], refused["approval_request_id"]) == ("failed", action)


async def test_arguments_can_be_edited_and_are_checked(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    _, [action] = await held(gateway, stub)
    wrong = await answer(gateway, action, "edit", arguments={"target": 7})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "arguments.target")
    stub.answer(chat("Done."))
    assert (await answer(gateway, action, "edit", arguments={"target": "cache"})).status_code == 200
    assert wiped(tmp_path) == ["cache"]
    shown = (await gateway.http.get(f"/a1/actions/{action}")).json()
    assert (shown["status"], json.loads(shown["answer"]["arguments"])) == ("edited", {"target": "cache"})


async def test_between_question_and_answer_the_gateway_may_restart(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, tmp_path)
    async with running_gateway(made, tmp_path) as first:
        _, [action] = await held(first, stub)
    async with running_gateway(made, tmp_path) as second:
        listed = (await second.http.get("/a1/actions", params={"waiting": "true"})).json()["data"]
        assert [one["id"] for one in listed] == [action]
        stub.answer(chat("All clean."))
        assert (await answer(second, action)).status_code == 200
        assert not (await second.http.get("/a1/actions", params={"waiting": "true"})).json()["data"]
    assert wiped(tmp_path) == ["logs"]
    assert results(stub) == ["wiped logs"]


@pytest.mark.parametrize("approve", [True, False])
async def test_it_is_answered_in_a_turn_of_the_chat(
    gateway: Gateway, stub: Stub, tmp_path: Path, approve: bool
) -> None:
    conversation, [action] = await held(gateway, stub)
    stub.answer(chat("Well."))
    said = {"role": "user", "type": "mcp_approval_response", "approval_request_id": action, "approve": approve}
    response = await say(gateway, "", conversation, model="cleaner", messages=[said])
    assert response.status_code == 200, response.text
    assert wiped(tmp_path) == (["logs"] if approve else [])
    assert [one["role"] for one in stub.last.json["messages"]] == ["user", "assistant", "tool"]


async def test_a_stream_tells_of_the_action_and_its_answer_can_be_streamed(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    stub.answer(calling_in_pieces("wipe", '{"target": "logs"}'))
    told = (await say(gateway, "Clean up.", model="cleaner", stream=True)).text
    [action] = [
        one["proxy_status"]["action_id"]
        for one in (json.loads(line[6:]) for line in told.split("\n") if line.startswith("data: {"))
        if "action_id" in one.get("proxy_status", {})
    ]
    stub.answer(stream(stream_pieces(["All ", "clean."])))
    streamed = (await answer(gateway, action, stream=True)).text
    assert streamed.endswith("data: [DONE]\n\n")
    assert wiped(tmp_path) == ["logs"]


async def test_the_run_goes_on_when_all_its_actions_are_answered(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    calls = [("wipe", {"target": "a"}), ("calculator", {"expression": "6*7"}), ("wipe", {"target": "b"})]
    _, [first, second] = await held(gateway, stub, *calls)
    half = await answer(gateway, second)
    assert (half.json()["object"], half.json()["status"], len(stub.calls)) == ("action", "approved", 1)
    stub.answer(chat("Done."))
    assert (await answer(gateway, first, "reject")).json()["choices"][0]["message"]["content"] == "Done."
    assert wiped(tmp_path) == ["b"]
    assert results(stub) == ["42", "wiped b", answering.REFUSED]


async def test_a_conversation_may_go_on_before_the_answer_and_keeps_its_beginning(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    conversation, [action] = await held(gateway, stub)
    stub.answer(chat("I wait."))
    await say(gateway, "What now?", conversation, model="cleaner")
    before = stub.last.json["messages"]
    assert results(stub) == [WAITS]
    stub.answer(chat("All clean."))
    await answer(gateway, action)
    assert stub.last.json["messages"][: len(before)] == before
    assert results(stub) == [WAITS, "wiped logs"]


async def test_a_question_of_the_model_is_answered_with_a_text(gateway: Gateway, stub: Stub) -> None:
    _, [action] = await held(gateway, stub, ("ask_user", {"question": "Which one?", "options": ["a", "b"]}))
    shown = (await gateway.http.get(f"/a1/actions/{action}")).json()
    assert (shown["kind"], shown["rule"]) == ("question", "question")
    approved = await answer(gateway, action)
    assert (approved.status_code, approved.json()["error"]["param"]) == (400, "decision")
    stub.answer(chat("b it is."))
    await answer(gateway, action, "answer", text="b")
    assert results(stub) == ["b"]


async def test_an_action_expires(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub, tmp_path, approval_seconds=0.001), tmp_path) as gateway:
        _, [action] = await held(gateway, stub)
        assert (await gateway.http.get(f"/a1/actions/{action}")).json()["status"] == "expired"
        late = await answer(gateway, action)
        assert (late.status_code, late.json()["error"]["code"]) == (409, "action_expired")
        assert (await gateway.http.get("/a1/actions", params={"waiting": "true"})).json()["data"] == []
    assert wiped(tmp_path) == []


async def test_nobody_else_sees_or_answers_it(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    _, [action] = await held(gateway, stub)
    other = {"x-user-id": "somebody else"}
    assert (await gateway.http.get(f"/a1/actions/{action}", headers=other)).status_code == 404
    assert (await gateway.http.get("/a1/actions", headers=other)).json()["data"] == []
    body = {"decision": "approve"}
    assert (await gateway.http.post(f"/a1/actions/{action}", json=body, headers=other)).status_code == 404
    assert wiped(tmp_path) == []
    assert (await gateway.http.post(f"/a1/actions/{action}", json=body)).status_code == 200


async def test_an_answer_for_another_call_and_one_out_of_place_are_refused(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    conversation, [action] = await held(gateway, stub)
    other = await answer(gateway, action, digest="0" * 64)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "action_gone")
    stub.answer(chat("Hello."))
    elsewhere = (await say(gateway, "Hi", model="cleaner")).headers["x-conversation-id"]
    said = {"role": "user", "type": "mcp_approval_response", "approval_request_id": action, "approve": True}
    assert (await say(gateway, "", elsewhere, model="cleaner", messages=[said])).status_code == 400
    state = gateway.gate.deps.state
    assert state is not None
    await state.heads.rewind(await state.heads.get(conversation, OWNER), 1)
    gone = await answer(gateway, action)
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "action_gone")
    assert wiped(tmp_path) == []


async def test_of_two_answers_at_once_one_counts(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    _, [action] = await held(gateway, stub)
    stub.answer(chat("All clean."), chat("All clean."))
    both = await asyncio.gather(answer(gateway, action), answer(gateway, action))
    assert sorted(one.status_code for one in both) == [200, 409]
    assert wiped(tmp_path) == ["logs"]


async def test_a_call_that_may_have_happened_is_not_repeated_silently(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    """As when the gateway stops between taking the answer and keeping what came of it."""
    conversation, [action] = await held(gateway, stub)
    state = gateway.gate.deps.state
    assert state is not None
    await state.actions.answer(await state.actions.get(action, OWNER), "approve", {}, "key")
    stub.answer(chat("I shall look."), chat("Well."))
    await say(gateway, "And?", conversation, model="cleaner")
    assert results(stub) == [answering.UNKNOWN]
    await say(gateway, "And?", conversation, model="cleaner")
    assert results(stub) == [answering.UNKNOWN]
    assert wiped(tmp_path) == []


async def test_who_decided_and_by_which_rule_stands_in_the_audit_log(gateway: Gateway, stub: Stub) -> None:
    _, [action] = await held(gateway, stub)
    stub.answer(chat("Then not."))
    await gateway.http.post(f"/a1/actions/{action}", json={"decision": "reject"}, headers={"x-request-id": "req-9"})
    rows = (await gateway.http.get("/admin/audit", params={"action": "action.rejected"})).json()["data"]
    [row] = rows
    assert (row["target"]["id"], row["request_id"]) == (action, "req-9")
    assert row["after"]["rule"] == "tool_policy: auto, destructiveHint: not told"
    assert row["after"]["answered_by"] == row["by"]["key"]


async def test_without_a_stored_conversation_a_held_call_is_no_action(gateway: Gateway, stub: Stub) -> None:
    stub.answer(calling(("wipe", {})), chat("I may not."))
    told = (await gateway.chat(model="cleaner")).json()
    assert "action_id" not in told["approvals_required"][0]
    assert (await gateway.http.get("/a1/actions")).json()["data"] == []
