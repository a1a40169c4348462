"""Compaction when asked for: who may ask, what is told, and where the ids of archived segments lead."""

import asyncio
from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.stub import Answer, Stub, chat
from tests.journeys.test_compaction import LONG, OWNER, SUMMARY, gateway, is_summary_call, lineage, say, talked
from tests.journeys.test_money import new_key
from tests.requirements import covers

__all__ = ["gateway"]


@covers("89", "88")
async def test_an_archived_segment_redirects_to_its_conversation(gateway: Gateway) -> None:
    conversation = await talked(gateway, 4)
    for number in range(3):
        await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})
        await say(gateway, f"More {number}: {LONG}", conversation)
    segments = await lineage(gateway, conversation)
    assert [one.cause for one in segments] == ["root", "compaction", "compaction", "compaction"]
    assert [one.parent for one in segments[1:]] == [one.id for one in segments[:-1]]
    for segment in segments:
        for path in ("/c1/conversations/{}/compact", "/a1/agents/helper/sessions/{}/messages"):
            moved = await gateway.http.post(path.format(segment.id), json={})
            assert (moved.status_code, moved.headers["location"]) == (308, path.format(conversation))
            assert moved.json()["error"]["code"] == "conversation_archived"
    for segment in segments:
        listed = await gateway.http.get(f"/c1/conversations/{segment.id}/lineage", follow_redirects=True)
        assert [one["id"] for one in listed.json()["segments"]] == [one.id for one in segments]
    newest = (await gateway.http.get(f"/c1/conversations/{conversation}/diff")).json()["data"][0]
    assert newest["id"] == segments[-1].id
    assert newest["summary"]["type"] == "compaction"
    assert newest["told"]["tokens_after"] < newest["told"]["tokens_before"]
    assert newest["covered_count"] == len(newest["covered"]) > 0
    followed = await gateway.http.post(f"/c1/conversations/{segments[0].id}/compact", follow_redirects=True)
    assert followed.json()["id"] == conversation


@covers("89", "77")
async def test_another_users_segment_is_404_and_without_a_key_401(gateway: Gateway) -> None:
    conversation = await talked(gateway, 1)
    [segment] = await lineage(gateway, conversation)
    path = f"/c1/conversations/{segment.id}"
    assert (await gateway.http.get(path)).status_code == 308
    assert (await gateway.http.get(path, headers={"x-user-id": "somebody else"})).status_code == 404
    assert (await gateway.http.get(path, headers={"authorization": ""})).status_code == 401
    other = f"/c1/conversations/{conversation}/compact"
    assert (await gateway.http.post(other, headers={"x-user-id": "somebody else"})).status_code == 404


@covers("86")
async def test_what_a_compaction_covers_is_told(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 4)
    told = (await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})).json()
    [root, segment] = await lineage(gateway, conversation)
    assert told["id"] == conversation
    assert (told["previous_segment"], told["segment"]) == (root.id, segment.id)
    assert (told["covers"], told["keeps"], told["covered"]) == ([1, 6], [1, 3, 5], 3)
    assert (told["kind"], told["trigger"], told["model"]) == ("summary", "manual", "small")
    assert told["tokens_after"] < told["tokens_before"]
    assert len(told["prompt_hash"]) == 64


@covers("86")
async def test_another_model_writes_the_summary_if_told_to(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 3)
    asked = {"keep_turns": 1, "model": "nobody"}
    told = (await gateway.http.post(f"/c1/conversations/{conversation}/compact", json=asked)).json()
    assert (told["kind"], told["error"]) == ("digest", "model_not_found")
    assert not any(map(is_summary_call, stub.calls))


@covers("86")
@pytest.mark.parametrize(
    ("body", "param"),
    [({"keep_turns": 0}, "keep_turns"), ({"mode": "fold"}, "mode"), ({"turns": 1}, "turns"), ({"at": 2}, "at")],
)
async def test_wishes_that_cannot_be_are_refused(gateway: Gateway, body: dict[str, Any], param: str) -> None:
    conversation = await talked(gateway, 1)
    for method, path in (("POST", "compact"), ("PUT", "compaction")):
        response = await gateway.http.request(method, f"/c1/conversations/{conversation}/{path}", json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@covers("86", "77")
@pytest.mark.parametrize("id_", ["conv_" + "0" * 32, "conv_x", "seg_" + "0" * 32, "x"])
async def test_an_id_that_is_nowhere_is_404(gateway: Gateway, id_: str) -> None:
    for path in (f"/c1/conversations/{id_}/compact", f"/a1/agents/helper/sessions/{id_}/compact"):
        assert (await gateway.http.post(path)).status_code == 404


@covers("86")
async def test_a_session_is_compacted_at_the_door_of_its_agent_alone(gateway: Gateway, stub: Stub) -> None:
    state = gateway.gate.deps.state
    assert state is not None
    head = await state.heads.create(OWNER, agent="helper", model="helper")
    for number in range(3):
        await say(gateway, f"Question {number}: {LONG}", head.id, "helper")
    other = await talked(gateway, 1)
    path = "/a1/agents/helper/sessions/{}/compact"
    told = (await gateway.http.post(path.format(head.id), json={"keep_turns": 1})).json()
    assert (told["changed"], told["kind"]) == (True, "summary")
    assert stub.calls[-1].json["messages"][0] == {"role": "system", "content": "You help."}
    assert (await gateway.http.post(path.format(other))).status_code == 404
    assert (await gateway.http.post("/a1/agents/nobody/sessions/" + head.id + "/compact")).status_code == 404


@covers("86", "90")
async def test_a_key_that_may_not_use_the_model_gets_a_digest_and_no_call(gateway: Gateway, stub: Stub) -> None:
    caller = await new_key(gateway)
    async with caller:
        conversation = ""
        for number in range(4):
            body = {"model": "small", "messages": [{"role": "user", "content": f"{number}: {LONG}"}]}
            answer = await caller.post("/v1/chat/completions", json=body, headers={"x-conversation-id": conversation})
            conversation = answer.headers["x-conversation-id"]
        calls = len(stub.calls)
    narrow = await new_key(gateway, models={"deny": ["small"]})
    async with narrow:
        told = (await narrow.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})).json()
    assert (told["kind"], told["error"]) == ("digest", "model_forbidden")
    assert len(stub.calls) == calls
    assert SUMMARY not in str(told)


@covers("87", "79")
async def test_a_turn_during_a_compaction_is_not_kept_waiting_and_both_hold(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 4)
    go_on, ordinary = asyncio.Event(), stub.otherwise
    slow = Answer(pieces=[b" ", chat(SUMMARY).body], framing="chunked", release=go_on)
    stub.otherwise = lambda request: slow if is_summary_call(request) else ordinary(request)
    path = f"/c1/conversations/{conversation}/compact"
    compacting = asyncio.create_task(gateway.http.post(path, json={"keep_turns": 1}))
    await stub.wait_for_calls(5)
    response = await gateway.http.post(
        "/v1/chat/completions",
        json={"model": "small", "messages": [{"role": "user", "content": "Meanwhile?"}]},
        headers={"x-conversation-id": conversation},
    )
    assert response.status_code == 200
    go_on.set()
    assert (await compacting).json()["kind"] == "summary"
    await say(gateway, "And?", conversation)
    told = [one["content"] for one in stub.calls[-1].json["messages"]]
    assert SUMMARY in told[0]
    assert told[-3] == "Meanwhile?"
    assert told[-1] == "And?"


@covers("86")
async def test_a_conversation_that_is_rewound_meanwhile_is_left_as_it_is(gateway: Gateway, stub: Stub) -> None:
    conversation = await talked(gateway, 4)
    go_on, ordinary = asyncio.Event(), stub.otherwise
    slow = Answer(pieces=[b" ", chat(SUMMARY).body], framing="chunked", release=go_on)
    stub.otherwise = lambda request: slow if is_summary_call(request) else ordinary(request)
    path = f"/c1/conversations/{conversation}/compact"
    compacting = asyncio.create_task(gateway.http.post(path, json={"keep_turns": 1}))
    await stub.wait_for_calls(5)
    state = gateway.gate.deps.state
    assert state is not None
    await state.heads.rewind(await state.heads.get(conversation, OWNER), 2)
    go_on.set()
    answer = await compacting
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conversation_moved")
    assert [one.cause for one in await lineage(gateway, conversation)] == ["root", "rewind"]
