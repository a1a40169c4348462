"""What holds an orchestration: depth, time, money, the key; and that nothing of it goes on when its run is over."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.orchestra import (
    ORCHESTRATE,
    QUESTION,
    ask,
    calls,
    chunks_of,
    events_in,
    node,
    part_of,
    plan,
    playing,
    settings,
    shapes,
    text_in,
)
from tests.harness.stub import BOUND, Answer, Recorded, Stub
from tests.journeys.test_agents import calling
from tests.journeys.test_cancelling import cancel
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

HANGING = Answer(hang=True, framing="chunked", pieces=[b" "])
ORCHESTRATES: dict[str, Any] = {"strategy": "orchestration"}
COST = (7 * 1.5 + 3 * 6) / 1e6
"""Of each of the provider's answers, in USD."""


async def outcomes(gateway: Gateway, count: int) -> dict[str, tuple[str, str]]:
    """(outcome, error) of each agent's run."""
    lines = await gateway.wait_for_lines(count)
    return {line["model"]: (line["outcome"], line["error"] or "") for line in lines}


def nodes_left(stub: Stub) -> list[Recorded]:
    """The calls that hang."""
    return [one for one in stub.calls if part_of(one) in ("slow", "slower")]


@covers("51")
@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_an_agent_that_orchestrates_itself_stops_at_the_depth_limit(stub: Stub, depth: int) -> None:
    made = settings(stub, loop={**ORCHESTRATES, "delegates": ["loop"], "bounds": {"depth": depth}})
    stub.otherwise = playing(planner=plan(node("again", "loop")))
    async with running_gateway(made) as gateway:
        response = await ask(gateway, model="loop")
        lines = await gateway.wait_for_lines(depth + 1)
    assert response.status_code == 200
    assert (len(calls(stub, "planner")), len(calls(stub, "answer"))) == (depth, depth)
    deepest = calls(stub, "answer")[0]["messages"][-1]["content"]
    assert f"It failed: The agent 'loop' has nobody to ask: {depth} levels are allowed. (depth_limit)" in deepest
    assert sorted(line["error"] or "" for line in lines) == [*[""] * depth, "depth_limit"]
    assert text_in(response.text) == "Whole answer."


@covers("51")
async def test_an_agent_that_may_ask_nobody_is_an_error_with_a_code(stub: Stub) -> None:
    made = settings(stub, alone={**ORCHESTRATES, "bounds": {"depth": 0}})
    async with running_gateway(made) as gateway:
        response = await ask(gateway, model="alone")
    assert (response.status_code, response.json()["error"]["code"]) == (508, "depth_limit")
    assert not stub.calls


@covers("51")
async def test_when_time_is_over_nodes_end_and_the_answer_is_written_with_what_there_is(stub: Stub) -> None:
    made = settings(stub, {"bounds": {"seconds": 1.5}, "at_once": 2}, finder={})
    nodes = [
        node("fast", "finder"),
        node("slow", "small"),
        node("after", "small", "slow"),
        node("never", "small", "fast"),
    ]
    release = asyncio.Event()
    never = Answer(pieces=[b" ", b" "], framing="chunked", release=release)
    stub.otherwise = playing(planner=plan(*nodes), slow=HANGING, never=never)
    async with running_gateway(made) as gateway:
        response = await ask(gateway)
        lines = await gateway.wait_for_lines(4)
    release.set()
    events = {one["metadata"]["node"]: one for one in events_in(response.text) if "node" in one["metadata"]}
    assert {id_: one["type"] for id_, one in events.items()} == {
        "fast": "node_completed",
        "slow": "node_failed",
        "never": "node_failed",
        "after": "node_skipped",
    }
    assert "(time_limit)" in events["slow"]["error"]
    assert events["slow"]["metadata"]["duration_ms"] >= 500
    assert text_in(response.text) == "Whole answer."
    assert chunks_of(response.text)[-1]["proxy_status"] == {"type": "stopped", "status": "time_limit"}
    async with asyncio.timeout(BOUND):
        await nodes_left(stub)[0].left.wait()
    ended = sorted((line["outcome"], line["error"] or "") for line in lines)
    assert ended == [("cancelled", "run_cancelled")] * 2 + [("ok", "")] * 2


@covers("51")
async def test_when_the_money_is_spent_no_node_begins_any_more(stub: Stub, tmp_path: Path) -> None:
    """The planner and one node cost as much as is allowed."""
    made = settings(stub, {"bounds": {"usd": 2 * COST}, "at_once": 1})
    stub.otherwise = playing(planner=plan(node("a"), node("b"), node("c", "small", "b")))
    async with running_gateway(made, tmp_path) as gateway:
        response = await ask(gateway)
    events = events_in(response.text)
    assert shapes(events)[1:-1] == [
        ("node_started", "a"),
        ("node_completed", "a"),
        ("node_skipped", "b"),
        ("node_skipped", "c"),
    ]
    assert events[3]["error"] == "The bound 'budget_limit' was met before."
    assert chunks_of(response.text)[-1]["proxy_status"] == {"type": "stopped", "status": "budget_limit"}
    assert "It was not begun: The bound 'budget_limit'" in calls(stub, "answer")[0]["messages"][-1]["content"]


@covers("51")
async def test_time_still_ends_nodes_after_another_bound_was_met(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, {"bounds": {"usd": 2 * COST, "seconds": 1.5}, "at_once": 2})
    stub.otherwise = playing(planner=plan(node("a"), node("slow"), node("c")), slow=HANGING)
    async with running_gateway(made, tmp_path) as gateway:
        response = await ask(gateway)
    told = shapes(events_in(response.text))
    assert ("node_skipped", "c") in told
    assert told.index(("node_skipped", "c")) < told.index(("node_failed", "slow"))
    assert chunks_of(response.text)[-1]["proxy_status"]["status"] == "budget_limit"


@covers("51", "114")
async def test_a_budget_of_the_key_refuses_nodes_and_the_answer_goes_on_while_there_is_room(
    stub: Stub, tmp_path: Path
) -> None:
    made = settings(stub, greedy={"parameters": {"max_tokens": 100_000}})
    stub.otherwise = playing(planner=plan(node("a", "greedy"), node("b")))
    async with running_gateway(made, tmp_path) as running, await new_key(running, budgets=[{"usd": "0.1"}]) as caller:
        body = {"model": "small", "messages": QUESTION, "max_tokens": 10, "stream": True}
        response = await caller.post("/v1/chat/completions", json=body, headers=ORCHESTRATE)
    events = {one["metadata"]["node"]: one for one in events_in(response.text) if "node" in one["metadata"]}
    assert "(budget_exceeded)" in events["a"]["error"]
    assert events["b"]["type"] == "node_completed"
    assert text_in(response.text) == "Whole answer."


@covers("12", "51")
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_caller_that_leaves_ends_all_that_is_at_work(stub: Stub, streamed: bool) -> None:
    stub.otherwise = playing(
        planner=plan(node("slow", "finder"), node("slower", "writer")), slow=HANGING, slower=HANGING
    )
    async with running_gateway(settings(stub, finder={}, writer={})) as gateway:
        call = asyncio.ensure_future(ask(gateway, streamed=streamed))
        await stub.wait_for_calls(3)
        call.cancel()
        async with asyncio.timeout(BOUND):
            for one in nodes_left(stub):
                await one.left.wait()
        assert await outcomes(gateway, 3) == dict.fromkeys(("small", "finder", "writer"), ("disconnected", ""))
        assert len(stub.calls) == 3


@covers("12", "51")
async def test_a_run_that_is_cancelled_takes_its_nodes_with_it(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("slow", "finder")), slow=HANGING)
    async with running_gateway(settings(stub, finder={})) as gateway:
        headers = {**ORCHESTRATE, "x-request-id": "slow"}
        body = {"model": "small", "messages": QUESTION, "stream": True}
        call = asyncio.ensure_future(gateway.http.post("/v1/chat/completions", json=body, headers=headers))
        await stub.wait_for_calls(2)
        assert (await cancel(gateway.http, "slow"))[0] == 200
        response = await call
        async with asyncio.timeout(BOUND):
            await nodes_left(stub)[0].left.wait()
        found = await outcomes(gateway, 2)
    assert chunks_of(response.text)[-1]["error"]["code"] == "run_cancelled"
    assert found["finder"] == ("cancelled", "run_cancelled")


@covers("119", "40")
async def test_agents_that_the_key_may_not_use_are_not_offered(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, finder={}, secret={}, costly={"model": "wise"}, heir={"model": "inherit"})
    stub.otherwise = playing(planner=plan(node("a", "heir"), node("b", "finder")))
    allowed = {"allow": ["grains", "finder", "costly", "heir"]}
    async with running_gateway(made, tmp_path) as running, await new_key(running, models=allowed) as caller:
        body = {"model": "small", "messages": QUESTION}
        response = await caller.post("/v1/chat/completions", json=body, headers=ORCHESTRATE)
    assert response.status_code == 200, response.text
    [planner] = calls(stub, "planner")
    offered = [line.split(":")[0] for line in planner["messages"][0]["content"].splitlines()[-3:]]
    assert offered == ["- finder", "- heir", "- small"]
    assert calls(stub, "a")[0]["model"] == "stub-small"


@covers("119")
async def test_a_plain_model_that_the_key_has_by_a_group_may_reason_and_orchestrate(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = playing(planner=plan(node("a")))
    async with (
        running_gateway(settings(stub), tmp_path) as running,
        await new_key(running, models={"allow": ["grains"]}) as caller,
    ):
        for mode in ("reasoning", "orchestration"):
            body = {"model": "small", "messages": QUESTION}
            answered = await caller.post("/v1/chat/completions", json=body, headers={"x-routing-mode": mode})
            assert answered.status_code == 200, answered.text
            other = {**body, "model": "wise"}
            refused = await caller.post("/v1/chat/completions", json=other, headers={"x-routing-mode": mode})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_forbidden")


@covers("51", "152")
async def test_every_call_is_in_the_ledger_once_below_the_run_that_made_it(stub: Stub, tmp_path: Path) -> None:
    agents: dict[str, Any] = {"finder": {"tools": ["calculator"]}, "chief": {**ORCHESTRATES, "delegates": ["finder"]}}
    inner, outer = plan(node("in", "finder")), plan(node("a", "finder"), node("deep", "chief"))

    def planner(request: Recorded) -> Answer:
        return inner if len(calls(stub, "planner")) > 1 else outer

    used = calling(("calculator", {"expression": "6*7"}))
    usual = playing(planner=planner)

    def play(request: Recorded) -> Answer:
        first = part_of(request) == "a" and len(request.json["messages"]) == 2
        return used if first else usual(request)

    stub.otherwise = play
    async with running_gateway(settings(stub, **agents), tmp_path) as gateway:
        response = await ask(gateway, streamed=False)
        run = response.headers["x-request-id"]
        ledger = await rows(gateway, len(stub.calls))
    assert response.json()["usage"]["total_tokens"] == 10 * len(stub.calls)
    assert len(ledger) == len(stub.calls) == 7
    own = [one["component"] for one in ledger if one["run"] == run]
    assert own == ["planner", "orchestrator"]
    [*events] = response.json()["choices"][0]["message"]["reasoning_events"]
    started = {one["metadata"]["run"] for one in events if one["type"] == "node_started"}
    assert started == {one["run"] for one in ledger if one["parent"] == run}
    [chief] = {one["run"] for one in ledger if one["model"] == "chief"}
    below = sorted((one["model"], one["component"]) for one in ledger if one["parent"] == run)
    assert below == [("chief", "orchestrator"), ("chief", "planner"), ("finder", "agent"), ("finder", "agent")]
    deeper = [(one["model"], one["component"]) for one in ledger if one["parent"] == chief]
    assert deeper == [("finder", "agent")]
    assert len({one["key"] for one in ledger}) == 1
    assert all(float(one["cost_usd"]) == pytest.approx(COST) for one in ledger)
