"""Which calls are held back."""

from collections.abc import Mapping
from typing import Any

import pytest

from headgate.core.chat import Call, ToolEnded, ToolHeld, ToolStarted
from headgate.tools.builtin.function import FunctionTool, schema
from headgate.tools.builtin.registry import COMPUTE
from headgate.tools.policy import Policies, may_destroy
from headgate.tools.runner import Batch, ToolBounds
from headgate.tools.types import UNTOLD, Caller, Hints, Policy, ToolInfo, ToolResult
from tests.requirements import covers
from tests.tools.calling import WHO

pytestmark = covers("policies")


@pytest.mark.parametrize(
    ("hints", "held"),
    [
        (Hints(), True),
        (Hints(read_only=True), False),
        (Hints(read_only=False), True),
        (Hints(destructive=False), False),
        (Hints(destructive=True), True),
        (Hints(read_only=True, destructive=True), True),
        (Hints(read_only=False, destructive=False), False),
        (Hints(idempotent=True, open_world=False), True),
    ],
)
def test_a_tool_that_says_nothing_counts_as_one_that_destroys(hints: Hints, held: bool) -> None:
    assert may_destroy(hints) is held


def info(name: str, hints: Hints = UNTOLD) -> ToolInfo:
    return ToolInfo(name, "", schema(), "plugin", hints=hints)


@pytest.mark.parametrize(
    ("default", "by_name", "held"),
    [
        ("auto", {}, True),
        ("always_allow", {}, False),
        ("always_ask", {}, True),
        ("auto", {"delete_*": "always_allow"}, False),
        ("always_allow", {"*": "always_ask"}, True),
        ("always_allow", {"*": "always_allow", "delete_*": "always_ask"}, True),
        ("always_ask", {"delete_all": "always_allow", "delete_*": "always_ask"}, False),
        ("auto", {"other": "always_allow"}, True),
    ],
)
def test_the_most_exact_pattern_counts(default: Policy, by_name: dict[str, Policy], held: bool) -> None:
    assert Policies(default, by_name).holds(info("delete_all")) is held


def test_no_builtin_of_the_compute_group_is_held() -> None:
    assert not any(Policies("auto").holds(tool.info) for tool in COMPUTE)


async def test_a_held_call_is_told_and_never_runs_beside_those_that_do() -> None:
    ran: list[str] = []

    def tool(name: str, hints: Hints) -> FunctionTool:
        def function(_: Mapping[str, Any], __: Caller) -> ToolResult:
            ran.append(name)
            return ToolResult(name)

        return FunctionTool(info(name, hints), function)

    tools = {"read": tool("read", Hints(read_only=True)), "delete": tool("delete", Hints())}
    calls = [Call("1", "delete", "{}"), Call("2", "read", "{}"), Call("3", "delete", "{}")]
    batch = Batch(calls, tools, ToolBounds(), WHO, 1)
    events = [event async for event in batch.run()]
    assert ran == ["read"]
    assert [type(event) for event in events] == [ToolHeld, ToolHeld, ToolStarted, ToolEnded]
    assert [outcome.result.failed for outcome in batch.outcomes] == [True, False, True]
    assert "needs the approval" in batch.outcomes[0].result.text


async def test_a_turn_of_held_calls_alone_ends() -> None:
    tools = {"delete": FunctionTool(info("delete"), lambda *_: ToolResult(""))}
    batch = Batch([Call("1", "delete", "{}")], tools, ToolBounds(parallel=False), WHO, 1)
    assert [type(event) async for event in batch.run()] == [ToolHeld]
    assert len(batch.outcomes) == 1
