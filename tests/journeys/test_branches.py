"""What was said, page by page; forks and rewinds, by which nothing changes for anybody else."""

from typing import Any

from tests.harness.gateway import Gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_c1 import gateway, items, say, talk, texts, told
from tests.requirements import covers

__all__ = ["gateway"]


@covers("75")
async def test_items_are_paged_in_both_directions(gateway: Gateway, stub: Stub) -> None:
    conversation = await talk(gateway, stub, "a", "b", "c")
    every = await items(gateway, conversation)
    ids = [one["id"] for one in every["data"]]
    assert [one["position"] for one in every["data"]] == [1, 2, 3, 4, 5, 6]
    assert texts(every) == ["a", "Answer to a", "b", "Answer to b", "c", "Answer to c"]

    async def seen(**asked: Any) -> tuple[list[str], bool]:
        page = await items(gateway, conversation, **asked)
        return [one["id"] for one in page["data"]], page["has_more"]

    assert await seen(limit=2) == (ids[:2], True)
    assert await seen(limit=2, after=ids[1]) == (ids[2:4], True)
    assert await seen(limit=2, after=ids[3]) == (ids[4:], False)
    assert await seen(limit=2, before=ids[3]) == (ids[1:3], True)
    assert await seen(limit=2, order="desc") == (ids[:3:-1], True)
    assert await seen(limit=2, order="desc", after=ids[4]) == ([ids[3], ids[2]], True)
    assert await seen(limit=9, order="desc", before=ids[3]) == ([ids[5], ids[4]], False)
    foreign = await talk(gateway, stub, "other")
    alien = (await items(gateway, foreign))["data"][0]["id"]
    answer = await gateway.http.get(f"/c1/conversations/{conversation}/items", params={"after": alien})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "item_not_found")


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
