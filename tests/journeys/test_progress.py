"""What a run tells while it goes on: events of the published shapes, in order, tools side by side or in turn, and an
answer whose pieces come as the model says them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, get_args

import jsonschema
import pytest

from headgate.core.chat import ReasoningStep
from headgate.tools.types import Caller, ToolResult
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, DONE, USAGE, Answer, Stub, chat, chunk, stream, stream_pieces
from tests.journeys import test_reasoning as reasoning
from tests.journeys.test_agent_prompts import tool, with_tools
from tests.journeys.test_agents import calling, calling_in_pieces, settings
from tests.requirements import covers

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/events.schema.json").read_text())
NAME = "augmented/helper"
FOUR = ["calling_llm", "executing_tool", "tool_completed", "processing_results"]


def check(kind: str, told: Any) -> None:
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}).validate(told)


def chunks_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]


class Clock:
    """A tool that takes 300 ms, and when each of its calls began and ended."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    async def work(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        began = monotonic()
        await asyncio.sleep(0.3)
        self.spans.append((began, monotonic()))
        return ToolResult("worked")

    @property
    def took(self) -> float:
        """Seconds from the first beginning to the last end."""
        return max(end for _, end in self.spans) - min(begin for begin, _ in self.spans)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    with_tools(monkeypatch, tool("work", made.work))
    return made


TWO = (("work", {"x": 1}), ("work", {"x": 2}))


@covers("32")
@pytest.mark.parametrize(("parallel", "least", "most"), [(True, 0.29, 0.5), (False, 0.59, BOUND)])
@pytest.mark.parametrize("way", ["agent", "steps by JSON", "steps by native calls"])
async def test_tools_run_side_by_side_or_one_after_the_other(
    stub: Stub, clock: Clock, way: str, parallel: bool, least: float, most: float
) -> None:
    native = way != "steps by JSON"
    finished = chat("Done.") if native else reasoning.step("", "finished")
    stub.answer(calling(*TWO) if native else reasoning.step("", "use_tools", *TWO, concurrent=parallel), finished)
    strategy = "passthrough" if way == "agent" else "reasoning"
    tree = settings(stub, tools=["work"], strategy=strategy, parallel_tools=parallel)
    tree["strategies"] = {"reasoning": {"steps": "tools" if native else "json"}}
    async with running_gateway(tree) as gateway:
        response = await gateway.chat(model=NAME)
    assert response.status_code == 200, response.text
    assert least <= clock.took < most
    if way != "agent":
        events = response.json()["choices"][0]["message"]["reasoning_events"]
        [begun] = [one["metadata"] for one in events if one["type"] == "tool_execution_start"]
        assert begun["concurrent_execution"] is parallel


@covers("31")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("native", [False, True])
async def test_every_event_of_reasoning_is_of_its_published_shape(stub: Stub, native: bool, streamed: bool) -> None:
    wrong = ("calculator", {"expression": "1/0"})
    if native:
        steps = [chat("Hm.\nCONTINUE"), calling(("calculator", {"expression": "6*7"}), wrong), Answer(status=500)]
    else:
        tools = reasoning.step("Hm.", "use_tools", ("calculator", {"expression": "6*7"}), wrong)
        steps = [reasoning.step("Hm.", "continue_thinking"), tools, chat("?"), chat("?")]
    pieces = stream_pieces(usage=True)
    thought = chunk({"reasoning_content": "Six sevens."})
    whole = json.loads(chat("42.").body)
    whole["choices"][0]["message"]["reasoning_content"] = "Six sevens."
    stub.answer(
        *steps, stream([pieces[0], thought, *pieces[1:]]) if streamed else Answer(body=json.dumps(whole).encode())
    )
    async with running_gateway(reasoning.settings(stub, "tools" if native else "json")) as gateway:
        body = {"model": "small", "messages": reasoning.QUESTION, "stream": streamed}
        response = await gateway.http.post("/v1/chat/completions", json=body, headers=reasoning.REASON)
    if streamed:
        deltas = [one["choices"][0]["delta"] for one in chunks_of(response.text) if one["choices"]]
        events = [one["reasoning_event"] for one in deltas if "reasoning_event" in one]
    else:
        events = response.json()["choices"][0]["message"]["reasoning_events"]
    assert {one["type"] for one in events} == set(get_args(ReasoningStep))
    for one in events:
        check("reasoning_event", one)
        with pytest.raises(jsonschema.ValidationError):
            check("reasoning_event", {**one, "more": 1})
        with pytest.raises(jsonschema.ValidationError):
            check("reasoning_event", {**one, "metadata": {"other": 1}})


@covers("35")
async def test_the_usage_at_the_end_of_a_stream_is_that_of_all_calls(stub: Stub) -> None:
    stub.answer(reasoning.step("Hm.", "continue_thinking"), reasoning.step("Easy.", "finished"))
    async with running_gateway(reasoning.settings(stub)) as gateway:
        _, last = await reasoning.ask(gateway, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"] == {name: 3 * count for name, count in USAGE.items()}


@asynccontextmanager
async def lines_of(gateway: Gateway, **fields: Any) -> AsyncIterator[Any]:
    body = {"model": NAME, "stream": True, "messages": [{"role": "user", "content": "Hi"}], **fields}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        yield response.aiter_lines()


@covers("67")
async def test_the_statuses_are_told_as_they_happen_in_chunks_with_an_empty_delta(stub: Stub, clock: Clock) -> None:
    stub.answer(calling_in_pieces("work", '{"x": 1}'), stream(stream_pieces(usage=True)))
    async with running_gateway(settings(stub, tools=["work"])) as gateway:
        text = (await gateway.stream(model=NAME)).decode()
    told = [one for one in chunks_of(text) if "proxy_status" in one]
    assert [one["proxy_status"]["status"] for one in told] == FOUR
    for one in told:
        check("proxy_status", one["proxy_status"])
        assert {name: value for name, value in one["choices"][0]["delta"].items() if value} in (
            {},
            {"role": "assistant"},
        )
    assert told[1]["proxy_status"]["tool_name"] == told[2]["proxy_status"]["tool_name"] == "work"
    assert told[2]["proxy_status"]["duration_ms"] >= 290


@covers("67")
async def test_a_tool_is_told_to_have_begun_before_it_ends(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = asyncio.Event()

    async def wait(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        await asyncio.wait_for(seen.wait(), BOUND)
        return ToolResult("seen")

    with_tools(monkeypatch, tool("wait", wait))
    stub.answer(calling_in_pieces("wait", "{}"), stream())
    async with running_gateway(settings(stub, tools=["wait"])) as gateway, lines_of(gateway) as lines:
        async for line in lines:
            if "executing_tool" in line:
                seen.set()
    assert stub.last.json["messages"][-1]["content"] == "seen"


@covers("68")
@pytest.mark.parametrize("strategy", ["passthrough", "reasoning"])
async def test_pieces_of_the_last_answer_come_as_the_model_says_them(stub: Stub, strategy: str) -> None:
    """The model says no second word before the caller has the first."""
    release = asyncio.Event()
    step = reasoning.step("Easy.", "finished")
    stub.answer(
        calling_in_pieces("calculator", '{"expression": "1+1"}') if strategy == "passthrough" else step,
        stream([chunk({"role": "assistant", "content": "One"}), chunk({"content": " two"}), DONE], release=release),
    )
    async with running_gateway(settings(stub, strategy=strategy)) as gateway, lines_of(gateway) as lines:
        async with asyncio.timeout(BOUND):
            async for line in lines:
                if '"One"' in line:
                    break
            assert not release.is_set()
            release.set()
            rest = [line async for line in lines]
    assert any('" two"' in line for line in rest)


@covers("events")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("strategy", ["passthrough", "reasoning"])
async def test_without_events_nothing_but_openais_own_fields_is_sent(stub: Stub, strategy: str, streamed: bool) -> None:
    used = calling_in_pieces("calculator", '{"expression": "1"}') if streamed else calling(("calculator", {}))
    last = stream() if streamed else chat()
    stub.answer(*([used, last] if strategy == "passthrough" else [reasoning.step("Easy.", "finished"), last]))
    tree = settings(stub, strategy=strategy)
    async with running_gateway(tree) as gateway:
        gateway.http.headers["x-events"] = "None"
        response = await gateway.chat(model=NAME, stream=streamed)
    for one in chunks_of(response.text) if streamed else [response.json()]:
        assert one.keys() <= {"id", "object", "created", "model", "choices", "usage"}
        for choice in one["choices"]:
            said = choice["delta"] if streamed else choice["message"]
            assert said.keys() <= {"role", "content", "tool_calls", "refusal"}
