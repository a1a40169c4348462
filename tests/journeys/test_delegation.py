"""Agents ask agents: a child run per question, on the same account, bounded in depth, unseen by the caller."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat, stream
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_money import ask, new_key, rows
from tests.requirements import covers

pytestmark = covers("72", "delegation")
PRICE = {"input": "1.5", "output": "6"}


def settings(stub: Stub, **agents: dict[str, Any]) -> dict[str, Any]:
    """Agents by name, each with the model `small`; the provider is told which agent asks by its prompt."""
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [
            {
                "name": "small",
                "targets": [{"upstream": "stub", "model": "stub-small"}],
                "retries": 0,
                "price": PRICE,
            }
        ],
        "agents": [
            {"name": name, "model": "small", "system_prompt": f"You are {name}.", **fields}
            for name, fields in agents.items()
        ],
    }


def as_agents(**scripts: list[Answer]) -> Callable[[Recorded], Answer]:
    """What the model of each agent answers, in order; the last one again and again."""

    def answer(request: Recorded) -> Answer:
        name = request.json["messages"][0]["content"].removeprefix("You are ").partition(".")[0]
        script = scripts[name]
        return script.pop(0) if len(script) > 1 else script[0]

    return answer


def asked(stub: Stub, name: str) -> list[dict[str, Any]]:
    """The requests of one agent."""
    return [call.json for call in stub.calls if call.json["messages"][0]["content"].startswith(f"You are {name}.")]


async def test_a_question_to_another_agent_is_a_run_of_its_own_with_a_parent(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, chief={"delegates": ["sage"]}, sage={"description": "Knows it all.", "tools": ["calculator"]})
    stub.otherwise = as_agents(
        chief=[calling(("ask_sage", {"request": "What is 6*7?"})), chat("The sage says 42.")],
        sage=[calling(("calculator", {"expression": "6*7"})), chat("It is 42.")],
    )
    async with running_gateway(made, tmp_path) as running:
        response = await running.chat(model="chief")
        ledger = await rows(running, 4)
        lines = {line["model"]: line for line in running.lines if line["route"] != "/admin/usage/export"}
    assert response.json()["choices"][0]["message"]["content"] == "The sage says 42."
    run = response.headers["x-request-id"]
    tool = asked(stub, "chief")[0]["tools"][0]["function"]
    assert (tool["name"], tool["description"]) == ("ask_sage", "Ask the agent 'sage'. Knows it all.")
    assert asked(stub, "sage")[0]["messages"][1:] == [{"role": "user", "content": "What is 6*7?"}]
    assert asked(stub, "chief")[1]["messages"][-1]["content"] == "It is 42."
    children = [row for row in ledger if row["parent"]]
    assert len(children) == 2
    assert {(row["parent"], row["model"], row["component"]) for row in children} == {(run, "sage", "agent")}
    assert all(float(row["cost_usd"]) > 0 for row in ledger)
    assert {row["key"] for row in ledger} == {ledger[0]["key"]}
    assert lines["sage"]["parent"] == run
    assert lines["chief"]["tools"][0]["tool"] == "ask_sage"


async def test_of_what_happens_below_the_caller_sees_nothing(stub: Stub) -> None:
    made = settings(stub, chief={"delegates": ["sage"]}, sage={"tools": ["calculator"]})
    stub.otherwise = as_agents(
        chief=[calling_in_pieces("ask_sage", '{"request": "secret"}'), stream()],
        sage=[calling(("calculator", {"expression": "6*7"})), chat("hidden words")],
    )
    async with running_gateway(made) as running:
        frames = (await running.stream(model="chief")).decode()
    chunks = [json.loads(line[6:]) for line in frames.split("\n\n") if line.startswith("data: {")]
    tools = [one["proxy_status"].get("tool_name") for one in chunks if "proxy_status" in one]
    assert set(tools) == {None, "ask_sage"}
    assert "hidden words" not in frames
    assert "calculator" not in frames
    assert frames.count("[DONE]") == 1


@pytest.mark.parametrize(("depth", "calls"), [(0, 1), (1, 2), (3, 4)])
async def test_a_loop_of_agents_ends_at_the_depth_of_the_one_asked_first(stub: Stub, depth: int, calls: int) -> None:
    made = settings(
        stub,
        one={"delegates": ["two"], "bounds": {"depth": depth}},
        two={"delegates": ["one"], "bounds": {"depth": 16}},
    )

    def endless(request: Recorded) -> Answer:
        messages = request.json["messages"]
        if messages[-1]["role"] == "tool":
            return chat(f"told: {messages[-1]['content']}")
        other = "two" if messages[0]["content"] == "You are one." else "one"
        return calling((f"ask_{other}", {"request": "You do it."}))

    stub.otherwise = endless
    async with running_gateway(made) as running:
        response = await running.chat(model="one")
    assert response.status_code == 200
    assert "depth_limit" in response.json()["choices"][0]["message"]["content"]
    assert len(stub.calls) == 2 * calls


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(status=500, body=b"{}"), "upstream_fault"),
        (Answer(status=400, body=b'{"error":{"message":"bad"}}'), "upstream_rejected"),
        (Answer(body=b"not json"), "upstream_garbled"),
        (chat(""), "gave no answer"),
    ],
)
async def test_a_child_that_fails_is_a_failed_result_and_the_agent_goes_on(
    stub: Stub, answer: Answer, why: str
) -> None:
    made = settings(stub, chief={"delegates": ["sage"]}, sage={})
    stub.otherwise = as_agents(chief=[calling(("ask_sage", {"request": "?"})), chat("Without it.")], sage=[answer])
    async with running_gateway(made) as running:
        response = await running.chat(model="chief")
    assert response.json()["choices"][0]["message"]["content"] == "Without it."
    assert asked(stub, "chief")[1]["messages"][-1]["content"].startswith("Error: ")
    assert why in asked(stub, "chief")[1]["messages"][-1]["content"]


@covers("114")
async def test_a_budget_that_is_used_up_below_refuses_below_and_above(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, chief={"delegates": ["sage"]}, sage={"parameters": {"max_tokens": 100_000}})
    stub.otherwise = as_agents(chief=[calling(("ask_sage", {"request": "?"})), chat("Alone.")], sage=[chat("never")])
    async with running_gateway(made, tmp_path) as running, await new_key(running, budgets=[{"usd": "0.001"}]) as caller:
        response = await ask(caller, model="chief")
    assert response.json()["choices"][0]["message"]["content"] == "Alone."
    assert "budget_exceeded" in asked(stub, "chief")[1]["messages"][-1]["content"]
    assert not asked(stub, "sage")


@covers("119")
async def test_an_agent_that_the_key_may_not_use_is_not_asked_through_another(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, chief={"delegates": ["sage"]}, sage={})
    stub.otherwise = as_agents(chief=[calling(("ask_sage", {"request": "?"})), chat("No.")], sage=[chat("never")])
    async with (
        running_gateway(made, tmp_path) as running,
        await new_key(running, models={"allow": ["chief", "small"]}) as caller,
    ):
        await ask(caller, model="chief")
    assert "model_forbidden" in asked(stub, "chief")[1]["messages"][-1]["content"]
    assert not asked(stub, "sage")


TALK = [
    {"role": "system", "content": "From the caller."},
    {"role": "user", "content": "First question"},
    {"role": "assistant", "content": "First answer " + "x" * 600},
    {"role": "user", "content": [{"type": "text", "text": "Second question"}]},
]


@pytest.mark.parametrize("history", ["full", "condensed", "off"])
async def test_a_delegate_is_shown_as_much_of_the_conversation_as_is_set(stub: Stub, history: str) -> None:
    made = settings(stub, chief={"experts": {"sage": {"history": history}}, "tools": ["calculator"]}, sage={})
    stub.otherwise = as_agents(
        chief=[
            calling(("calculator", {"expression": "1+1"})),
            calling(("ask_sage", {"request": "Your turn."})),
            chat("Done."),
        ],
        sage=[chat("Fine.")],
    )
    async with running_gateway(made) as running:
        await running.chat(model="chief", messages=TALK)
    seen = asked(stub, "sage")[0]["messages"][1:]
    assert seen[-1] == {"role": "user", "content": "Your turn."}
    assert "From the caller." not in json.dumps(seen)
    if history == "off":
        assert len(seen) == 1
    elif history == "full":
        assert [one["role"] for one in seen] == ["user", "assistant", "user", "assistant", "tool", "user"]
        assert seen[4]["content"] == "2"
    else:
        assert len(seen) == 2
        assert seen[0]["content"].startswith("The conversation so far, shortened:\nUser: First question\nAssistant: ")
        assert "[...]\nUser: Second question" in seen[0]["content"]


async def test_plain_models_and_the_callers_model_can_be_asked(stub: Stub) -> None:
    made = settings(stub, chief={"delegates": ["small", "sage"]}, sage={"model": "inherit"})
    stub.otherwise = as_agents(
        chief=[calling(("ask_small", {"request": "a"}), ("ask_sage", {"request": "b"})), chat("Done.")],
        sage=[chat("Sage.")],
        a=[chat("Small.")],
    )
    async with running_gateway(made) as running:
        await running.chat(model="chief")
    assert [one["content"] for one in asked(stub, "chief")[1]["messages"][-2:]] == ["Small.", "Sage."]
    assert asked(stub, "sage")[0]["model"] == "stub-small"


async def test_a_caller_that_leaves_stops_the_children(stub: Stub) -> None:
    made = settings(stub, chief={"delegates": ["sage"]}, sage={})
    hanging = Answer(hang=True, framing="chunked", pieces=[b" "])
    stub.otherwise = as_agents(chief=[calling(("ask_sage", {"request": "?"})), chat("never")], sage=[hanging])
    async with running_gateway(made) as running:
        call = asyncio.ensure_future(running.chat(model="chief"))
        await stub.wait_for_calls(2)
        call.cancel()
        async with asyncio.timeout(BOUND):
            await stub.last.left.wait()
        lines = {line["model"]: line["outcome"] for line in await running.wait_for_lines(2)}
    assert lines == {"chief": "disconnected", "sage": "disconnected"}


async def test_the_money_of_an_agent_bounds_what_its_delegates_spend(stub: Stub, tmp_path: Path) -> None:
    made = settings(stub, chief={"delegates": ["sage"], "bounds": {"usd": 0.00004}}, sage={})
    stub.otherwise = as_agents(chief=[calling(("ask_sage", {"request": "?"}))], sage=[chat("Fine.")])
    async with running_gateway(made, tmp_path) as running:
        response = await running.chat(model="chief")
    assert response.json()["proxy_status"] == {"type": "stopped", "status": "budget_limit"}
    assert len(stub.calls) == 2


def test_names_of_tools_are_such_as_models_accept(gateway: Gateway) -> None:
    from headgate.agents.types import AgentSettings
    from headgate.pipeline.delegation import _info

    taken = [{"function": {"name": "ask_a_b"}}]
    for name in ("augmented/a b", "x" * 128, "ä/ö", "a.b"):
        found = _info(AgentSettings(name=name), taken).name
        assert len(found) <= 64
        assert found.isascii()
        assert found.replace("_", "").replace("-", "").isalnum()
    assert _info(AgentSettings(name="augmented/a b"), taken).name == "ask_a_b_2"
