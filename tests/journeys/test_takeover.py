"""Agents' runs in the background that their process left: the next one goes on from the last completed step."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from headgate.conversations.store.tables import stored_runs
from headgate.conversations.types import Owner, milliseconds
from headgate.tools.builtin.function import FunctionTool
from headgate.tools.types import Caller, Tool, ToolInfo, ToolResult
from tests.conformance.wire import sent
from tests.harness.cutting import CHAT, MESSAGES, Door, Part, boundaries, rest, taken
from tests.harness.databases import on_each_database
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling_in_pieces, settings
from tests.journeys.test_background import Fields, begin, text_of, until
from tests.journeys.test_reasoning import settings as reasoning_settings
from tests.journeys.test_reasoning import step
from tests.requirements import covers

pytestmark = [covers("156"), on_each_database]
HELPER = "augmented/helper"


class Hanging:
    """A tool that is called and never answers."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self.began = asyncio.Event()
        self.calls = 0
        info = ToolInfo(name, "Does something.", {"type": "object", "properties": {}}, "plugin")
        tool = FunctionTool(info, self._call)

        async def toolbox(*_: object) -> Sequence[Tool]:
            return [tool]

        gateway.gate.deps.toolbox = toolbox

    async def _call(self, _arguments: Mapping[str, Any], _caller: Caller) -> ToolResult:
        self.calls += 1
        self.began.set()
        await asyncio.Event().wait()
        raise AssertionError


async def events_of(gateway: Gateway, id_: str) -> list[Fields]:
    told = [one.object for one in sent((await gateway.http.get(f"/v1/runs/{id_}/events")).content)]
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    return told


async def test_what_a_tool_did_is_not_done_again(stub: Stub, tmp_path: Path) -> None:
    stub.answer(calling_in_pieces("calculator", '{"expression": "6*7"}'))
    stub.answer(stream(stream_pieces(["It ", "is"]), release=asyncio.Event()))
    async with running_gateway(settings(stub), tmp_path) as gateway:
        queued = await begin(gateway, model=HELPER)
        await stub.wait_for_calls(2)
    stub.answer(stream(stream_pieces(["It is ", "42."])))
    async with running_gateway(settings(stub), tmp_path) as gateway:
        done = await until(gateway, queued["id"], "completed")
        told = await events_of(gateway, queued["id"])
        conversation = stub.last.json["messages"]
        assert [one["role"] for one in conversation] == ["system", "user", "assistant", "tool"]
        assert conversation[-1]["content"] == "42"
        kinds = [item["type"] for item in done["output"]]
        assert (kinds, text_of(done)) == (["mcp_call", "message"], "It is 42.")
        done_items = [one["item"]["id"] for one in told if one["type"] == "response.output_item.done"]
        assert len(done_items) == len(set(done_items))
        places = [one["output_index"] for one in told if one["type"] == "response.output_item.added"]
        assert places == list(range(len(places)))
        stub.answer(chat("Still 42."))
        body = {"model": HELPER, "input": "And now?", "previous_response_id": queued["id"]}
        assert (await gateway.http.post("/v1/responses", json=body)).status_code == 200
    roles = [one["role"] for one in stub.last.json["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_it_is_answered_in_the_way_that_its_caller_asked_for(stub: Stub, tmp_path: Path) -> None:
    stub.answer(replace(step("What is it?", "continue_thinking"), hang=True))
    async with running_gateway(reasoning_settings(stub), tmp_path) as gateway:
        gateway.http.headers["x-routing-mode"] = "reasoning"
        queued = await begin(gateway)
        await stub.wait_for_calls(1)
    stub.answer(step("I know.", "finished"), stream(stream_pieces(["Because."])))
    async with running_gateway(reasoning_settings(stub), tmp_path) as gateway:
        done = await until(gateway, queued["id"], "completed")
    assert (text_of(done), len(stub.calls)) == ("Because.", 3)


async def test_a_call_that_may_have_happened_is_not_repeated(stub: Stub, tmp_path: Path) -> None:
    stub.answer(calling_in_pieces("send_money", "{}"))
    async with running_gateway(settings(stub, tool_policy="always_allow"), tmp_path) as gateway:
        tool = Hanging(gateway, "send_money")
        queued = await begin(gateway, model=HELPER)
        await tool.began.wait()
    async with running_gateway(settings(stub, tool_policy="always_allow"), tmp_path) as gateway:
        done = await until(gateway, queued["id"], "incomplete")
        told = await events_of(gateway, queued["id"])
    assert done["incomplete_details"] == {"reason": "interrupted_tool_call"}
    (call,) = done["output"]
    assert (call["type"], call["name"], call["status"]) == ("mcp_call", "send_money", "incomplete")
    assert told[-1]["type"] == "response.incomplete"
    assert len(stub.calls) == 1


async def test_one_that_only_reads_is_repeated(stub: Stub, tmp_path: Path) -> None:
    stub.answer(calling_in_pieces("calculator", '{"expression": "6*7"}'))
    async with running_gateway(settings(stub, tool_policy="always_allow"), tmp_path) as gateway:
        tool = Hanging(gateway, "calculator")
        queued = await begin(gateway, model=HELPER)
        await tool.began.wait()
    stub.answer(calling_in_pieces("calculator", '{"expression": "6*7"}'), stream(stream_pieces(["42."])))
    async with running_gateway(settings(stub), tmp_path) as gateway:
        done = await until(gateway, queued["id"], "completed")
    assert [item.get("output") for item in done["output"] if item["type"] == "mcp_call"] == ["42"]
    assert text_of(done) == "42."


@pytest.mark.parametrize("background", [True, False], ids=["background", "foreground"])
async def test_a_lease_that_ran_out_is_taken_over(stub: Stub, tmp_path: Path, *, background: bool) -> None:
    """As after a crash: the run stands there, held by somebody who does not come back."""
    async with running_gateway(settings(stub), tmp_path) as gateway:
        if background:
            id_ = (await until(gateway, (await begin(gateway))["id"], "completed"))["id"]
        else:
            id_ = (await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi"})).json()["id"]
        state = gateway.gate.deps.state
        assert state is not None
        await crashed(gateway, id_)
        done = await until(gateway, id_, "completed" if background else "incomplete")
        if background:
            assert text_of(done) == "Hello there."
            assert len(stub.calls) == 1, "its items were kept, so nobody was asked again"
        conversation = (await state.runs.get(id_, Owner("default", ""))).conversation
        items = (await gateway.http.get(f"/v1/conversations/{conversation}/items")).json()["data"]
        assert len(items) == 2


async def crashed(gateway: Gateway, id_: str) -> None:
    """As if whoever worked on a run were gone, and its lease over."""
    state = gateway.gate.deps.state
    assert state is not None
    ran_out = {"status": "in_progress", "holder": "gone", "held_until": milliseconds() - 1}
    async with state.runs._database.writing() as connection:
        await connection.execute(update(stored_runs).where(stored_runs.c.id == id_).values(**ran_out))


@covers("155", "crash-state")
@pytest.mark.parametrize("door", [CHAT, MESSAGES], ids=["chat", "messages"])
async def test_whoever_follows_a_stream_that_died_with_its_process_is_told_so(
    stub: Stub, tmp_path: Path, door: Door
) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        made = await door.whole(gateway.http)
        before = taken(made.run, made.whole[: boundaries(made.whole)[-2]], door)
        await crashed(gateway, made.run)
        assert gateway.gate.deps.state is not None
        behind = (await rest(gateway, door, before)).decode()
        assert '"interrupted"' in behind or "The process that made it has ended." in behind
        assert "[DONE]" not in behind
        assert taken(made.run, behind.encode(), door).last > before.last
        again = await rest(gateway, door, Part(made.run, b"", -1))
        assert again.endswith(behind.encode())
