"""An agent as a model: the gateway's own tools run in turns with the model, and the caller sees one answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, chunk, stream
from tests.journeys.test_money import rows
from tests.requirements import covers

pytestmark = covers("65")


def settings(stub: Stub, **agent: Any) -> dict[str, Any]:
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}],
        "agents": [
            {
                "name": "augmented/helper",
                "model": "small",
                "system_prompt": "You compute.",
                "tools": ["calculator", "get_current_time"],
                **agent,
            }
        ],
    }


def calling(*calls: tuple[str, dict[str, Any]], **more: Any) -> Answer:
    """An answer that calls tools."""
    listed = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(calls)
    ]
    body = json.loads(chat(**more).body)
    body["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": listed}
    body["choices"][0]["finish_reason"] = "tool_calls"
    return Answer(body=json.dumps(body).encode())


def calling_in_pieces(name: str, arguments: str) -> Answer:
    """The same as a stream, its arguments in two pieces."""
    first = {"index": 0, "id": "call_0", "type": "function", "function": {"name": name, "arguments": arguments[:5]}}
    second = {"index": 0, "function": {"arguments": arguments[5:]}}
    return stream(
        [
            chunk({"role": "assistant", "content": None}),
            chunk({"tool_calls": [first]}),
            chunk({"tool_calls": [second]}),
            chunk({}, "tool_calls"),
            b"data: [DONE]\n\n",
        ]
    )


@pytest_asyncio.fixture
async def agent(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        yield gateway


async def test_tools_run_between_the_turns_and_the_answer_is_the_last_one(agent: Gateway, stub: Stub) -> None:
    stub.answer(calling(("calculator", {"expression": "6*7"})), chat("It is 42."))
    response = await agent.chat(model="augmented/helper")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model"] == "augmented/helper"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "It is 42."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == 20
    last = stub.last.json["messages"]
    assert last[0] == {"role": "system", "content": "You compute."}
    assert last[-1] == {"role": "tool", "tool_call_id": "call_0", "content": "42"}
    assert [message["role"] for message in last] == ["system", "user", "assistant", "tool"]
    assert [tool["function"]["name"] for tool in stub.last.json["tools"]] == ["calculator", "get_current_time"]


async def test_the_last_answer_streams_with_the_status_of_the_tools_before_it(agent: Gateway, stub: Stub) -> None:
    stub.answer(calling_in_pieces("calculator", '{"expression": "2+2"}'), stream())
    frames = await agent.stream(model="augmented/helper", stream_options={"include_usage": True})
    chunks = [json.loads(line[6:]) for line in frames.decode().split("\n\n") if line.startswith("data: {")]
    statuses = [one["proxy_status"]["status"] for one in chunks if "proxy_status" in one]
    assert statuses == ["calling_llm", "executing_tool", "tool_completed", "processing_results"]
    words = [one["choices"][0]["delta"].get("content") for one in chunks if one["choices"]]
    assert "".join(filter(None, words)) == "Hello there."
    assert frames.endswith(b"data: [DONE]\n\n")
    assert stub.last.json["messages"][-1]["content"] == "4"


async def test_each_turn_is_an_attempt_in_the_ledger(agent: Gateway, stub: Stub) -> None:
    stub.answer(calling(("calculator", {"expression": "1"})), chat())
    response = await agent.chat(model="augmented/helper")
    lines = await agent.wait_for_lines(1)
    assert lines[0]["model"] == "augmented/helper"
    assert len(lines[0]["attempts"]) == 2
    assert (lines[0]["prompt_tokens"], lines[0]["completion_tokens"], lines[0]["usage_missing"]) == (14, 6, False)
    logged = await rows(agent, 2)
    assert {row["run"] for row in logged} == {response.headers["x-request-id"]}
    assert [(row["attempt"], row["final"], row["component"]) for row in logged] == [
        ("1", "0", "agent"),
        ("2", "1", "agent"),
    ]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_that_never_stops_calling_ends_with_a_named_error(stub: Stub, streamed: bool) -> None:
    def endless(request: Any) -> Answer:
        count = len(request.json["messages"])
        arguments = {"expression": str(count)}
        return (
            calling_in_pieces("calculator", json.dumps(arguments)) if streamed else calling(("calculator", arguments))
        )

    stub.otherwise = endless
    async with running_gateway(settings(stub, bounds={"turns": 3})) as gateway:
        response = await gateway.chat(model="augmented/helper", stream=streamed)
    assert b"tool_loop_limit" in response.content
    assert len(stub.calls) == 4
    assert stub.last.json["tool_choice"] == "none"
