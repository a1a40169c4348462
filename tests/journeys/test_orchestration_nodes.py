"""Nodes of a plan: side by side, as soon as they can, and without those that failed."""

import asyncio
from time import monotonic
from typing import Any

import pytest

from tests.harness.gateway import running_gateway
from tests.harness.orchestra import (
    ORCHESTRATE,
    QUESTION,
    ask,
    calls,
    events_in,
    node,
    part_of,
    plan,
    playing,
    settings,
    shapes,
    text_in,
)
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat
from tests.requirements import covers


@covers("42")
async def test_nodes_run_side_by_side_and_each_begins_as_soon_as_it_can(stub: Stub) -> None:
    """Two nodes of 300 ms take 300 ms; a third does not wait for a slow one that it does not build on."""
    slow = asyncio.Event()
    hanging = Answer(pieces=[b" ", json_of("Slow.")], framing="chunked", release=slow)
    parts = {"a": chat_after(0.3, "A."), "b": chat_after(0.3, "B."), "slow": hanging}
    stub.otherwise = playing(planner=plan(node("a"), node("b"), node("slow"), node("c", "small", "a", "b")), **parts)
    began: dict[str, float] = {}
    async with running_gateway(settings(stub)) as gateway:
        body = {"model": "small", "messages": QUESTION, "stream": True}
        async with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=ORCHESTRATE) as response:
            async with asyncio.timeout(BOUND):
                async for line in response.aiter_lines():
                    for event in events_in(f"{line}\n\n"):
                        began[f"{event['type']} {event['metadata'].get('node')}"] = monotonic()
                        if event["type"] == "node_completed" and event["metadata"]["node"] == "c":
                            slow.set()
    assert 0.29 <= began["node_completed b"] - began["node_started a"] < 0.5
    assert began["node_completed c"] < began["node_completed slow"]
    assert began["node_started c"] > began["node_completed a"]


def json_of(text: str) -> bytes:
    return chat(text).body


def chat_after(seconds: float, text: str) -> Answer:
    answer = chat(text)
    answer.delay = seconds
    return answer


@covers("42", "51")
async def test_no_more_nodes_run_at_once_than_are_allowed(stub: Stub) -> None:
    at_work, most = 0, 0
    release = asyncio.Event()

    def play(request: Recorded) -> Answer:
        nonlocal at_work, most
        part = part_of(request)
        if part in "abcd":
            at_work += 1
            most = max(most, at_work)
            if at_work == 2:
                release.set()
            return Answer(pieces=[b" ", json_of(part)], framing="chunked", release=release)
        return usual(request)

    usual = playing(planner=plan(*map(node, "abcd")))
    stub.otherwise = play
    async with running_gateway(settings(stub, {"at_once": 2})) as gateway:
        response = await ask(gateway)
    events, running, peak = events_in(response.text), 0, 0
    for kind, _ in shapes(events):
        running += (kind == "node_started") - (kind == "node_completed")
        peak = max(peak, running)
    assert (at_work, peak) == (4, 2)
    assert shapes(events)[1:3] == [("node_started", "a"), ("node_started", "b")]


@covers("43", "44")
@pytest.mark.parametrize(
    ("failing", "why"),
    [
        (Answer(status=500, body=b"{}"), "(upstream_fault)"),
        (Answer(body=b"not json"), "(upstream_garbled)"),
        (chat(""), "gave no answer"),
    ],
)
async def test_a_failed_node_takes_those_with_it_that_build_on_it_and_the_answer_is_told(
    stub: Stub, failing: Answer, why: str
) -> None:
    nodes = [node("bad"), node("good"), node("after", "small", "bad"), node("last", "small", "after", "good")]
    stub.otherwise = playing(planner=plan(*nodes), bad=failing)
    async with running_gateway(settings(stub)) as gateway:
        response = await ask(gateway)
    events = {
        one["metadata"]["node"]: one
        for one in events_in(response.text)
        if one["type"] != "node_started" and "node" in one["metadata"]
    }
    assert {id_: one["type"] for id_, one in events.items()} == {
        "bad": "node_failed",
        "good": "node_completed",
        "after": "node_skipped",
        "last": "node_skipped",
    }
    assert why in events["bad"]["error"]
    assert events["bad"]["metadata"]["duration_ms"] >= 0
    assert events["last"]["error"] == "It builds on 'after', which gave nothing."
    complete = events_in(response.text)[-1]["metadata"]
    assert (complete["completed"], complete["failed"], complete["skipped"]) == (["good"], ["bad"], ["after", "last"])
    closing = calls(stub, "answer")[0]["messages"][-1]["content"]
    assert "say plainly what is missing" in closing
    assert "Piece 'bad' by small: Do bad.\nIt failed: " in closing
    assert why in closing
    assert "Piece 'after' by small: Do after.\nIt was not begun: It builds on 'bad'" in closing
    assert "Found by good." in closing
    assert text_in(response.text) == "Whole answer."


@covers("43")
async def test_a_fault_of_our_own_in_one_node_leaves_the_others(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    from headgate.pipeline import orchestration

    def broken(node_: Any, *_: Any) -> str:
        if node_.id == "bad":
            raise RuntimeError("as planted")
        return f"Your piece of the work:\n{node_.objective}"

    monkeypatch.setattr(orchestration, "task_of", broken)
    stub.otherwise = playing(planner=plan(node("bad"), node("good")))
    async with running_gateway(settings(stub)) as gateway:
        response = await ask(gateway)
    events = events_in(response.text)
    assert ("node_completed", "good") in shapes(events)
    [failed] = [one for one in events if one["type"] == "node_failed"]
    assert "internal_error" in failed["error"]
    assert "as planted" not in response.text
