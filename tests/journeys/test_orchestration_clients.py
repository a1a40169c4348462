"""Orchestration through clients that know nothing of it, in other dialects, and in conversations that are kept."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.harness.gateway import KEY, running_gateway
from tests.harness.orchestra import (
    QUESTION,
    ask,
    calls,
    chunks_of,
    node,
    plan,
    playing,
    settings,
)
from tests.harness.stub import BOUND, Answer, Stub, chat
from tests.journeys.test_agents import calling
from tests.journeys.test_background import text_of, until
from tests.requirements import covers

CHIEF: dict[str, Any] = {"strategy": "orchestration", "delegates": ["finder", "writer"]}
AGENTS: dict[str, Any] = {"chief": CHIEF, "finder": {"model": "inherit"}, "writer": {}, "other": {}}


@covers("events")
@pytest.mark.parametrize("streamed", [False, True])
async def test_without_events_nothing_but_openais_own_fields_is_sent(stub: Stub, streamed: bool) -> None:
    stub.otherwise = playing(planner=plan(node("a")))
    async with running_gateway(settings(stub)) as gateway:
        gateway.http.headers["x-events"] = "none"
        response = await ask(gateway, streamed=streamed)
    for one in chunks_of(response.text) if streamed else [response.json()]:
        assert one.keys() <= {"id", "object", "created", "model", "choices", "usage"}
        for choice in one["choices"]:
            assert (choice["delta"] if streamed else choice["message"]).keys() <= {"role", "content", "refusal"}
    assert ("Whole" in response.text, "Found by" in response.text) == (True, False)


@covers("clients", "44")
async def test_the_official_sdk_reads_it_as_any_answer(stub: Stub) -> None:
    used = calling(("calculator", {"expression": "6*7"}))
    agents = {**AGENTS, "writer": {"tools": ["calculator"]}}
    stub.otherwise = playing(
        planner=plan(node("a", "writer"), node("b", "writer", "a"), node("c", "writer")),
        a=[used, chat("A."), used],
    )
    async with (
        running_gateway(settings(stub, **agents)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        common: Any = {"model": "chief", "messages": QUESTION}
        whole = await client.chat.completions.create(**common)
        chunks = [one async for one in await client.chat.completions.create(**common, stream=True)]
        async with client.chat.completions.stream(**common) as events:
            put_together = await events.get_final_completion()
    assert whole.choices[0].message.content == put_together.choices[0].message.content == "Whole answer."
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == "Whole answer."
    assert chunks[-1].choices[0].finish_reason == "stop"


@covers("44", "responses")
async def test_the_other_doors_tell_the_plan_as_reasoning(stub: Stub) -> None:
    stub.otherwise = playing(planner=plan(node("a", "writer"), reason="Ask the writer."))
    async with running_gateway(settings(stub, **AGENTS)) as gateway:
        hi = [{"role": "user", "content": "Hi"}]
        message = await gateway.http.post("/v1/messages", json={"model": "chief", "max_tokens": 50, "messages": hi})
        answers = {
            wish: await gateway.http.post(
                "/v1/responses", json={"model": "chief", "input": "Hi", "stream": True}, headers={"x-events": wish}
            )
            for wish in ("", "all")
        }
    content = message.json()["content"]
    assert [one["type"] for one in content] == ["thinking", "text"]
    assert (content[0]["thinking"], content[1]["text"]) == ("Ask the writer.\n", "Whole answer.")
    for wish, response in answers.items():
        told = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
        items = told[-1]["response"]["output"]
        assert [one["type"] for one in items] == ["reasoning", "message"]
        steps = [one["step"] for one in told if one["type"] == "headgate:step"]
        expected = ["plan", "node_started", "node_completed", "orchestration_complete"]
        assert steps == (expected if wish else [])


@covers("85")
async def test_a_session_keeps_the_answer_and_goes_on_from_it(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = playing(planner=plan(node("a", "writer")))
    async with running_gateway(settings(stub, **AGENTS), tmp_path) as gateway:
        sessions = "/a1/agents/chief/sessions"
        id_ = (await gateway.http.post(sessions, json={})).json()["id"]
        for words in ("First.", "Second."):
            said = await gateway.http.post(f"{sessions}/{id_}/messages", json={"message": words})
            assert said.status_code == 200, said.text
    last = [(one["role"], one["content"]) for one in calls(stub, "planner")[1]["messages"][1:]]
    assert last == [("user", "First."), ("assistant", "Whole answer."), ("user", "Second.")]


@covers("156", "12")
async def test_a_response_in_the_background_is_orchestrated_and_can_be_cancelled(stub: Stub, tmp_path: Path) -> None:
    hanging = Answer(hang=True, framing="chunked", pieces=[b" "])
    stub.otherwise = playing(planner=[plan(node("a", "writer")), plan(node("slow", "writer"))], slow=hanging)
    body = {"model": "chief", "input": "Hi", "background": True}
    async with running_gateway(settings(stub, **AGENTS), tmp_path) as gateway:
        first = (await gateway.http.post("/v1/responses", json=body)).json()
        done = await until(gateway, first["id"], "completed", "failed")
        second = (await gateway.http.post("/v1/responses", json=body)).json()
        await stub.wait_for_calls(5)
        await gateway.http.post(f"/v1/responses/{second['id']}/cancel")
        async with asyncio.timeout(BOUND):
            await stub.last.left.wait()
        ended = await until(gateway, second["id"], "cancelled", "completed", "failed")
    assert (done["status"], text_of(done)) == ("completed", "Whole answer.")
    assert done["usage"]["total_tokens"] == 30
    assert ended["status"] == "cancelled"
