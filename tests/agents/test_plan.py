"""Plans of several agents: what is no plan is told with all its faults; nodes begin when they may, each once."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.agents.plan import AgentPlan, Node, PlanFaulty, Schedule, State, plan_schema, read_plan
from headgate.agents.written import json_in
from tests.requirements import covers

AGENTS = ("augmented/finder", "writer")


def node(id_: Any, agent: Any = "writer", objective: Any = "Do it.", depends_on: Any = ()) -> dict[str, Any]:
    return {"id": id_, "agent": agent, "objective": objective, "depends_on": list(depends_on)}


def plan(*nodes: Any, **more: Any) -> str:
    return json.dumps({"reason": "Because.", "nodes": list(nodes), **more})


@covers("40")
def test_a_plan_is_read_with_its_nodes_in_order() -> None:
    read = read_plan(plan(node("a", "augmented/finder"), node("b", depends_on=["a", "a"])), AGENTS, 8)
    assert read == AgentPlan(
        (Node("a", "augmented/finder", "Do it."), Node("b", "writer", "Do it.", ("a",))), "Because."
    )


@covers("40")
@pytest.mark.parametrize("wrapped", ["```json\n{}\n```", "Here it is: {} As you see.", "```\n{}```", "\n{}"])
def test_words_and_fences_around_a_plan_do_no_harm(wrapped: str) -> None:
    assert read_plan(wrapped.replace("{}", plan(node("a"))), AGENTS, 8).nodes[0].id == "a"


@covers("40")
def test_models_may_number_nodes_and_call_agents_with_and_without_their_prefix() -> None:
    read = read_plan(plan(node(1, "finder"), node(2, "augmented/writer", depends_on=[1])), AGENTS, 8)
    assert [(one.id, one.agent, one.depends_on) for one in read.nodes] == [
        ("1", "augmented/finder", ()),
        ("2", "writer", ("1",)),
    ]


@covers("40")
def test_a_prefix_never_makes_one_agent_of_two() -> None:
    read = read_plan(plan(node("a", "x"), node("b", "augmented/x")), ("augmented/x", "x"), 8)
    assert [one.agent for one in read.nodes] == ["x", "augmented/x"]


@covers("41")
@pytest.mark.parametrize(
    ("written", "faults"),
    [
        ("I would first look around.", ["not one JSON object"]),
        ("[1]", ["no list 'nodes'"]),
        ('{"nodes": {}}', ["no list 'nodes'"]),
        ("{" * 5000, ["not one JSON object"]),
        (plan(), ["is empty"]),
        (plan(1), ["number 1 is no object"]),
        (plan(node("")), ["number 1 has no id"]),
        (plan(node(True)), ["number 1 has no id"]),
        (plan(node("a", objective=" ")), ["'a' has no objective"]),
        (plan(node("a", "nobody")), ["unknown agent 'nobody'", "augmented/finder, writer"]),
        (plan({**node("a"), "depends_on": "b"}), ["'depends_on' is no list"]),
        (plan(node("a", depends_on=["z"])), ["'a' depends on 'z', which is no node"]),
        (plan(node("a", depends_on=[{}])), ["'a' depends on '', which is no node"]),
        (plan(node("a", depends_on=["a"])), ["'a' depends on itself"]),
        (plan(node("a"), node("a")), ["'a' is given to 2 nodes"]),
        (plan(*map(node, "abcd")), ["4 nodes; 3 are allowed"]),
        (plan(node("a", depends_on=["b"]), node("b", depends_on=["a"])), ["each other: a -> b -> a"]),
        (plan(node("n" * 65)), ["longer than 64"]),
        (plan(node("a", objective="x" * 8001)), ["longer than 8000"]),
        (plan(node("a", "nobody"), node("b", depends_on=["z"])), ["nobody", "'z'"]),
    ],
)
def test_what_is_wrong_with_a_plan_is_told_all_at_once(written: str, faults: list[str]) -> None:
    with pytest.raises(PlanFaulty) as caught:
        read_plan(written, AGENTS, 3)
    for fault in faults:
        assert fault in str(caught.value)


@covers("41")
def test_of_hostile_plans_no_more_is_told_back_than_can_be_read() -> None:
    with pytest.raises(PlanFaulty) as caught:
        read_plan(plan(*(node("a", "x" * 10_000) for _ in range(1000))), AGENTS, 3)
    assert len(str(caught.value)) < 10_000


@covers("41")
def test_a_ring_is_found_behind_nodes_that_lead_into_it() -> None:
    nodes = [node("in", depends_on=["x"]), node("x", depends_on=["z"]), node("y", depends_on=["x"])]
    with pytest.raises(PlanFaulty, match=r"x -> z -> y -> x|z -> y -> x -> z|y -> x -> z -> y"):
        read_plan(plan(*nodes, node("z", depends_on=["y"]), node("free")), AGENTS, 8)


@covers("40")
def test_the_schema_names_the_agents_and_keeps_to_the_strict_form() -> None:
    schema: Any = plan_schema(AGENTS)["json_schema"]
    of_node = schema["schema"]["properties"]["nodes"]["items"]
    assert schema["strict"] is True
    assert of_node["properties"]["agent"]["enum"] == list(AGENTS)
    for one in (schema["schema"], of_node):
        assert one["required"] == list(one["properties"])
        assert one["additionalProperties"] is False


@covers("40")
def test_words_that_hold_no_json_are_said_to_be_none() -> None:
    for text in ("", "}{", "{a}", "none"):
        with pytest.raises(ValueError, match="not JSON"):
            json_in(text)


@st.composite
def dags(draw: st.DrawFn) -> AgentPlan:
    """Up to twelve nodes, in an order that says nothing of their dependencies."""
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(count)))
    nodes = {}
    for at, number in enumerate(order):
        before = draw(st.sets(st.sampled_from(order[:at]))) if at else set()
        nodes[number] = Node(f"n{number}", "writer", "Do it.", tuple(f"n{one}" for one in sorted(before)))
    return AgentPlan(tuple(nodes[number] for number in range(count)))


def below(plan_: AgentPlan, roots: set[str]) -> set[str]:
    """All nodes that build on these, directly or not."""
    found: set[str] = set()
    while more := {
        one.id for one in plan_.nodes if one.id not in found and not (roots | found).isdisjoint(one.depends_on)
    }:
        found |= more
    return found


@covers("42", "43", "51")
@given(plan_=dags(), at_once=st.integers(1, 5), data=st.data())
def test_every_node_runs_once_after_those_it_builds_on_or_is_skipped_for_one_that_failed(
    plan_: AgentPlan, at_once: int, data: st.DataObject
) -> None:
    schedule = Schedule.of(plan_, at_once)
    known: Mapping[str, Node] = {one.id: one for one in plan_.nodes}
    began: list[str] = []
    done: set[str] = set()
    failed: set[str] = set()
    skipped: list[str] = []
    running: list[str] = []
    while True:
        for one in schedule.begin():
            assert set(one.depends_on) <= done
            began.append(one.id)
            running.append(one.id)
        assert len(running) <= at_once
        if len(running) < at_once:
            idle = [one for one in plan_.nodes if one.id not in began and one.id not in skipped]
            assert not [one.id for one in idle if set(one.depends_on) <= done], "a node that could run waits"
        if not running:
            break
        ending = running.pop(data.draw(st.integers(0, len(running) - 1)))
        well = data.draw(st.booleans())
        (done if well else failed).add(ending)
        for one in schedule.end(ending, well=well):
            assert schedule.missing(known[one.id])
            skipped.append(one.id)
    assert len(began) == len(set(began))
    assert len(skipped) == len(set(skipped))
    assert set(skipped) == below(plan_, failed) - failed
    assert sorted([*began, *skipped]) == sorted(known)
    ended: dict[State, set[str]] = {"completed": done, "failed": failed, "skipped": set(skipped)}
    for state, ids in ended.items():
        assert {one.id for one in schedule.being(state)} == ids


@covers("51")
@given(plan_=dags(), at_once=st.integers(1, 5))
def test_once_stopped_nothing_begins_any_more(plan_: AgentPlan, at_once: int) -> None:
    schedule = Schedule.of(plan_, at_once)
    began = schedule.begin()
    stopped = schedule.stop()
    assert {one.id for one in (*began, *stopped)} == {one.id for one in plan_.nodes}
    for one in began:
        assert not schedule.end(one.id, well=True)
    assert not schedule.begin()
