"""Callers' tools beside the gateway's: who runs what, what the model is told, and that every transcript is valid."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, chunk, stream
from tests.journeys.test_agents import calling, settings
from tests.requirements import covers

pytestmark = covers("66")
NAME = "augmented/helper"
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
MINE = {"expression": "6*7"}


def theirs(name: str = "open_door") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "title": "the caller's"}}}


def calls(streamed: bool, *wanted: tuple[str, dict[str, Any]]) -> Answer:
    """An answer that calls tools, whole or in pieces that come in turns."""
    if not streamed:
        return calling(*wanted)
    pieces = []
    for number, (name, _) in enumerate(wanted):
        head = {"index": number, "id": f"call_{number}", "type": "function", "function": {"name": name}}
        pieces.append(chunk({"tool_calls": [head]}))
    for number, (_, arguments) in enumerate(wanted):
        text = json.dumps(arguments)
        parts = [{"index": number, "function": {"arguments": part}} for part in (text[:3], text[3:])]
        pieces += [chunk({"tool_calls": [part]}) for part in parts]
    return stream([*pieces, chunk({}, "tool_calls"), b"data: [DONE]\n\n"])


def said(streamed: bool, text: str = "Hello there.") -> Answer:
    return stream() if streamed else chat(text)


def answer_of(response: Any, streamed: bool) -> tuple[str, list[dict[str, Any]], str]:
    """(text, calls, finish reason), as a client puts them together."""
    if not streamed:
        choice = response.json()["choices"][0]
        return choice["message"]["content"] or "", choice["message"].get("tool_calls", []), choice["finish_reason"]
    chunks = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: {")]
    deltas = [one["choices"][0] for one in chunks if one["choices"]]
    text = "".join(one["delta"].get("content") or "" for one in deltas)
    listed = [call for one in deltas for call in one["delta"].get("tool_calls", [])]
    assert [call.pop("index") for call in listed] == list(range(len(listed)))
    return text, listed, deltas[-1]["finish_reason"]


def is_valid(messages: list[dict[str, Any]]) -> bool:
    """Every call has one result, right behind the message that holds it, and every result has a call."""
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return False
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return False
        else:
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
    return not open_calls


@pytest_asyncio.fixture
async def agent(stub: Stub) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub)) as gateway:
        yield gateway


@both_ways
async def test_a_callers_tool_is_handed_to_it_whole(agent: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(calls(streamed, ("open_door", {"door": "front"})))
    response = await agent.chat(model=NAME, tools=[theirs()], stream=streamed)
    _, listed, finish = answer_of(response, streamed)
    function = {"name": "open_door", "arguments": '{"door": "front"}'}
    assert listed == [{"id": "call_0", "type": "function", "function": function}]
    assert finish == "tool_calls"
    names = [tool["function"]["name"] for tool in stub.last.json["tools"]]
    assert names == ["calculator", "get_current_time", "open_door"]
    assert stub.last.json["tools"][-1] == theirs()


@both_ways
@pytest.mark.parametrize("first", ["mine", "theirs"])
async def test_of_a_mixed_turn_only_the_gateways_calls_stay(
    agent: Gateway, stub: Stub, streamed: bool, first: str
) -> None:
    mixed = [("calculator", MINE), ("open_door", {})]
    stub.answer(calls(streamed, *(mixed if first == "mine" else mixed[::-1])), calls(streamed, ("open_door", {"n": 2})))
    response = await agent.chat(model=NAME, tools=[theirs()], stream=streamed)
    _, listed, finish = answer_of(response, streamed)
    assert [call["function"]["arguments"] for call in listed] == ['{"n": 2}']
    assert finish == "tool_calls"
    sent = stub.last.json["messages"]
    assert is_valid(sent)
    [kept] = sent[-2]["tool_calls"]
    assert kept["function"]["name"] == "calculator"
    assert (sent[-1]["tool_call_id"], sent[-1]["content"]) == (kept["id"], "42")


@both_ways
async def test_the_caller_goes_on_with_its_results(agent: Gateway, stub: Stub, streamed: bool) -> None:
    call = {"id": "call_9", "type": "function", "function": {"name": "open_door", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Open."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_9", "content": "opened"},
    ]
    stub.answer(calls(streamed, ("calculator", MINE)), said(streamed))
    response = await agent.chat(model=NAME, tools=[theirs()], messages=messages, stream=streamed)
    assert answer_of(response, streamed) == ("Hello there.", [], "stop")
    sent = stub.last.json["messages"]
    assert sent[1:4] == messages
    assert is_valid(sent)


async def test_calls_of_a_provider_that_leaves_out_their_ids_get_some(agent: Gateway, stub: Stub) -> None:
    answer = json.loads(calling(("calculator", MINE), ("calculator", {"expression": "1"})).body)
    for call in answer["choices"][0]["message"]["tool_calls"]:
        del call["id"]
    stub.answer(Answer(body=json.dumps(answer).encode()), chat())
    assert (await agent.chat(model=NAME)).status_code == 200
    sent = stub.last.json["messages"]
    assert is_valid(sent)
    assert len({one["tool_call_id"] for one in sent[-2:]}) == 2


@both_ways
async def test_a_callers_tool_of_the_same_name_is_not_run_here(agent: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(calls(streamed, ("calculator", MINE)))
    response = await agent.chat(model=NAME, tools=[theirs("calculator")], stream=streamed)
    _, listed, finish = answer_of(response, streamed)
    assert (listed[0]["function"]["name"], finish) == ("calculator", "tool_calls")
    assert len(stub.calls) == 1
    told = [tool for tool in stub.last.json["tools"] if tool["function"]["name"] == "calculator"]
    assert told == [theirs("calculator")]


@both_ways
@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "calculator"}}], ids=["required", "named"]
)
async def test_a_forced_call_is_forced_once(agent: Gateway, stub: Stub, streamed: bool, choice: Any) -> None:
    """It would be forced in every turn else, and the agent would never answer."""
    stub.answer(calls(streamed, ("calculator", MINE)), said(streamed))
    response = await agent.chat(model=NAME, tool_choice=choice, stream=streamed)
    assert answer_of(response, streamed) == ("Hello there.", [], "stop")
    assert [call.json.get("tool_choice") for call in stub.calls] == [choice, None]


@both_ways
async def test_a_forced_call_of_a_callers_tool_stays_forced(agent: Gateway, stub: Stub, streamed: bool) -> None:
    choice = {"type": "function", "function": {"name": "open_door"}}
    stub.answer(calls(streamed, ("calculator", MINE)), calls(streamed, ("open_door", {})))
    response = await agent.chat(model=NAME, tools=[theirs()], tool_choice=choice, stream=streamed)
    assert answer_of(response, streamed)[1][0]["function"]["name"] == "open_door"
    assert [call.json.get("tool_choice") for call in stub.calls] == [choice, choice]


@both_ways
async def test_a_callers_no_to_tools_is_kept(agent: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(said(streamed))
    await agent.chat(model=NAME, tool_choice="none", stream=streamed)
    assert stub.last.json["tool_choice"] == "none"


PICTURE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
        ],
    }
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}


@covers("6", "7", "8")
@both_ways
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_format", SCHEMA),
        ("response_format", {"type": "json_object"}),
        ("temperature", 0.3),
        ("top_p", 0.9),
        ("max_tokens", 64),
        ("max_completion_tokens", 64),
        ("seed", 7),
        ("stop", ["END"]),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("logit_bias", {"50256": -100}),
        ("logprobs", True),
        ("top_logprobs", 2),
        ("parallel_tool_calls", False),
        ("reasoning_effort", "low"),
        ("user", "ann"),
        ("metadata", {"a": "b"}),
        ("service_tier", "flex"),
        ("prediction", {"type": "content", "content": "x"}),
        ("modalities", ["text"]),
        ("a_field_of_tomorrow", {"deep": [1]}),
        ("messages", PICTURE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_field_reaches_the_model_in_every_turn(
    agent: Gateway, stub: Stub, streamed: bool, field: str, value: Any
) -> None:
    stub.answer(calls(streamed, ("calculator", MINE)), said(streamed))
    response = await agent.chat(model=NAME, stream=streamed, **{field: value})
    assert response.status_code == 200, response.text
    assert len(stub.calls) == 2
    for call in stub.calls:
        sent = call.json[field]
        assert (sent[1:2] if field == "messages" else sent) == value
