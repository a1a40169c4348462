"""A plain model that reasons in visible steps: think, use tools, answer; by JSON or native calls, told the same way."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, chunk, stream, stream_pieces
from tests.journeys.test_agents import calling
from tests.requirements import covers

REASON = {"x-routing-mode": "Reasoning"}
QUESTION = [
    {"role": "system", "content": "Answer in French."},
    {"role": "user", "content": "What is 6*7?"},
    {"role": "assistant", "content": "A moment."},
    {"role": "user", "content": "Well?"},
]


def settings(stub: Stub, steps: str = "json", **more: Any) -> dict[str, Any]:
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}],
        "strategies": {"reasoning": {"steps": steps, **more}},
    }


def step(thought: str, action: str, *tools: tuple[str, dict[str, Any]], concurrent: bool = True) -> Answer:
    wanted = [{"tool_name": name, "arguments": arguments, "reasoning": "needed"} for name, arguments in tools]
    said = {"thought": thought, "next_action": action, "tools_to_use": wanted, "concurrent_execution": concurrent}
    return chat(json.dumps(said))


@pytest_asyncio.fixture
async def reasoner(stub: Stub) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub)) as gateway:
        yield gateway


async def ask(gateway: Gateway, *, streamed: bool = True, **fields: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the events, the last chunk or the whole answer)"""
    body = {"model": "small", "messages": QUESTION, "stream": streamed, **fields}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers=REASON)
    assert response.status_code == 200, response.text
    assert response.headers["x-headgate-strategy"] == "reasoning"
    assert response.headers["x-headgate-strategy-source"] == "header_override"
    if not streamed:
        whole = response.json()
        return whole["choices"][0]["message"].get("reasoning_events", []), whole
    chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    return [delta["reasoning_event"] for delta in deltas if "reasoning_event" in delta], {"text": text, **chunks[-1]}


def shapes(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(event["type"], event["step_iteration"]) for event in events]


THREE_STEPS = [
    *[("iteration_start", 1), ("planning", 1), ("iteration_complete", 1)],
    *[("iteration_start", 2), ("planning", 2), ("tool_execution_start", 2), ("tool_result", 2)],
    *[("iteration_complete", 2), ("iteration_start", 3), ("planning", 3), ("iteration_complete", 3)],
    ("reasoning_complete", 0),
]


@covers("30", "31")
async def test_three_steps_by_json_are_told_and_the_answer_streams(reasoner: Gateway, stub: Stub) -> None:
    stub.answer(
        step("I have to multiply.", "continue_thinking"),
        step("The calculator knows.", "use_tools", ("calculator", {"expression": "6*7"})),
        step("I know.", "finished"),
        stream(),
    )
    events, last = await ask(reasoner)
    assert shapes(events) == THREE_STEPS
    assert last["text"] == "Hello there."
    result = next(event for event in events if event["type"] == "tool_result")["metadata"]["tool_results"][0]
    assert (result["tool_name"], result["success"], result["result"]) == ("calculator", True, "42")
    assert events[1]["metadata"]["thought"] == "I have to multiply."
    assert events[1]["metadata"]["usage"]["total_tokens"] == 10


@covers("30", "31")
async def test_native_calls_are_told_by_the_very_same_events(stub: Stub) -> None:
    thinking = chat("I have to multiply.\nCONTINUE")
    native = calling(("calculator", {"expression": "6*7"}))
    stub.answer(thinking, native, chat("I know."), stream())
    async with running_gateway(settings(stub, "tools")) as gateway:
        events, last = await ask(gateway)
    assert shapes(events) == THREE_STEPS
    assert last["text"] == "Hello there."
    assert events[1]["metadata"]["thought"] == "I have to multiply."
    assert stub.calls[1].json["tools"][0]["function"]["name"] == "calculator"
    assert stub.last.json["tool_choice"] == "none"


@covers("36")
async def test_the_answer_sees_the_whole_conversation_with_its_roles_and_the_callers_system_text(
    reasoner: Gateway, stub: Stub
) -> None:
    stub.answer(step("Easy.", "finished"), stream())
    await ask(reasoner, temperature=0.9, seed=7)
    steps, answer = (call.json for call in stub.calls)
    assert answer["messages"][:4] == QUESTION
    assert "Answer in French." not in json.dumps(steps["messages"])
    assert steps["messages"][1:4] == QUESTION[1:]
    assert (steps["temperature"], answer["temperature"], answer["seed"]) == (0.2, 0.9, 7)
    assert (steps.get("stream"), answer["stream"]) == (None, True)


@covers("33")
@pytest.mark.parametrize("steps", ["json", "tools"])
async def test_steps_that_never_finish_end_at_the_bound_and_are_answered(stub: Stub, steps: str) -> None:
    def endless(request: Any) -> Answer:
        if request.json.get("stream"):
            return stream()
        expression = {"expression": str(len(request.json["messages"]))}
        return (
            calling(("calculator", expression))
            if steps == "tools"
            else step("Hm.", "use_tools", ("calculator", expression))
        )

    stub.otherwise = endless
    async with running_gateway(settings(stub, steps, bounds={"turns": 3})) as gateway:
        events, last = await ask(gateway)
    assert last["text"] == "Hello there."
    assert events[-1] == {
        "type": "reasoning_complete",
        "step_iteration": 0,
        "metadata": {"total_steps": 3},
        "error": None,
    }


@covers("34")
async def test_a_step_that_cannot_be_read_is_asked_for_once_more(reasoner: Gateway, stub: Stub) -> None:
    stub.answer(chat("I think that"), step("Better.", "finished"), stream())
    events, last = await ask(reasoner)
    assert [event["type"] for event in events] == [
        "iteration_start",
        "planning",
        "iteration_complete",
        "reasoning_complete",
    ]
    assert last["text"] == "Hello there."


@covers("34")
async def test_a_second_unreadable_step_is_told_and_the_answer_comes_all_the_same(
    reasoner: Gateway, stub: Stub
) -> None:
    stub.answer(chat("I think that"), chat('{"next_action": "dance"}'), stream())
    events, last = await ask(reasoner)
    assert [event["type"] for event in events] == ["iteration_start", "error", "reasoning_complete"]
    assert "next_action" in events[1]["error"]
    assert last["text"] == "Hello there."


@covers("35", "38")
async def test_an_answer_in_one_piece_holds_the_events_and_the_usage_of_all_calls(
    reasoner: Gateway, stub: Stub
) -> None:
    stub.answer(step("Easy.", "finished"), chat("42."))
    events, whole = await ask(reasoner, streamed=False)
    assert [event["type"] for event in events][-1] == "reasoning_complete"
    assert whole["choices"][0]["message"]["content"] == "42."
    assert whole["usage"] == {"prompt_tokens": 14, "completion_tokens": 6, "total_tokens": 20}


@covers("37")
@pytest.mark.parametrize("tagged", [False, True])
async def test_what_the_model_thinks_by_itself_is_one_event_before_the_answer(
    reasoner: Gateway, stub: Stub, tagged: bool
) -> None:
    thinking = [chunk({"content": "<thi"}), chunk({"content": "nk>Six sevens.</think>\n"})]
    native = [chunk({"reasoning_content": "Six "}), chunk({"reasoning_content": "sevens."})]
    pieces = stream_pieces()
    stub.answer(step("Easy.", "finished"), stream([pieces[0], *(thinking if tagged else native), *pieces[1:]]))
    events, last = await ask(reasoner)
    assert events[-1]["type"] == "external_reasoning"
    assert events[-1]["metadata"] == {"thought": "Six sevens."}
    assert last["text"] == "Hello there."


@covers("events")
async def test_a_caller_may_have_none_of_the_events(reasoner: Gateway, stub: Stub) -> None:
    stub.answer(step("Easy.", "finished"), stream())
    body = {"model": "small", "messages": QUESTION, "stream": True}
    response = await reasoner.http.post("/v1/chat/completions", json=body, headers={**REASON, "x-events": "none"})
    assert "reasoning_event" not in response.text
    assert "Hello" in response.text
