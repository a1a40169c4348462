"""What is told of a request that several agents share: events of published shapes, as they happen, then the answer."""

import asyncio
from typing import Any, get_args

import jsonschema
import pytest

from headgate.core.chat import OrchestrationStep
from tests.harness.gateway import running_gateway
from tests.harness.orchestra import (
    ORCHESTRATE,
    QUESTION,
    ask,
    check,
    chunks_of,
    events_in,
    node,
    part_of,
    plan,
    playing,
    settings,
    text_in,
)
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat, chunk, stream
from tests.journeys.test_agents import calling
from tests.requirements import covers

AGENTS: dict[str, Any] = {"finder": {"tools": ["calculator"]}, "writer": {}}


@covers("44")
@pytest.mark.parametrize("strategy", ["passthrough", "reasoning"])
async def test_of_a_node_its_tools_are_told_and_not_its_words(stub: Stub, strategy: str) -> None:
    made = {"finder": {"tools": ["calculator"], "strategy": strategy}}
    tree = settings(stub, **made)
    tree["strategies"]["reasoning"] = {"steps": "tools"}
    used = calling(("calculator", {"expression": "6*7"}), ("calculator", {"expression": "1/0"}))
    finder = [used, chat("SECRET WORDS"), chat("It is 42.")]
    stub.otherwise = playing(
        planner=plan(node("sum", "finder")), sum=finder[:1] + finder[2:] if strategy == "passthrough" else finder
    )
    stub.otherwise = _steps_of_a_node(stub.otherwise, finder) if strategy == "reasoning" else stub.otherwise
    async with running_gateway(tree) as gateway:
        response = await ask(gateway)
    events = events_in(response.text)
    told = [one["metadata"] for one in events if one["type"] == "node_progress"]
    assert [(one["node"], one["tool_name"], one["status"]) for one in told] == [
        ("sum", "calculator", "started"),
        ("sum", "calculator", "started"),
        ("sum", "calculator", "completed"),
        ("sum", "calculator", "completed"),
    ]
    assert sorted(one["success"] for one in told[2:]) == [False, True]
    assert "SECRET WORDS" not in response.text
    [ended] = [one["metadata"] for one in events if one["type"] == "node_completed"]
    assert (ended["agent"], ended["result"]) == ("finder", "It is 42.")


def _steps_of_a_node(otherwise: Any, script: list[Answer]) -> Any:
    """The same, for an agent whose steps have another system text than its own."""

    def play(request: Recorded) -> Answer:
        return script.pop(0) if part_of(request) == "sum" else otherwise(request)

    return play


@covers("31", "38", "44")
@pytest.mark.parametrize("streamed", [True, False])
async def test_every_event_of_orchestration_is_of_its_published_shape(stub: Stub, streamed: bool) -> None:
    used = calling(("calculator", {"expression": "6*7"}))
    nodes = [node("sum", "finder"), node("bad"), node("after", "small", "bad")]
    stub.otherwise = playing(planner=plan(*nodes), sum=[used, chat("42.")], bad=Answer(status=500, body=b"{}"))
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        response = await ask(gateway, streamed=streamed)
    events = events_in(response.text) if streamed else response.json()["choices"][0]["message"]["reasoning_events"]
    assert {one["type"] for one in events} == set(get_args(OrchestrationStep))
    for one in events:
        check(one)
        for wrong in ({**one, "more": 1}, {**one, "metadata": {"other": 1}}, {**one, "step_iteration": -1}):
            with pytest.raises(jsonschema.ValidationError):
                check(wrong)


@covers("45")
async def test_pieces_of_the_answer_come_as_the_model_says_them_after_the_last_node(stub: Stub) -> None:
    release = asyncio.Event()
    pieces = [chunk({"content": "One"}), chunk({"content": " two"}), b"data: [DONE]\n\n"]
    stub.otherwise = playing(planner=plan(node("a")), answer=stream(pieces, release=release))
    seen: list[str] = []
    async with running_gateway(settings(stub)) as gateway:
        body = {"model": "small", "messages": QUESTION, "stream": True}
        async with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=ORCHESTRATE) as response:
            async with asyncio.timeout(BOUND):
                async for line in response.aiter_lines():
                    seen.append(line)
                    if '"One"' in line:
                        assert not release.is_set()
                        release.set()
    text = "\n\n".join(seen)
    assert text.index("orchestration_complete") < text.index('"One"') < text.index('" two"')


@covers("37")
async def test_what_the_model_thinks_before_the_answer_is_one_event(stub: Stub) -> None:
    thinking = [
        chunk({"reasoning_content": "Hm, "}),
        chunk({"reasoning_content": "well."}),
        chunk({"content": "Oats."}),
    ]
    stub.otherwise = playing(
        planner=plan(node("a")), answer=stream([*thinking, chunk({}, "stop"), b"data: [DONE]\n\n"])
    )
    async with running_gateway(settings(stub)) as gateway:
        response = await ask(gateway)
    assert events_in(response.text)[-1]["metadata"] == {"thought": "Hm, well."}
    assert text_in(response.text) == "Oats."


@covers("35", "44")
async def test_what_a_failed_node_used_until_then_counts_as_well(stub: Stub) -> None:
    used = calling(("calculator", {"expression": "6*7"}))
    stub.otherwise = playing(planner=plan(node("a", "finder")), a=[used, Answer(status=500, body=b"{}")])
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        response = await ask(gateway, streamed=False)
    [failed] = [
        one for one in response.json()["choices"][0]["message"]["reasoning_events"] if one["type"] == "node_failed"
    ]
    assert failed["metadata"]["usage"]["total_tokens"] == 10
    assert response.json()["usage"]["total_tokens"] == 30


@covers("35")
@pytest.mark.parametrize("streamed", [True, False])
async def test_usage_is_that_of_all_calls(stub: Stub, streamed: bool) -> None:
    """Planner, two calls of one node, one of another that asks a third, and the answer."""
    agents = {**AGENTS, "writer": {"delegates": ["finder"]}}
    used = calling(("calculator", {"expression": "6*7"}))
    asks = calling(("ask_finder", {"request": "?"}))
    stub.otherwise = playing(
        planner=plan(node("a", "finder"), node("b", "writer")), a=[used, chat("A.")], b=[asks, chat("B.")]
    )
    more: Any = {"stream_options": {"include_usage": True}} if streamed else {}
    async with running_gateway(settings(stub, **agents)) as gateway:
        response = await ask(gateway, streamed=streamed, **more)
    usage = chunks_of(response.text)[-1]["usage"] if streamed else response.json()["usage"]
    assert len(stub.calls) == 7
    assert usage == {"prompt_tokens": 49, "completion_tokens": 21, "total_tokens": 70}
