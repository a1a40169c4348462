"""Several agents share a request: a plan, nodes that run as soon as they can, events of all of it, and one answer."""

import json
from typing import Any

import pytest

from tests.harness.gateway import running_gateway
from tests.harness.orchestra import (
    QUESTION,
    ask,
    calls,
    chunks_of,
    events_in,
    node,
    plan,
    playing,
    settings,
    shapes,
    text_in,
)
from tests.harness.stub import Answer, Stub, chat
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
