"""Bounds on runs that the gateway steers: each ends the loop with its name, before the next call is made."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from headgate.tools.types import Caller, ToolResult
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import DONE, USAGE, Answer, Recorded, Stub, chat, chunk, stream
from tests.journeys import test_reasoning as reasoning
from tests.journeys.test_agent_prompts import tool, with_tools
from tests.journeys.test_agents import calling, calling_in_pieces, settings
from tests.requirements import covers

NAME = "augmented/helper"
PRICE = {"input": "1.5", "output": "6"}
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


async def hang(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError


def endless(request: Recorded) -> Answer:
    """Calls the calculator with something else each time, unless it may not."""
    if request.json.get("tool_choice") == "none":
        return stream() if request.json.get("stream") else chat("Hello there.")
    arguments = {"expression": str(len(request.json["messages"]))}
    if request.json.get("stream"):
        return calling_in_pieces("calculator", json.dumps(arguments))
    return calling(("calculator", arguments))


def again(request: Recorded) -> Answer:
    """The same call again and again, unless it may not."""
    if request.json.get("tool_choice") == "none":
        return endless(request)
    if request.json.get("stream"):
        return calling_in_pieces("calculator", '{"expression": "6*7"}')
    return calling(("calculator", {"expression": "6*7"}))


def stopped(text: str, streamed: bool) -> list[str]:
    """The reasons that an answer tells, in its last chunk or beside its choices."""
    told = [line.removeprefix("data: ") for line in text.split("\n\n") if "{" in line] if streamed else [text]
    statuses = [json.loads(one).get("proxy_status") or {} for one in told]
    return [one["status"] for one in statuses if one.get("type") == "stopped"]


@covers("65")
@both_ways
async def test_three_rounds_of_tools_come_before_the_answer(stub: Stub, streamed: bool) -> None:
    rounds = [("calculator", f"{number}*7") for number in (1, 2, 3)]
    for name, expression in rounds:
        arguments = {"expression": expression}
        stub.answer(calling_in_pieces(name, json.dumps(arguments)) if streamed else calling((name, arguments)))
    async with running_gateway(settings(stub)) as gateway:
        response = await gateway.chat(model=NAME, stream=streamed)
    assert "Hello" in response.text
    assert stopped(response.text, streamed) == []
    results = [one["content"] for one in stub.last.json["messages"] if one["role"] == "tool"]
    assert results == ["7", "14", "21"]
    assert len(stub.calls) == 4


@covers("65", "162")
@both_ways
async def test_the_same_call_again_and_again_stops_before_the_bound_on_turns(
    stub: Stub, tmp_path: Path, streamed: bool
) -> None:
    stub.otherwise = again
    async with running_gateway(settings(stub, bounds={"turns": 10, "same_calls": 3}), tmp_path) as gateway:
        response = await gateway.chat(model=NAME, stream=streamed)
        assert stopped(response.text, streamed) == ["repeated_tool_call"]
        assert "Hello" in response.text
        assert len(stub.calls) == 4
        assert (await gateway.wait_for_lines(1))[0]["stopped"] == "repeated_tool_call"
        run = (await gateway.http.get(f"/v1/runs/{response.headers['x-request-id']}")).json()
    assert run["decision"]["stopped"] == "repeated_tool_call"


@covers("65")
@both_ways
async def test_a_model_that_answers_when_it_may_call_no_more_is_told_to_have_been_stopped(
    stub: Stub, streamed: bool
) -> None:
    stub.otherwise = endless
    async with running_gateway(settings(stub, bounds={"turns": 2})) as gateway:
        response = await gateway.chat(model=NAME, stream=streamed)
    assert stopped(response.text, streamed) == ["tool_loop_limit"]
    assert "Hello" in response.text


@covers("162")
@both_ways
@pytest.mark.parametrize(
    ("bounds", "reason", "calls"),
    [
        ({"tokens": 15}, "token_limit", 2),
        ({"usd": 0.00005}, "budget_limit", 2),
        ({"seconds": 0.2}, "time_limit", 1),
    ],
)
async def test_tokens_money_and_time_of_a_run_end_it_by_name(
    stub: Stub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bounds: dict[str, float],
    reason: str,
    calls: int,
    streamed: bool,
) -> None:
    with_tools(monkeypatch, tool("hang", hang))
    name = "hang" if "seconds" in bounds else "calculator"

    def answer(request: Recorded) -> Answer:
        arguments = {"expression": str(len(request.json["messages"]))}
        if not streamed:
            return calling((name, arguments))
        one = calling_in_pieces(name, json.dumps(arguments))
        return stream([*(one.pieces or ())[:-1], chunk(usage=USAGE), DONE])

    stub.otherwise = answer
    tree = settings(stub, bounds=bounds, tools=["calculator", "hang"])
    tree["models"][0]["price"] = PRICE
    async with running_gateway(tree, tmp_path) as gateway:
        response = await gateway.chat(model=NAME, stream=streamed)
        assert response.status_code == 200
        assert stopped(response.text, streamed) == [reason]
        assert (await gateway.wait_for_lines(1))[0]["stopped"] == reason
    assert len(stub.calls) == calls


async def reasoned(gateway: Gateway) -> tuple[list[dict[str, Any]], str, str]:
    """(the events, the answer's text, the reason that is told)"""
    body = {"model": "small", "messages": reasoning.QUESTION, "stream": True}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers=reasoning.REASON)
    assert response.status_code == 200, response.text
    chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    deltas = [one["choices"][0]["delta"] for one in chunks if one.get("choices")]
    events = [one["reasoning_event"] for one in deltas if "reasoning_event" in one]
    return events, "".join(one.get("content") or "" for one in deltas), ", ".join(stopped(response.text, True))


def thinking(request: Recorded) -> Answer:
    return stream() if request.json.get("stream") else reasoning.step("Hm.", "continue_thinking")


@covers("33")
@pytest.mark.parametrize(
    ("bounds", "reason", "steps"),
    [({"tokens": 25}, "token_limit", 3), ({"turns": 4}, "tool_loop_limit", 4), ({"usd": 0.00005}, "budget_limit", 2)],
)
async def test_reasoning_ends_at_its_bounds_and_still_answers(
    stub: Stub, tmp_path: Path, bounds: dict[str, float], reason: str, steps: int
) -> None:
    stub.otherwise = thinking
    tree = reasoning.settings(stub, bounds=bounds)
    tree["models"][0]["price"] = PRICE
    async with running_gateway(tree, tmp_path) as gateway:
        events, text, told = await reasoned(gateway)
    assert (text, told) == ("Hello there.", reason)
    assert [one["type"] for one in events].count("planning") == steps


@covers("33")
@pytest.mark.parametrize("where", ["first step", "later step", "tool"])
async def test_reasoning_whose_time_is_over_still_answers(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with_tools(monkeypatch, tool("hang", hang))
    stuck = reasoning.step("", "use_tools", ("hang", {})) if where == "tool" else Answer(delay=60)
    before = [] if where == "first step" else [reasoning.step("Hm.", "continue_thinking")]
    stub.answer(*before, stuck)
    tree = reasoning.settings(stub, bounds={"seconds": 0.3}, tool_groups=["test"])
    async with running_gateway(tree) as gateway:
        events, text, told = await reasoned(gateway)
    assert (text, told) == ("Hello there.", "time_limit")
    failed = [one["error"] for one in events if one["type"] == "error"]
    assert len(failed) == (0 if where == "tool" else 1)
    assert events[-1]["type"] == "reasoning_complete"


@covers("34")
async def test_a_later_step_that_fails_is_told_and_the_answer_comes_all_the_same(stub: Stub) -> None:
    stub.answer(reasoning.step("Hm.", "continue_thinking"), Answer(status=500))
    async with running_gateway(reasoning.settings(stub)) as gateway:
        events, text, told = await reasoned(gateway)
        stub.answer(Answer(status=500))
        body = {"model": "small", "messages": reasoning.QUESTION, "stream": True}
        first = await gateway.http.post("/v1/chat/completions", json=body, headers=reasoning.REASON)
    assert (text, told) == ("Hello there.", "")
    assert [one["type"] for one in events[-3:]] == ["iteration_start", "error", "reasoning_complete"]
    assert "upstream_fault" in events[-2]["error"]
    assert (first.status_code, first.json()["error"]["code"]) == (502, "upstream_fault")
