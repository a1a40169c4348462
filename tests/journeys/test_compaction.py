"""A stored conversation grows too long for its model: what takes the place of its beginning, when, and what is told."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.conversations.types import Owner, Segment
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat
from tests.journeys.test_agents import calling
from tests.requirements import covers

OWNER = Owner("default", "")
WINDOW, LONGEST = 2000, 200
SUMMARY = "## Goal\nGet the order HX-4711 delivered."
LONG = "and then some more was said about the weather, " * 11


def settings(stub: Stub, **compaction: Any) -> dict[str, Any]:
    facts = {"context_window": WINDOW, "max_output_tokens": LONGEST}
    target = {"upstream": "stub", "model": "stub-small"}
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": [target], "capabilities": facts, "retries": 0}],
        "agents": [
            {"name": "helper", "model": "small", "system_prompt": "You help.", "tools": ["calculator"]},
        ],
        "compaction": compaction,
    }


def counted(request: Recorded) -> int:
    return len(request.body) // 4


def is_summary_call(request: Recorded) -> bool:
    return "is replaced by your summary" in str(request.json["messages"][-1]["content"])


def answering(summary: str = SUMMARY) -> Any:
    """A provider that counts tokens, answers at length, and sums up when it is told to."""

    def answer(request: Recorded) -> Answer:
        prompt = counted(request)
        text = summary if is_summary_call(request) else f"Answer {len(request.json['messages'])}: {LONG}"
        usage = {"prompt_tokens": prompt, "completion_tokens": len(text) // 4, "total_tokens": prompt + len(text) // 4}
        return chat(text, usage=usage)

    return answer


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = answering()
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def say(gateway: Gateway, text: str, conversation: str = "", model: str = "small", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": conversation})
    await settled(gateway)
    return response


async def settled(gateway: Gateway) -> None:
    """Until the turn is over and nothing is compacted in the background; bounded."""
    assert gateway.gate.compactor is not None
    async with asyncio.timeout(BOUND):
        while gateway.gate.active:
            await asyncio.sleep(0.002)
    await asyncio.gather(*gateway.gate.compactor.tasks.values())


async def talked(gateway: Gateway, turns: int, model: str = "small") -> str:
    conversation = ""
    for number in range(turns):
        response = await say(gateway, f"Question {number}: {LONG}", conversation, model)
        assert response.status_code == 200, response.text
        conversation = response.headers["x-conversation-id"]
    return conversation


async def lineage(gateway: Gateway, conversation: str) -> list[Segment]:
    state = gateway.gate.deps.state
    assert state is not None
    return await state.heads.lineage(await state.heads.get(conversation, OWNER))


def contents(request: Recorded) -> list[str]:
    return [str(one["content"]) for one in request.json["messages"]]


@covers("87", "86")
async def test_a_turn_that_comes_near_the_end_is_followed_by_a_compaction_and_the_next_one_says_so(
    gateway: Gateway, stub: Stub
) -> None:
    conversation = await talked(gateway, 7)
    [root, compacted] = (await lineage(gateway, conversation))[:2]
    assert compacted.parent == root.id
    assert (compacted.told["kind"], compacted.told["trigger"], compacted.told["model"]) == (
        "summary",
        "automatic",
        "small",
    )
    assert compacted.told["tokens_after"] < compacted.told["tokens_before"]
    [call] = [one for one in stub.calls if is_summary_call(one)]
    before, after = stub.calls[stub.calls.index(call) - 1], stub.calls[stub.calls.index(call) + 1]
    assert counted(after) < counted(before)
    told = contents(after)
    assert SUMMARY in told[0]
    assert told[-1].startswith("Question")
    live = (await lineage(gateway, conversation))[-1].id
    assert (await say(gateway, "And?", conversation)).headers["x-headgate-segment"] == live


@covers("87")
async def test_before_the_end_comes_near_nothing_is_summed_up_and_no_segment_is_told(
    gateway: Gateway, stub: Stub
) -> None:
    conversation = await talked(gateway, 3)
    assert not any(map(is_summary_call, stub.calls))
    response = await say(gateway, "And?", conversation)
    assert "x-headgate-segment" not in response.headers


@covers("86")
async def test_the_users_words_and_the_last_turns_stay_word_by_word(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 4)
    outcome = await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})
    assert outcome.status_code == 200, outcome.text
    assert outcome.json()["changed"]
    told_before = stub.calls[-2].json["messages"]
    await say(gateway, "And?", conversation)
    told = stub.calls[-1].json["messages"]
    users = [one for one in told_before if one["role"] == "user"]
    assert [one for one in told if one["role"] == "user"][1:5] == users
    assert [one["role"] for one in told] == ["user", "user", "user", "user", "user", "assistant", "user"]
    assert told[5]["content"].startswith("Answer 7")


@covers("86")
async def test_asked_a_second_time_nothing_changes_and_no_model_is_called(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 4)
    first = (await gateway.http.post(f"/c1/conversations/{conversation}/compact")).json()
    calls = len(stub.calls)
    second = (await gateway.http.post(f"/c1/conversations/{conversation}/compact")).json()
    assert len(stub.calls) == calls
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["segment"] == second["segment"]
    assert second["tokens_before"] == first["tokens_before"]


@covers("86")
async def test_the_call_for_the_summary_begins_with_the_bytes_of_the_conversations_own(
    gateway: Gateway, stub: Stub
) -> None:
    conversation = await talked(gateway, 4, "helper")
    await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})
    own, call = stub.calls[-2], stub.calls[-1]
    assert is_summary_call(call)
    assert call.json["tools"] == own.json["tools"]
    assert call.json["messages"][:-1] == own.json["messages"][: len(call.json["messages"]) - 1]
    beginning = own.body[: own.body.index(b"Question 3") - len(b'{"role":"user","content":"')]
    assert call.body.startswith(beginning)


@covers("87")
async def test_a_call_that_would_overflow_waits_for_a_compaction(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = answering()
    async with running_gateway(settings(stub, at=1.0), tmp_path) as gateway:
        conversation = await talked(gateway, 5)
        assert not any(map(is_summary_call, stub.calls))
        response = await say(gateway, f"A long one: {LONG * 6}", conversation)
        [*_, call, own] = stub.calls
        assert is_summary_call(call)
        assert SUMMARY in contents(own)[0]
        [_, compacted] = await lineage(gateway, conversation)
        assert compacted.told["trigger"] == "overflow"
        assert response.headers["x-headgate-segment"] == compacted.id


@covers("91")
@pytest.mark.parametrize(
    ("failing", "why"),
    [
        (Answer(status=500), "upstream_fault"),
        (chat(""), "upstream_garbled"),
        (chat("no summary " * 2000), "summary_too_long"),
    ],
    ids=["fault", "empty", "too long"],
)
async def test_where_no_summary_comes_a_digest_takes_its_place(
    gateway: Gateway, stub: Stub, failing: Answer, why: str
) -> None:
    ordinary = answering()
    stub.otherwise = lambda request: failing if is_summary_call(request) else ordinary(request)
    conversation = await talked(gateway, 7)
    told = (await lineage(gateway, conversation))[1].told
    assert (told["kind"], told["error"]) == ("digest", why)
    await say(gateway, "And?", conversation)
    assert "Made without a model" in contents(stub.calls[-1])[0]


@covers("86")
async def test_a_model_that_calls_a_tool_instead_of_writing_is_asked_once_more(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 4, "helper")
    stub.answer(calling(("calculator", {"expression": "1"})))
    told = await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})
    first, second = stub.calls[-2:]
    assert is_summary_call(first)
    assert is_summary_call(second)
    assert "tool_choice" not in first.json
    assert second.json["tool_choice"] == "none"
    assert told.json()["kind"] == "summary"


@covers("86")
async def test_trimming_asks_no_model(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = answering()
    async with running_gateway(settings(stub, mode="trim"), tmp_path) as gateway:
        conversation = await talked(gateway, 7)
        assert not any(map(is_summary_call, stub.calls))
        assert (await lineage(gateway, conversation))[1].told["kind"] == "trim"
        assert "are left out here" in contents(stub.calls[-1])[0]


@covers("86")
@pytest.mark.parametrize("level", ["all", "model", "conversation", "tenant"])
async def test_it_can_be_switched_off_at_every_level(stub: Stub, tmp_path: Path, level: str) -> None:
    stub.otherwise = answering()
    set_ = settings(stub, mode="none" if level == "all" else "compact")
    if level == "model":
        set_["models"][0]["compaction"] = {"mode": "none"}
    async with running_gateway(set_, tmp_path) as gateway:
        conversation = await talked(gateway, 1)
        if level == "conversation":
            path = f"/c1/conversations/{conversation}/compaction"
            await gateway.http.put(path, json={"mode": "none"})
            assert (await gateway.http.get(path)).json()["compaction"] == {"mode": "none"}
        if level == "tenant":
            await gateway.http.put("/v1/tenant/config/compaction.mode", json={"value": "none"})
        for number in range(7):
            await say(gateway, f"{number}: {LONG}", conversation)
        assert not any(map(is_summary_call, stub.calls))
        assert len(await lineage(gateway, conversation)) == 1


@covers("90")
async def test_the_call_for_a_summary_is_a_run_below_the_turn_on_the_same_account(
    gateway: Gateway,
) -> None:
    await talked(gateway, 7)
    [line] = [one for one in gateway.lines if one["route"] == "compaction"]
    parents = [one["request_id"] for one in gateway.lines if one["route"] == "chat"]
    assert line["parent"] in parents
    assert (line["component"], line["model"], line["status"]) == ("compaction", "small", 200)
    metrics = (await gateway.http.get("/metrics")).text
    assert 'component="compaction"' in metrics
    assert line["key"] == gateway.lines[0]["key"]


@covers("86")
async def test_a_caller_that_sends_the_whole_history_along_still_adds_only_what_is_new(
    gateway: Gateway, stub: Stub
) -> None:
    conversation = await talked(gateway, 4)
    whole = [*stub.calls[-1].json["messages"], {"role": "assistant", "content": f"Answer 7: {LONG}"}]
    await gateway.http.post(f"/c1/conversations/{conversation}/compact")
    body = {"model": "small", "messages": [*whole, {"role": "user", "content": "And?"}]}
    await gateway.http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": conversation})
    assert SUMMARY in contents(stub.calls[-1])[0]
    assert sum(one == "And?" for one in contents(stub.calls[-1])) == 1
    assert not any("Answer 1" in one for one in contents(stub.calls[-1]))


@covers("22")
async def test_each_call_of_an_agent_begins_with_the_bytes_of_the_last_but_behind_a_compaction(
    gateway: Gateway, stub: Stub
) -> None:
    await talked(gateway, 9, "helper")
    own = [one for one in stub.calls if not is_summary_call(one)]
    summaries = [stub.calls[at + 1] for at, one in enumerate(stub.calls[:-1]) if is_summary_call(one)]
    broken = [after for before, after in itertools.pairwise(own) if not _begins(before, after)]
    assert broken == summaries != []


def _begins(before: Recorded, after: Recorded) -> bool:
    messages = json.dumps(before.json["messages"], separators=(",", ":"), ensure_ascii=False)[:-1].encode()
    at = after.body.index(b'"messages":') + len(b'"messages":')
    return after.body[at:].startswith(messages) and before.json["tools"] == after.json["tools"]
