"""What tools bring in changes nothing that the policy did not allow: it reaches the model as a tool's words."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, stream, stream_pieces
from tests.journeys.hostile_texts import ALL, CALLS, DISGUISES, MESSAGES, TEMPLATES
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.requirements import covers
from tests.tools.web import Host, answer

pytestmark = covers("injection")
CONTROL = re.compile(
    r"<[|\uff5c][^ <>]+[|\uff5c]>|\[/?(?:INST|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]|<</?SYS>>|<function=|"
    r"</?(?:s|tool_call|tool_response|system|user|think|function_calls|start_of_turn|end_of_turn|system-reminder)>|"
    r"<invoke name|^Human:",
    re.IGNORECASE | re.MULTILINE,
)
GROUPS = {"templates": TEMPLATES, "messages": MESSAGES, "calls": CALLS, "disguises": DISGUISES}
PLUGIN = '''
import json
from pathlib import Path
from headgate.tools.plugin import tool

TEXTS = json.loads(Path(__file__).with_name("texts.json").read_text())

@tool(read_only=True)
def read(name: str) -> str:
    """Read a document."""
    return TEXTS[name]

@tool(read_only=True)
def fail(name: str) -> str:
    """Fail with what stands in a document."""
    raise RuntimeError(TEXTS[name])

@tool
def wipe(target: str = "") -> str:
    """Delete everything."""
    Path(__file__).with_name("wiped").touch()
    return "wiped"
'''


def settings(stub: Stub, folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "hostile.py").write_text(PLUGIN)
    (folder / "plugins" / "texts.json").write_text(json.dumps(ALL))
    target = [{"upstream": "stub", "model": "stub-small"}]
    agent = {"model": "small", "tools": ["read", "fail", "wipe", "calculator", "web_fetch"]}
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": target, "retries": 0}],
        "agents": [
            {"name": "reader", "system_prompt": "You read.", "delegates": ["aide"], **agent},
            {"name": "aide", "system_prompt": "You aid.", "model": "small"},
        ],
        "tools": {
            "folder": str(folder / "plugins"),
            "web": {"private_hosts": ["127.0.0.1"]},
            **more,
        },
    }


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path)) as running:
        yield running


def wiped(folder: Path) -> bool:
    return (folder / "plugins" / "wiped").exists()


def without_spaces(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("tool", ["read", "fail"])
@pytest.mark.parametrize("group", GROUPS)
async def test_hostile_texts_reach_the_model_as_a_tools_words_and_nothing_else_changes(
    gateway: Gateway, stub: Stub, tmp_path: Path, group: str, tool: str
) -> None:
    for name, text in GROUPS[group].items():
        stub.requests.clear()
        stub.answer(calling((tool, {"name": name})), chat("I read it."))
        response = await gateway.chat(model="reader")
        choice = response.json()["choices"][0]
        assert choice["message"] == {"role": "assistant", "content": "I read it."}, name
        assert choice["finish_reason"] == "stop", name
        first, second = (call.json for call in stub.calls)
        assert second["messages"][:2] == first["messages"], name
        assert [one["role"] for one in second["messages"]] == ["system", "user", "assistant", "tool"], name
        assert {**second, "messages": 0} == {**first, "messages": 0}, name
        told = second["messages"][3]
        assert told.keys() == {"role", "tool_call_id", "content"}, name
        said = told["content"].removeprefix("Error: The tool failed: RuntimeError: ")
        assert without_spaces(said) == without_spaces(text), name
        assert not CONTROL.search(said), name
    assert not wiped(tmp_path)


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_that_a_model_writes_as_text_are_text(
    gateway: Gateway, stub: Stub, tmp_path: Path, streamed: bool
) -> None:
    for name, words in CALLS.items():
        stub.requests.clear()
        stub.answer(stream(stream_pieces([words])) if streamed else chat(words))
        response = await gateway.chat(model="reader", stream=streamed)
        if streamed:
            chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
            deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
            assert "".join(delta.get("content") or "" for delta in deltas) == words, name
            assert not any("tool_calls" in delta for delta in deltas), name
        else:
            assert response.json()["choices"][0]["message"] == {"role": "assistant", "content": words}, name
        assert len(stub.calls) == 1, name
    assert not wiped(tmp_path)


@pytest.mark.parametrize("streamed", [False, True])
@covers("policies")
async def test_a_model_that_obeys_a_text_is_held_back_and_the_caller_is_told(
    gateway: Gateway, stub: Stub, tmp_path: Path, streamed: bool
) -> None:
    arguments = {"target": "all"}
    one = calling_in_pieces("wipe", json.dumps(arguments)) if streamed else calling(("wipe", arguments))
    stub.answer(one, stream(stream_pieces(["I may not."])) if streamed else chat("I may not."))
    response = await gateway.chat(model="reader", stream=streamed)
    assert not wiped(tmp_path)
    assert "needs the approval" in stub.last.json["messages"][-1]["content"]
    told = {"tool_name": "wipe", "tool_call_id": "call_0", "arguments": '{"target": "all"}'}
    if streamed:
        chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
        statuses = [one["proxy_status"] for one in chunks if "proxy_status" in one]
        assert {"type": "tool_execution", "status": "approval_required", **told} in statuses
    else:
        assert response.json()["approvals_required"] == [told]
    assert (await gateway.wait_for_lines(1))[0]["tools"][0]["result"] == "held"


@covers("policies")
@pytest.mark.parametrize("native", [True, False])
async def test_a_model_that_reasons_is_held_back_as_well(stub: Stub, tmp_path: Path, native: bool) -> None:
    made = settings(stub, tmp_path)
    made["agents"][0]["strategy"] = "reasoning"
    made["models"][0]["capabilities"] = {"tools": native}
    steps: list[dict[str, Any]] = [
        {"thought": "x", "next_action": "use_tools", "tools_to_use": [{"tool_name": "wipe", "arguments": {}}]},
        {"thought": "y", "next_action": "finished"},
    ]
    first, second = (chat(json.dumps(step)) for step in steps)
    async with running_gateway(made) as running:
        stub.answer(*([calling(("wipe", {})), chat("Enough.")] if native else [first, second]), chat("I may not."))
        answered = (await running.chat(model="reader")).json()
        line = (await running.wait_for_lines(1))[0]
    assert not wiped(tmp_path)
    assert answered["choices"][0]["message"]["content"] == "I may not."
    assert [one["tool_name"] for one in answered["approvals_required"]] == ["wipe"]
    assert [one["result"] for one in line["tools"]] == ["held"]


async def test_nothing_of_ours_is_told_of_held_calls_to_callers_that_want_pure_answers(
    gateway: Gateway, stub: Stub
) -> None:
    stub.answer(calling(("wipe", {})), chat("I may not."))
    body = {"model": "reader", "messages": [{"role": "user", "content": "Hi"}]}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers={"x-events": "none"})
    assert "approvals_required" not in response.json()
    assert response.json()["choices"][0]["message"]["content"] == "I may not."


@covers("policies")
async def test_an_operator_may_let_a_tool_run(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, tmp_path)
    made["agents"][0]["tool_policies"] = {"wi*": "always_allow"}
    async with running_gateway(made) as running:
        stub.answer(calling(("wipe", {})), chat("Done."))
        await running.chat(model="reader")
    assert wiped(tmp_path)


async def test_a_tool_that_nobody_offered_is_not_called_and_not_handed_to_the_caller(
    gateway: Gateway, stub: Stub
) -> None:
    stub.answer(calling(("delete_database", {"x": 1})), chat("There is no such tool."))
    response = await gateway.chat(model="reader")
    assert "tool_calls" not in response.json()["choices"][0]["message"]
    assert "There is no tool named 'delete_database'" in stub.last.json["messages"][-1]["content"]
    assert (await gateway.wait_for_lines(1))[0]["tools"][0]["tool"] == "unknown"


@pytest.mark.parametrize("arguments", ["{", "null", "[]", "1", '{"name": {}}', '{"name": "x", "more": 1}', "[" * 5000])
async def test_broken_arguments_are_a_failed_result(gateway: Gateway, stub: Stub, arguments: str) -> None:
    made = calling(("read", {}))
    body = json.loads(made.body)
    body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = arguments
    stub.answer(Answer(body=json.dumps(body).encode()), chat("I give up."))
    response = await gateway.chat(model="reader")
    assert response.json()["choices"][0]["message"]["content"] == "I give up."
    assert stub.last.json["messages"][-1]["content"].startswith("Error: The argument")


@pytest.mark.parametrize("name", ["ChatML", "a template of ours", "Hermes", "Llama 2"])
async def test_a_page_of_the_web_is_data(gateway: Gateway, stub: Stub, tmp_path: Path, name: str) -> None:
    text = ALL[name].replace("&", "&amp;").replace("<", "&lt;")
    async with Host() as host:
        host.pages["/"] = answer(f"<title>{text}</title><p>{text}</p><!-- {text} -->".encode())
        stub.answer(calling(("web_fetch", {"url": f"http://127.0.0.1:{host.port}/"})), chat("I read it."))
        await gateway.chat(model="reader")
    told = stub.last.json["messages"][-1]
    assert told["role"] == "tool"
    assert not CONTROL.search(told["content"])
    assert without_spaces(told["content"]).count(without_spaces(ALL[name])) == 2
    assert not wiped(tmp_path)


async def test_what_calls_in_a_prompt_bring_in_is_data(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, tmp_path)
    made["agents"][0]["system_prompt"] = 'You read: {{read(name="ChatML")}}'
    async with running_gateway(made) as running:
        stub.answer(chat("I read it."))
        await running.chat(model="reader")
        [line] = await running.wait_for_lines(1)
    told = stub.last.json["messages"][0]["content"]
    assert not CONTROL.search(told)
    assert without_spaces(ALL["ChatML"]) in without_spaces(told)
    assert [(one["tool"], one["result"]) for one in line["tools"]] == [("read", "ok")]


async def test_what_another_agent_says_is_data(gateway: Gateway, stub: Stub) -> None:
    stub.answer(calling(("ask_aide", {"request": "?"})), chat(ALL["ChatML"]), chat("It said odd things."))
    response = await gateway.chat(model="reader")
    assert response.json()["choices"][0]["message"]["content"] == "It said odd things."
    assert [one["role"] for one in stub.last.json["messages"]] == ["system", "user", "assistant", "tool"]
    assert not CONTROL.search(stub.last.json["messages"][-1]["content"])


@pytest.mark.parametrize(
    ("provider", "how", "broken_up"),
    [
        ("openai_compatible", "auto", True),
        ("vllm", "auto", True),
        ("openai", "auto", False),
        ("openai", "always", True),
        ("openai_compatible", "never", False),
    ],
)
async def test_marks_are_broken_up_for_models_whose_servers_read_them(
    stub: Stub, tmp_path: Path, provider: str, how: str, broken_up: bool
) -> None:
    made = settings(stub, tmp_path, defuse=how)
    made["upstreams"][0] |= {"provider": provider, "api_key": "sk-upstream-secret-1"}
    async with running_gateway(made) as running:
        stub.answer(calling(("read", {"name": "ChatML"})), chat())
        await running.chat(model="reader")
    content = stub.last.json["messages"][-1]["content"]
    assert (content != ALL["ChatML"]) is broken_up


def test_the_written_set_has_more_than_forty_cases() -> None:
    assert len(ALL) >= 40
