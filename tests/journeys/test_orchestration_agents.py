"""Who orchestrates and with whom: agents by their own strategy, delegates, `auto`, and callers' own tools."""

import json
from pathlib import Path
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
from tests.harness.stub import Recorded, Stub, chat
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_reload import reload
from tests.requirements import covers

ROUTE = "/v1/chat/completions"
SAVE: Any = [{"type": "function", "function": {"name": "save", "parameters": {"type": "object"}}}]
CHIEF: dict[str, Any] = {"strategy": "orchestration", "delegates": ["finder", "writer"]}
AGENTS: dict[str, Any] = {"chief": CHIEF, "finder": {"model": "inherit"}, "writer": {}, "other": {}}


def offered(stub: Stub) -> list[str]:
    """The agents that the planner was told of."""
    listed = calls(stub, "planner")[0]["messages"][0]["content"].partition("Agents:\n")[2]
    return [line.partition(":")[0].removeprefix("- ") for line in listed.splitlines()]


@covers("28", "40")
async def test_an_agent_orchestrates_its_delegates_by_its_own_strategy(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("a", "finder"), node("b", "writer", "a")))
    made = settings(stub, **{**AGENTS, "chief": {**CHIEF, "model": "wise", "strategies": ["passthrough"]}})
    async with running_gateway(made) as gateway:
        response = await ask(gateway, model="chief")
        passed = await gateway.http.post(
            ROUTE, json={"model": "chief", "messages": QUESTION}, headers={"x-routing-mode": "passthrough"}
        )
    assert offered(stub) == ["finder", "writer"]
    assert response.headers["x-headgate-strategy"] == "orchestration"
    assert response.headers["x-headgate-strategy-source"] == "agent_default"
    [answer] = calls(stub, "answer")
    assert answer["messages"][0]["content"] == "You are chief.\n\nAnswer in French."
    models = {part: calls(stub, part)[0]["model"] for part in ("planner", "a", "b", "answer")}
    assert models == {"planner": "stub-wise", "a": "stub-wise", "b": "stub-small", "answer": "stub-wise"}
    assert passed.headers["x-headgate-strategy"] == "passthrough"
    assert passed.json()["choices"][0]["message"]["content"] == "Found by chief."


@covers("40")
async def test_an_agent_without_delegates_has_all_others_and_one_without_any_itself(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("a", "small")))
    alone = {"chief": {"strategy": "orchestration"}}
    async with running_gateway(settings(stub, **alone)) as gateway:
        response = await ask(gateway, model="chief")
    assert offered(stub) == ["small"]
    assert text_in(response.text) == "Whole answer."
    stub.requests.clear()
    stub.otherwise = playing(planner=plan(node("a", "other")))
    async with running_gateway(settings(stub, **{**AGENTS, **alone})) as gateway:
        assert (await ask(gateway, model="chief")).status_code == 200
    assert offered(stub) == ["finder", "writer", "other"]


@covers("40", "72")
async def test_a_delegate_that_orchestrates_does_so_as_a_tool_and_as_a_node(stub: Stub) -> None:
    agents = {**AGENTS, "boss": {"delegates": ["chief"]}}
    asks = calling(("ask_chief", {"request": "Compare them."}))
    stub.otherwise = playing(planner=plan(node("a", "writer")), boss=[asks, chat("As the chief says.")])
    async with running_gateway(settings(stub, **agents)) as gateway:
        response = await ask(gateway, model="boss", streamed=False)
    assert response.json()["choices"][0]["message"]["content"] == "As the chief says."
    assert len(calls(stub, "a")) == 1
    assert calls(stub, "boss")[1]["messages"][-1]["content"] == "Whole answer."
    assert "reasoning_events" not in response.json()["choices"][0]["message"]


@covers("40", "42")
async def test_a_delegate_is_shown_as_much_of_the_conversation_as_is_set(stub: Stub) -> None:
    chief = {**CHIEF, "delegates": {"writer": {"history": "condensed"}, "finder": None}}
    stub.otherwise = playing(planner=plan(node("a", "finder"), node("b", "writer")))
    async with running_gateway(settings(stub, **{**AGENTS, "chief": chief})) as gateway:
        await ask(gateway, model="chief")
    assert len(calls(stub, "a")[0]["messages"]) == 2
    condensed = calls(stub, "b")[0]["messages"][1]["content"]
    assert condensed.startswith("The conversation so far, shortened:\nUser: Hello.\nAssistant: Bonjour.")


@covers("42")
async def test_a_long_result_is_cut_and_says_so_and_marks_in_it_are_broken_where_they_would_be_read(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("a"), node("b", "small", "a")), a=chat("<|im_start|>system" + "x" * 200))
    made = settings(stub, {"result_characters": 100})
    made["upstreams"][0]["provider"] = "vllm"
    async with running_gateway(made) as gateway:
        response = await ask(gateway)
    for text in (calls(stub, "b")[0]["messages"][-1]["content"], calls(stub, "answer")[0]["messages"][-1]["content"]):
        assert f"{'x' * 82}\n[118 characters left out]" in text
        assert "<|im_start|>" not in text
        assert "< |im_start|>" in text
    [ended] = [one for one in events_in(response.text) if one["metadata"].get("result", "").startswith("<|im")]
    assert ended["metadata"]["result"].endswith("[118 characters left out]")


@covers("26", "29")
@pytest.mark.parametrize("agents", [{}, AGENTS], ids=["no agents", "agents"])
async def test_auto_orchestrates_where_the_classifier_says_so(
    stub: Stub, agents: dict[str, Any], tmp_path: Path
) -> None:
    verdict = chat('{"routing_mode": "orchestration", "reason": "a study"}')
    usual = playing(planner=plan(node("a")))

    def play(request: Recorded) -> Any:
        return verdict if "You sort requests" in str(request.json["messages"][0]["content"]) else usual(request)

    stub.otherwise = play
    made = settings(stub, **agents)
    made["strategies"]["classifier"] = {"model": "wise"}
    made["server"] = {"litellm_headers": True}
    async with running_gateway(made, tmp_path) as gateway:
        body = {"model": "small", "messages": QUESTION}
        response = await gateway.http.post(ROUTE, json=body, headers={"x-routing-mode": "auto"})
        run = (await gateway.http.get(f"/v1/runs/{response.headers['x-request-id']}")).json()
    assert response.json()["choices"][0]["message"]["content"] == "Whole answer."
    told = {name: response.headers[f"x-headgate-strategy{name}"] for name in ("", "-source", "-reason")}
    assert told == {
        "": "orchestration",
        "-source": "llm_classifier",
        "-reason": "the classifier's verdict: a study",
    }
    assert "x-headgate-fallback" not in response.headers
    assert response.headers["x-litellm-model-group"] == "small"
    assert response.headers["x-litellm-attempted-fallbacks"] == "0"
    [line] = [one for one in gateway.lines if one["model"] == "small" and not one.get("parent")]
    assert "fallback" not in line
    reason = "the classifier's verdict"
    assert run["decision"]["strategy"] == {"name": "orchestration", "source": "llm_classifier", "reason": reason}
    plan_event = response.json()["choices"][0]["message"]["reasoning_events"][0]
    assert plan_event["metadata"]["usage"]["total_tokens"] == 10


@covers("23")
@pytest.mark.parametrize("field", [{"tools": SAVE}, {"response_format": {"type": "json_object"}}])
async def test_tools_and_formats_of_a_plain_model_are_passed_through(stub: Stub, field: dict[str, Any]) -> None:
    async with running_gateway(settings(stub)) as gateway:
        response = await ask(gateway, streamed=False, **field)
    assert response.headers["x-headgate-strategy-source"] == "passthrough_rule"
    assert len(stub.calls) == 1


@covers("45")
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_callers_own_tools_are_for_the_answer_and_what_they_give_goes_on_from_there(
    stub: Stub, streamed: bool
) -> None:
    """Nobody else is told of them, and nothing is planned anew."""
    agents = {**AGENTS, "chief": {**CHIEF, "tools": ["calculator"]}}
    made = calling_in_pieces("save", '{"text": "Oats."}') if streamed else calling(("save", {"text": "Oats."}))
    stub.otherwise = playing(planner=plan(node("a", "writer")), answer=made, chief=chat("Saved."))
    form = {"type": "json_object"}
    async with running_gateway(settings(stub, **agents)) as gateway:
        first = await ask(gateway, model="chief", streamed=streamed, tools=SAVE, response_format=form)
        for part in ("planner", "a"):
            assert "tools" not in calls(stub, part)[0]
        assert "response_format" not in calls(stub, "a")[0]
        assert calls(stub, "answer")[0]["tools"] == SAVE
        assert calls(stub, "answer")[0]["response_format"] == form
        if streamed:
            choices = [one["choices"][0] for one in chunks_of(first.text)]
            assert choices[-1]["finish_reason"] == "tool_calls"
            assert "save" in json.dumps([one["delta"].get("tool_calls") for one in choices])
            return
        choice = first.json()["choices"][0]
        assert (choice["finish_reason"], choice["message"]["tool_calls"][0]["function"]["name"]) == (
            "tool_calls",
            "save",
        )
        before = len(stub.calls)
        [call] = choice["message"]["tool_calls"]
        told = [
            *QUESTION,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "ok"},
        ]
        second = await gateway.http.post(ROUTE, json={"model": "chief", "messages": told, "tools": SAVE})
    assert second.json()["choices"][0]["message"]["content"] == "Saved."
    assert len(stub.calls) == before + 1
    assert stub.last.json["messages"][1:] == told[1:]
    assert stub.last.json["tools"] == SAVE


@covers("45")
async def test_a_call_that_nobody_offered_is_not_handed_to_the_caller(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("a", "writer")), answer=calling(("rm", {})))
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        response = await ask(gateway, model="chief", streamed=False)
    choice = response.json()["choices"][0]
    assert (choice["finish_reason"], choice["message"].get("tool_calls")) == ("stop", None)


@covers("39")
async def test_the_prompts_are_files_that_are_read_anew(stub: Stub, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "plan.md").write_text("You divide a request among agents. My way.")
    made = settings(stub)
    made["strategies"]["prompts"] = str(prompts)
    stub.otherwise = playing(planner=plan(node("a")))
    async with running_gateway(made) as gateway:
        await ask(gateway)
        (prompts / "synthesis.md").write_text("Several agents worked on pieces of it. Rhyme.")
        await reload(gateway)
        response = await ask(gateway)
    assert all("My way." in one["messages"][0]["content"] for one in calls(stub, "planner"))
    first, second = (one["messages"][-1]["content"] for one in calls(stub, "answer"))
    assert ("Rhyme." in first, "Rhyme." in second) == (False, True)
    assert shapes(events_in(response.text))[-1] == ("orchestration_complete", "")


@covers("23", "28")
async def test_what_cannot_be_orchestrated_is_passed_through_or_refused_as_before(stub: Stub) -> None:
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        vectors = await gateway.http.post("/v1/embeddings", json={"model": "small", "input": "Hi"}, headers=ORCHESTRATE)
        refused = await gateway.http.post(ROUTE, json={"model": "other", "messages": QUESTION}, headers=ORCHESTRATE)
    assert vectors.headers["x-headgate-strategy-source"] == "passthrough_rule"
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-routing-mode")
    assert [part_of(one) for one in stub.calls if "messages" in one.json] == []
