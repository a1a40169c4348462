"""What is taken away of conversations, and what stays of others that branched off."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.conversations.store import Heads, state_of
from headgate.conversations.types import New, Owner, Summary, new_id
from headgate.core.state_errors import ConversationMoved, ItemNotFound
from headgate.db.engine import open_database
from headgate.db.migrate import migrate
from tests.harness.databases import on_each_database, url_of
from tests.requirements import covers

pytestmark = [covers("75", "160"), on_each_database]
OWNER = Owner("acme", "ann")


@pytest_asyncio.fixture
async def heads(tmp_path: Path, each_database: None) -> AsyncIterator[Heads]:
    database = open_database(url_of(tmp_path))
    try:
        await migrate(database)
        yield state_of(database).heads
    finally:
        await database.close()


def said(text: str) -> New:
    return New({"id": new_id("msg"), "type": "message", "role": "user", "content": text})


async def test_deleting_a_fork_takes_nothing_from_where_it_branched_off(heads: Heads) -> None:
    whole, _ = await heads.append(await heads.create(OWNER), [said("one"), said("two")])
    middle, _ = await heads.append(await heads.fork(whole, 1), [said("other")])
    last = await heads.fork(middle, 2)
    await heads.delete(middle)
    assert [each.data["content"] for each in await heads.items(whole)] == ["one", "two"]
    assert [each.data["content"] for each in await heads.items(last)] == ["one", "other"]


async def test_an_item_is_taken_out_with_the_summaries_that_stand_for_it_and_stays_in_a_fork(heads: Heads) -> None:
    head, items = await heads.append(await heads.create(OWNER), [said(text) for text in ("one", "two", "three")])
    fork = await heads.fork(head, 3)
    head = await heads.compact(head, Summary(said("summed up").data, (1, 2), (), {}))
    head, _ = await heads.append(head, [said("four")])
    left = await heads.remove(head, items[1])
    kept = await heads.items(left)
    assert [each.data["content"] for each in kept] == ["one", "three", "four"]
    assert [each.id for each in kept[:2]] == [items[0].id, items[2].id]
    assert [each.created for each in kept[:2]] == [items[0].created, items[2].created]
    assert [each.data["content"] for each in await heads.told(left)] == ["one", "three", "four"]
    assert len(await heads.items(fork)) == 3
    with pytest.raises(ItemNotFound):
        await heads.item(left, items[1].id)
    with pytest.raises(ConversationMoved):
        await heads.remove(head, items[0])
