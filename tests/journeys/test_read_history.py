"""What compactions cover stays within a model's reach, by the tool `read_history`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from headgate.conversations.store import state_of
from headgate.conversations.types import New, Owner, new_id
from headgate.core.principal import ANYONE
from headgate.db.engine import open_database
from headgate.db.migrate import migrate
from headgate.pipeline.history import ReadHistory
from headgate.tools.types import Caller
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Recorded, Stub
from tests.journeys.test_agents import calling
from tests.journeys.test_compaction import answering, is_summary_call, say, settings, talked
from tests.requirements import covers

pytestmark = covers("86")
OWNER = Owner("acme", "ann")


def offered(request: Recorded) -> list[str]:
    return [one["function"]["name"] for one in request.json.get("tools", ())]


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = answering()
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def compacted(gateway: Gateway, model: str) -> str:
    conversation = await talked(gateway, 4, model)
    told = await gateway.http.post(f"/c1/conversations/{conversation}/compact", json={"keep_turns": 1})
    assert told.json()["changed"]
    return conversation


async def test_an_agent_reads_what_was_covered(gateway: Gateway, stub: Stub) -> None:
    conversation = await compacted(gateway, "helper")
    assert offered(stub.calls[-1]) == ["calculator"]
    stub.answer(calling(("read_history", {"search": "answer 2:"})))
    response = await say(gateway, "What did you say at first?", conversation, "helper")
    assert response.status_code == 200
    assert offered(stub.calls[-1]) == ["calculator", "read_history"]
    result = stub.calls[-1].json["messages"][-1]
    assert result["role"] == "tool"
    assert result["content"].startswith("[2] assistant: Answer 2:")
    assert "Answer 2:" not in str(stub.calls[-1].json["messages"][:-1])


async def test_a_plain_model_has_the_tool_only_where_it_is_set(gateway: Gateway, stub: Stub) -> None:
    conversation = await compacted(gateway, "small")
    response = await say(gateway, "And?", conversation)
    assert offered(stub.calls[-1]) == []
    assert "x-headgate-tools-added" not in response.headers
    await gateway.http.put(f"/c1/conversations/{conversation}/compaction", json={"read_history": True})
    stub.answer(calling(("read_history", {"first": 2, "last": 2})))
    response = await say(gateway, "And?", conversation)
    assert response.headers["x-headgate-tools-added"] == "read_history"
    assert stub.calls[-1].json["messages"][-1]["content"].startswith("[2] assistant: Answer 1:")
    other = await talked(gateway, 1)
    assert other != conversation
    assert offered(stub.calls[-1]) == []


async def test_an_agent_can_be_kept_from_it(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = answering()
    set_ = settings(stub)
    set_["agents"][0]["compaction"] = {"read_history": False}
    async with running_gateway(set_, tmp_path) as gateway:
        conversation = await compacted(gateway, "helper")
        await say(gateway, "And?", conversation, "helper")
        assert offered(stub.calls[-1]) == ["calculator"]


async def test_a_delegate_cannot_read_the_conversation_of_who_asks_it(stub: Stub, tmp_path: Path) -> None:
    ordinary = answering()

    def answer(request: Recorded) -> Answer:
        names = offered(request)
        if "ask_other" in names and not is_summary_call(request) and request.json["messages"][-1]["role"] == "user":
            return calling(("ask_other", {"request": "Do it."}))
        told: Answer = ordinary(request)
        return told

    stub.otherwise = ordinary
    set_ = settings(stub)
    set_["agents"][0]["delegates"] = ["other"]
    set_["agents"].append({"name": "other", "model": "small", "system_prompt": "You are another.", "tools": []})
    async with running_gateway(set_, tmp_path) as gateway:
        conversation = await compacted(gateway, "helper")
        stub.otherwise = answer
        await say(gateway, "And?", conversation, "helper")
        [of_other] = [one for one in stub.calls if "You are another." in str(one.json["messages"][0])]
        assert offered(of_other) == []
        assert "read_history" in offered(stub.calls[-1])


def said(text: str) -> New:
    return New({"id": new_id("msg"), "type": "message", "role": "user", "content": text})


@on_each_database
async def test_it_reads_by_range_and_by_words_page_by_page(tmp_path: Path) -> None:
    database = open_database(url_of(tmp_path))
    try:
        await migrate(database)
        heads = state_of(database).heads
        head = await heads.create(OWNER)
        said = [
            New(
                {"id": new_id("msg"), "type": "message", "role": "user", "content": f"Fact {n} {'even' * (n % 2 == 0)}"}
            )
            for n in range(1, 101)
        ]
        head, _ = await heads.append(head, said)
        tool, caller = ReadHistory(heads, head), Caller(ANYONE)

        async def read(**arguments: Any) -> list[str]:
            return (await tool.call(arguments, caller)).text.split("\n")

        assert await read(first=7, last=8) == ["[7] user: Fact 7", "[8] user: Fact 8 even"]
        first = await read(search="EVEN fact", limit=10)
        assert [line.split()[3] for line in first[:-1]] == [str(n) for n in range(2, 21, 2)]
        assert first[-1] == "[More: go on with first=22]"
        assert (await read(search="even", first=22, limit=1))[0] == "[22] user: Fact 22 even"
        assert await read(search="nowhere") == ["There are no such items."]
        assert len(await read()) == 21
        assert await read(first=200) == ["There are no such items."]
    finally:
        await database.close()


@on_each_database
async def test_a_page_is_bounded_and_a_long_item_is_whole_only_by_itself(tmp_path: Path) -> None:
    database = open_database(url_of(tmp_path))
    try:
        await migrate(database)
        heads = state_of(database).heads
        head = await heads.create(OWNER)
        long = "x" * 5000
        head, _ = await heads.append(head, [said(long) for _ in range(30)])
        tool = ReadHistory(heads, head)
        page = (await tool.call({"limit": 50}, Caller(ANYONE))).text
        assert len(page) < 13_000
        assert "[More: go on with first=" in page
        assert long not in page
        assert long in (await tool.call({"first": 3, "last": 3}, Caller(ANYONE))).text
    finally:
        await database.close()
