"""Forks and rewinds of conversations: whoever goes on from an earlier item changes nothing for anybody else."""

from tests.harness.gateway import Gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_c1 import gateway, items, say, talk, texts, told
from tests.requirements import covers

__all__ = ["gateway"]


@covers("160")
async def test_a_fork_and_its_origin_go_their_own_ways(gateway: Gateway, stub: Stub) -> None:
    conversation = await talk(gateway, stub, "a", "b")
    second = (await items(gateway, conversation))["data"][1]["id"]
    one = f"/c1/conversations/{conversation}"
    answer = await gateway.http.post(f"{one}/fork", json={"item": second})
    forked = answer.json()["id"]
    assert (answer.status_code, answer.json()["message_count"], forked != conversation) == (201, 2, True)
    for which, text in ((forked, "left"), (conversation, "right")):
        stub.answer(chat(f"Went {text}"))
        await say(gateway.http, text, which)
    assert texts(await items(gateway, forked)) == ["a", "Answer to a", "left", "Went left"]
    assert texts(await items(gateway, conversation))[2:] == ["b", "Answer to b", "right", "Went right"]
    up = (await gateway.http.get(f"/c1/conversations/{forked}/lineage")).json()
    assert up["forked_from"] == {"conversation_id": conversation, "position": 2}
    down = (await gateway.http.get(f"{one}/lineage")).json()
    assert (down["forked_from"], down["forks"]) == (None, [{"conversation_id": forked, "position": 2}])
    await gateway.http.delete(one)
    assert texts(await items(gateway, forked))[:2] == ["a", "Answer to a"]


@covers("160")
async def test_a_conversation_is_wound_back_and_goes_on_from_there(gateway: Gateway, stub: Stub) -> None:
    conversation = await talk(gateway, stub, "a", "b")
    one = f"/c1/conversations/{conversation}"
    second = (await items(gateway, conversation))["data"][1]["id"]
    assert (await gateway.http.post(f"{one}/rewind", json={"item": second})).json()["message_count"] == 2
    stub.answer(chat("Then."))
    await say(gateway.http, "c", conversation)
    assert told(stub) == ["a", "Answer to a", "c"]
    causes = [one["cause"] for one in (await gateway.http.get(f"{one}/lineage")).json()["segments"]]
    assert causes == ["root", "rewind"]
    assert (await gateway.http.post(f"{one}/rewind", json={"item": None})).json()["message_count"] == 0
    for body, status, param in ({}, 400, "item"), ({"item": 7}, 400, "item"), ({"item": "msg_0"}, 404, "item"):
        answer = await gateway.http.post(f"{one}/rewind", json=body)
        assert (answer.status_code, answer.json()["error"]["param"] or "item") == (status, param)
