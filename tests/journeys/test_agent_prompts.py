"""What an agent's model is told: its prompt with calls answered, its skills, then the caller's words."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from headgate.app import tools as tools_app
from headgate.tools.builtin.function import FunctionTool
from headgate.tools.builtin.registry import builtin_tools
from headgate.tools.types import Caller, Hints, Tool, ToolInfo, ToolResult
from tests.harness.gateway import running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat
from tests.journeys.test_agents import calling, settings
from tests.requirements import covers

NAME = "augmented/helper"
READING = Hints(read_only=True)
ANY = {"type": "object", "properties": {}}


def tool(name: str, function: Any, hints: Hints = READING) -> Tool:
    return FunctionTool(ToolInfo(name, "A tool of a test.", ANY, "builtin", "test", hints), function)


def with_tools(monkeypatch: pytest.MonkeyPatch, *more: Tool) -> None:
    monkeypatch.setattr(tools_app, "builtin_tools", lambda *given: [*builtin_tools(*given), *more])


def system(stub: Stub) -> str:
    first = stub.last.json["messages"][0]
    assert first["role"] == "system"
    return str(first["content"])


def skills_in(folder: Path) -> None:
    (folder / "skills/augmented/helper/own").mkdir(parents=True)
    (folder / "skills/whole.md").write_text("Global words. {{calculator(expression='1+1')}}")
    fields = "---\nname: own\ndescription: What is mine.\n---\n"
    (folder / "skills/augmented/helper/own/SKILL.md").write_text(f"{fields}Secret of the trade.")


@covers("54", "57")
@pytest.mark.parametrize("role", ["system", "developer"])
async def test_the_order_is_prompt_then_skills_then_the_callers_own_text(stub: Stub, tmp_path: Path, role: str) -> None:
    skills_in(tmp_path)
    made = {**settings(stub, system_prompt="First I am."), "conf": str(tmp_path)}
    messages = [{"role": role, "content": "Caller's rules."}, {"role": "user", "content": "Hi"}]
    async with running_gateway(made) as gateway:
        await gateway.chat(model=NAME, messages=messages)
    text = system(stub)
    places = [text.index(words) for words in ("First I am.", "# Skills", "Global words.", "own: What", "Caller's")]
    assert places == sorted(places)
    assert "Secret of the trade." not in text
    assert [one["role"] for one in stub.last.json["messages"]] == ["system", "user"]


@covers("57")
async def test_the_model_reads_a_skill_by_tool(stub: Stub, tmp_path: Path) -> None:
    skills_in(tmp_path)
    stub.answer(calling(("read_skill", {"name": "own"})), chat("Done."))
    async with running_gateway({**settings(stub), "conf": str(tmp_path)}) as gateway:
        await gateway.chat(model=NAME)
    assert stub.last.json["messages"][-1]["content"] == "Secret of the trade."
    assert [one["function"]["name"] for one in stub.last.json["tools"]][-1] == "read_skill"


@covers("55")
async def test_calls_in_a_prompt_are_answered_anew_for_each_request(stub: Stub) -> None:
    prompt = "{{team}} has {{calculator(expression='(2+3)*4')}} and \\{{x()}}."
    async with running_gateway(settings(stub, system_prompt=prompt, tools=[], variables={"team": "Red"})) as gateway:
        await gateway.chat(model=NAME)
    assert system(stub) == "Red has 20 and {{x()}}."
    assert "tools" not in stub.last.json


@covers("55")
async def test_calls_of_a_prompt_run_side_by_side(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other one: one after the other they would never end."""
    waiting = asyncio.Barrier(2)

    async def meet(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        await asyncio.wait_for(waiting.wait(), BOUND)
        return ToolResult(f"{arguments['x']} met")

    with_tools(monkeypatch, tool("meet", meet))
    prompt = "{{meet(x='one')}}, {{meet(x='two')}}"
    async with running_gateway(settings(stub, system_prompt=prompt)) as gateway:
        await gateway.chat(model=NAME)
    assert system(stub) == "one met, two met"


@covers("56")
async def test_nothing_that_comes_from_elsewhere_is_read_as_a_template(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skills_in(tmp_path)
    ran: list[Any] = []

    def say(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        ran.append(arguments)
        return ToolResult("{{calculator(expression='6*7')}} {{team}}")

    with_tools(monkeypatch, tool("say", say))
    made = settings(stub, system_prompt="{{say()}} {{team}}", tools=["say"], variables={"team": "{{say()}}"})
    literal = "{{calculator(expression='40+2')}} {{say()}}"
    messages = [{"role": "system", "content": literal}, {"role": "user", "content": literal}]
    stub.answer(calling(("say", {})), chat("{{say()}}"))
    async with running_gateway({**made, "conf": str(tmp_path)}) as gateway:
        answer = await gateway.chat(model=NAME, messages=messages)
    sent = stub.last.json["messages"]
    text = sent[0]["content"]
    assert text.startswith("{{calculator(expression='6*7')}} {{team}} {{say()}}\n\n# Skills")
    assert "Global words. {{calculator(expression='1+1')}}" in text
    assert text.endswith(literal)
    assert sent[1]["content"] == literal
    assert sent[-1]["content"] == "{{calculator(expression='6*7')}} {{team}}"
    assert answer.json()["choices"][0]["message"]["content"] == "{{say()}}"
    assert len(ran) == 2  # in the prompt and by the model, each once


async def hang(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError


def fail(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
    raise RuntimeError("no luck")


@covers("55")
@pytest.mark.parametrize(("name", "why"), [("fail", "no luck"), ("hang", "within 0.05 seconds")])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_that_fails_is_shown_in_its_place_or_fails_the_request(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, name: str, why: str, streamed: bool
) -> None:
    with_tools(monkeypatch, tool("fail", fail), tool("hang", hang))
    more = {"system_prompt": "A {{" + name + "()}} B {{calculator(expression='1')}}", "bounds": {"tool_seconds": 0.05}}
    async with running_gateway(settings(stub, **more)) as gateway:
        assert (await gateway.chat(model=NAME, stream=streamed)).status_code == 200
    text = system(stub)
    assert text.startswith(f"A [{name} failed: ")
    assert why in text
    assert text.endswith("] B 1")
    asked = len(stub.calls)
    async with running_gateway(settings(stub, **more, template_errors="fail")) as gateway:
        answer = await gateway.chat(model=NAME, stream=streamed)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "agent_prompt_failed")
    assert f"'{name}'" in answer.json()["error"]["message"]
    assert len(stub.calls) == asked


@covers("39")
async def test_prompts_of_strategies_come_from_the_operators_folder(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "final_answer.md").write_text("Sum it up my way.")
    stub.otherwise = lambda _: chat('{"thought": "", "next_action": "finished"}')
    made = {**settings(stub), "strategies": {"prompts": str(tmp_path)}}
    async with running_gateway(made) as gateway:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        await gateway.http.post("/v1/chat/completions", json=body, headers={"x-routing-mode": "reasoning"})
    assert "Sum it up my way." in json.dumps(stub.last.json["messages"])


@covers("54")
async def test_an_agents_parameters_hold_where_the_caller_says_nothing(stub: Stub) -> None:
    async with running_gateway(settings(stub, parameters={"temperature": 0.1, "seed": 7})) as gateway:
        await gateway.chat(model=NAME, temperature=0.9)
    assert (stub.last.json["temperature"], stub.last.json["seed"]) == (0.9, 7)


@covers("52")
async def test_a_tool_may_be_told_in_the_agents_own_words(stub: Stub) -> None:
    function = {"name": "calculator", "description": "Reckon.", "parameters": {**ANY, "title": "mine"}}
    stub.answer(calling(("calculator", {"expression": "2*3"})), chat("6"))
    async with running_gateway(settings(stub, tools=[{"type": "function", "function": function}])) as gateway:
        await gateway.chat(model=NAME)
    assert stub.last.json["tools"] == [{"type": "function", "function": function}]
    assert stub.last.json["messages"][-1]["content"] == "6"


@covers("53")
async def test_an_agent_that_inherits_says_where_a_model_is_named(stub: Stub) -> None:
    stub.otherwise = lambda _: Answer(status=500)
    async with running_gateway(settings(stub, model="inherit")) as gateway:
        answer = await gateway.chat(model=NAME)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert f"/a1/agents/{NAME}/chat" in answer.json()["error"]["message"]
    assert not stub.calls
