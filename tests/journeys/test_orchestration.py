"""Several agents share a request: a plan, nodes that run as soon as they can, events of all of it, and one answer."""

import asyncio
import json
from time import monotonic
from typing import Any

import pytest

from tests.harness.gateway import running_gateway
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
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat
from tests.requirements import covers

DIAMOND = [
    node("oats", "finder"),
    node("rye", "finder"),
    node("table", "writer", "oats", "rye"),
    node("proof", "small", "table"),
]
AGENTS: dict[str, Any] = {
    "finder": {"description": "Finds things out.", "tools": ["calculator"]},
    "writer": {"description": "Writes."},
}


@covers("24", "40", "44", "45")
async def test_a_plain_model_divides_a_request_among_the_agents_and_answers_from_what_they_found(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(*DIAMOND))
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        response = await ask(gateway)
    assert response.status_code == 200, response.text
    assert response.headers["x-headgate-strategy"] == "orchestration"
    assert response.headers["x-headgate-strategy-source"] == "header_override"
    events = events_in(response.text)
    assert events[0]["type"] == "plan"
    assert events[0]["metadata"]["nodes"] == DIAMOND
    assert events[0]["metadata"]["thought"] == "Two pieces."
    assert events[0]["metadata"]["usage"]["total_tokens"] == 10
    told = shapes(events)
    assert told[1:3] == [("node_started", "oats"), ("node_started", "rye")]
    assert set(told[3:5]) == {("node_completed", "oats"), ("node_completed", "rye")}
    assert told[5:] == [
        ("node_started", "table"),
        ("node_completed", "table"),
        ("node_started", "proof"),
        ("node_completed", "proof"),
        ("orchestration_complete", ""),
    ]
    places = {one["metadata"]["node"]: one["step_iteration"] for one in events if "node" in one["metadata"]}
    assert places == {"oats": 1, "rye": 2, "table": 3, "proof": 4}
    assert events[-1]["metadata"]["completed"] == ["oats", "rye", "table", "proof"]
    assert text_in(response.text) == "Whole answer."
    assert chunks_of(response.text)[-1]["choices"][0]["finish_reason"] == "stop"


@covers("40", "42")
async def test_each_part_is_told_what_it_has_to_know_and_nothing_else(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(*DIAMOND))
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        await ask(gateway, seed=7, temperature=0.9, max_tokens=5, response_format=None)
    [planner], [oats], [table], [answer] = (calls(stub, part) for part in ("planner", "oats", "table", "answer"))
    listed = planner["messages"][0]["content"]
    assert "- finder: Finds things out. Tools: calculator." in listed
    assert "- writer: Writes. Tools: none." in listed
    assert "- small: Works by itself. Tools: none." in listed
    assert planner["messages"][1:] == QUESTION[1:]
    assert "French" not in json.dumps(planner)
    assert (planner["temperature"], planner["seed"]) == (0.2, 7)
    assert "max_tokens" not in planner
    assert "stream" not in planner
    assert oats["messages"][0]["content"] == "You are finder."
    assert oats["tools"][0]["function"]["name"] == "calculator"
    assert oats["messages"][1:] == [
        {
            "role": "user",
            "content": "Your piece of the work:\nDo oats.\n\nThe request that the work as a whole is for; do only your "
            "piece of it:\nCompare oats and rye.",
        }
    ]
    told = table["messages"][-1]["content"]
    assert "Result of 'oats' by finder:\nFound by oats." in told
    assert "Result of 'rye' by finder:\nFound by rye." in told
    assert answer["messages"][:4] == QUESTION
    closing = answer["messages"][4]["content"]
    assert "Piece 'proof' by small: Do proof.\nResult:\nFound by proof." in closing
    assert (answer["temperature"], answer["max_tokens"], answer["stream"]) == (0.9, 5, True)


@covers("40")
@pytest.mark.parametrize("known", [True, None])
async def test_models_that_keep_to_schemas_are_given_the_plans_and_others_are_asked_in_words(
    stub: Stub, known: bool | None
) -> None:
    stub.otherwise = playing(planner=plan(node("a")))
    tree = settings(stub, {"model": "wise"}, **AGENTS)
    tree["models"][1]["capabilities"] = {"json_schema": known}
    async with running_gateway(tree) as gateway:
        assert (await ask(gateway, seed=7)).status_code == 200
    [planner] = calls(stub, "planner")
    assert (planner["model"], "seed" in planner) == ("stub-wise", False)
    if known:
        schema = planner["response_format"]["json_schema"]["schema"]["properties"]["nodes"]["items"]
        assert schema["properties"]["agent"]["enum"] == ["finder", "writer", "small"]
    else:
        assert planner["response_format"] == {"type": "json_object"}
    assert '"depends_on"' in planner["messages"][0]["content"]
    assert calls(stub, "answer")[0]["model"] == "stub-small"


@covers("40")
async def test_a_plain_model_without_any_agents_has_itself(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("oats"), node("rye")))
    async with running_gateway(settings(stub)) as gateway:
        response = await ask(gateway, streamed=False)
    assert response.json()["choices"][0]["message"]["content"] == "Whole answer."
    assert response.headers["x-headgate-strategy"] == "orchestration"
    assert "x-headgate-fallback" not in response.headers
    assert "tools" not in calls(stub, "oats")[0]


@covers("41")
async def test_a_faulty_plan_is_sent_back_once_with_all_that_is_wrong(stub: Stub) -> None:
    faulty = plan(node("a", "nobody"), node("b", "writer", "z"))
    stub.otherwise = playing(planner=[faulty, plan(node("a", "writer"))])
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        response = await ask(gateway)
    assert shapes(events_in(response.text))[0] == ("plan", "")
    assert events_in(response.text)[0]["metadata"]["usage"]["total_tokens"] == 20
    first, second = calls(stub, "planner")
    assert second["messages"][: len(first["messages"])] == first["messages"]
    said, wish = second["messages"][len(first["messages"]) :]
    assert said == {"role": "assistant", "content": json.loads(faulty.body)["choices"][0]["message"]["content"]}
    assert "unknown agent 'nobody'" in wish["content"]
    assert "'z', which is no node" in wish["content"]
    assert text_in(response.text) == "Whole answer."


@covers("41", "19")
@pytest.mark.parametrize(
    ("faulty", "why"),
    [
        (plan(node("a", "writer", "b"), node("b", "writer", "a")), "a -> b -> a"),
        (plan(node("a", "nobody")), "unknown agent 'nobody'"),
        (plan(node("a", "writer", "z")), "'z', which is no node"),
        (plan(*(node(one, "writer") for one in "abc")), "3 nodes; 2 are allowed"),
        (plan(node("a"), node("a")), "given to 2 nodes"),
        (plan(), "empty"),
        (chat("I cannot."), "not JSON"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_second_faulty_plan_is_an_error_that_names_its_faults(
    stub: Stub, faulty: Answer, why: str, streamed: bool
) -> None:
    stub.otherwise = playing(planner=faulty)
    async with running_gateway(settings(stub, {"nodes": 2}, **AGENTS)) as gateway:
        response = await ask(gateway, streamed=streamed)
        [line] = await gateway.wait_for_lines(1)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "plan_invalid")
    assert why in error["message"]
    assert len(stub.calls) == 2
    assert (line["outcome"], line["error"]) == ("error", "plan_invalid")


@covers("41")
async def test_a_provider_that_fails_at_the_plan_is_the_callers_error(stub: Stub) -> None:
    stub.otherwise = playing(planner=Answer(status=500, body=b"{}"))
    async with running_gateway(settings(stub)) as gateway:
        response = await ask(gateway)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_fault")


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
