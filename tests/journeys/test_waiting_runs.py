"""Runs that wait for a person: told as such, also those of reasoning agents; and what the answer brings to light."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headgate.agents.types import AgentSettings
from headgate.core.run import Run
from headgate.tools.types import Caller, Image, Tool, ToolInfo, ToolResult
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat
from tests.journeys.test_actions import answer, held, settings, wiped
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_client_tools import actions
from tests.journeys.test_conversations import OWNER, kept, say
from tests.journeys.test_money import rows
from tests.journeys.test_reasoning import REASON, step
from tests.requirements import covers

pytestmark = covers("161")
PIXEL = "iVBORw0KGgo="
LOOK = ToolInfo("look", "Look.", {"type": "object"}, "builtin")


def reasoning(stub: Stub, folder: Path, steps: str) -> dict[str, Any]:
    made = settings(stub, folder)
    made["agents"][0]["strategy"] = "reasoning"
    made["strategies"] = {"reasoning": {"steps": steps, "tools": ["wipe"]}}
    return made


async def listed(gateway: Gateway, run: str) -> dict[str, Any]:
    [found] = [one for one in (await gateway.http.get("/v1/runs")).json()["data"] if one["id"] == run]
    assert (await gateway.http.get(f"/v1/runs/{run}")).json()["status"] == found["status"]
    return dict(found)


@pytest.mark.parametrize("door", ["chat", "stream", "responses", "responses stream"])
async def test_a_run_requires_action_until_it_is_answered(stub: Stub, tmp_path: Path, door: str) -> None:
    streamed = door.endswith("stream")
    async with running_gateway(settings(stub, tmp_path), tmp_path) as gateway:
        state = gateway.gate.deps.state
        assert state is not None
        stub.answer(calling_in_pieces("wipe", "{}") if streamed else calling(("wipe", {})))
        if door.startswith("responses"):
            body = {"model": "cleaner", "input": "Clean up.", "stream": streamed}
            response = await gateway.http.post("/v1/responses", json=body)
        else:
            response = await say(gateway, "Clean up.", model="cleaner", stream=streamed)
        run, head = response.headers["x-request-id"], response.headers["x-conversation-id"]
        [action] = await actions(gateway, waiting="true")
        found = await listed(gateway, run)
        assert (found["status"], found["actions"]) == ("requires_action", [action["id"]])
        stored = await state.runs.of(await state.heads.get(head, OWNER))
        assert [one.status for one in stored] == ["requires_action"] * (door != "chat")
        for one in stored:
            assert (await gateway.http.get(f"/v1/responses/{one.id}")).json()["status"] == "completed"
        stub.answer(chat("Done."))
        await answer(gateway, action["id"])
        assert "actions" not in await listed(gateway, run)
        stored = await state.runs.of(await state.heads.get(head, OWNER))
        assert {one.status for one in stored} <= {"completed"}


@pytest.mark.parametrize("steps", ["json", "tools"])
async def test_a_call_of_a_reasoning_agent_waits_and_its_run_goes_on(stub: Stub, tmp_path: Path, steps: str) -> None:
    sums, wipe = ("calculator", {"expression": "6*7"}), ("wipe", {"target": "logs"})
    planned: list[Answer] = [step("Compute.", "use_tools", sums), step("Now wipe.", "use_tools", wipe)]
    if steps == "tools":
        planned = [calling(sums), calling(wipe)]
    async with running_gateway(reasoning(stub, tmp_path, steps), tmp_path) as gateway:
        stub.answer(*planned)
        response = await say(gateway, "Clean up.", model="cleaner")
        told = response.json()
        assert told["proxy_status"] == {"type": "stopped", "status": "requires_action"}
        [action] = [one["action_id"] for one in told["approvals_required"]]
        assert (len(stub.calls), wiped(tmp_path)) == (2, [])
        stub.answer(step("Clean.", "finished") if steps == "json" else chat("Clean."), chat("All clean."))
        after = await answer(gateway, action)
        assert after.json()["choices"][0]["message"]["content"] == "All clean.", after.text
    assert wiped(tmp_path) == ["logs"]
    results = [one["content"] for one in stub.calls[2].json["messages"] if one["role"] == "tool"]
    assert results == ["42", "wiped logs"]


async def test_a_held_call_of_a_plain_model_that_reasons_is_made_later(stub: Stub, tmp_path: Path) -> None:
    made = reasoning(stub, tmp_path, "json")
    async with running_gateway(made, tmp_path) as gateway:
        stub.answer(step("Wipe.", "use_tools", ("wipe", {"target": "logs"})))
        body = {"model": "small", "messages": [{"role": "user", "content": "Clean up."}]}
        headers = {"x-conversation-id": "", **REASON}
        await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        [action] = await actions(gateway, waiting="true")
        stub.answer(chat("All clean."))
        assert (await answer(gateway, action["id"])).status_code == 200
    assert wiped(tmp_path) == ["logs"]


@dataclass(frozen=True)
class Camera:
    """A tool that has to be asked for, and gives pictures."""

    info: ToolInfo

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        image = Image(PIXEL, "image/png")
        return ToolResult("A picture.", images=(image,), shown=(image,))


async def test_pictures_of_a_call_that_was_approved_reach_model_and_caller(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as gateway:
        before = gateway.gate.deps.toolbox

        async def toolbox(agent: AgentSettings, run: Run) -> Sequence[Tool]:
            return [*await before(agent, run), Camera(LOOK)]

        gateway.gate.deps.toolbox = toolbox
        conversation, [action] = await held(gateway, stub, ("look", {}))
        stub.answer(chat("A pixel."), chat("Still a pixel."))
        told = (await answer(gateway, action)).json()
        url = f"data:image/png;base64,{PIXEL}"
        assert told["choices"][0]["message"]["images"][0]["image_url"]["url"] == url
        assert url in json.dumps(stub.last.json["messages"])
        assert [one["role"] for one in stub.last.json["messages"]][-2:] == ["tool", "user"]
        await say(gateway, "And now?", conversation, model="cleaner")
        assert url in json.dumps(stub.last.json["messages"])
        [call] = [one for one in await kept(gateway, conversation) if one["type"] == "mcp_call"]
        assert (call["output"], call["images"]) == ("A picture.", [url])


@covers("162", "65")
async def test_a_run_that_a_bound_ends_behind_its_tools_is_listed_and_counted(stub: Stub, tmp_path: Path) -> None:
    """Its last answer was in the ledger before anybody knew that no other would follow."""
    made = settings(stub, tmp_path)
    made["agents"][0]["bounds"] = {"tokens": 1}
    async with running_gateway(made, tmp_path) as gateway:
        stub.answer(calling(("calculator", {"expression": "6*7"})))
        response = await gateway.chat(model="cleaner")
        assert response.json()["proxy_status"] == {"type": "stopped", "status": "token_limit"}
        found = await listed(gateway, response.headers["x-request-id"])
        assert (found["status"], found["tries"]) == ("completed", 1)
        [entry] = await rows(gateway, 1)
        assert (entry["final"], entry["outcome"], entry["attempt"]) == ("1", "ok", "1")
        [total] = (await gateway.http.get("/admin/usage", params={"by": "model"})).json()["rows"]
        assert (total["requests"], total["attempts"]) == (1, 1)
