"""What the store knows of compactions: the tokens of a conversation, its own wishes, and the ids of its segments."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.conversations.compaction import plan_of, summary_item
from headgate.conversations.policy import Policy
from headgate.conversations.store import Heads, state_of
from headgate.conversations.types import Conversation, New, Owner, Summary, new_id
from headgate.core.state_errors import ConversationArchived, ConversationMoved, ConversationNotFound
from headgate.db.engine import open_database
from headgate.db.migrate import migrate
from tests.harness.databases import on_each_database, url_of
from tests.requirements import covers

pytestmark = [covers("86", "89"), on_each_database]
OWNER, STRANGER = Owner("acme", "ann"), Owner("acme", "bob")


@pytest_asyncio.fixture
async def heads(tmp_path: Path, each_database: None) -> AsyncIterator[Heads]:
    database = open_database(url_of(tmp_path))
    try:
        await migrate(database)
        yield state_of(database).heads
    finally:
        await database.close()


def said(text: str, role: str = "user") -> New:
    return New({"id": new_id("msg"), "type": "message", "role": role, "content": text})


async def talked(heads: Heads, turns: int = 4) -> Conversation:
    head = await heads.create(OWNER)
    for number in range(turns):
        turn = [said(f"Q{number}"), said(f"A{number}", "assistant")]
        head, _ = await heads.append(head, turn, 100 * (number + 1))
    return head


async def compacted(heads: Heads, head: Conversation, turns: int = 1) -> Conversation:
    plan = plan_of(await heads.told(head), Policy(keep_turns=turns, user_text_tokens=0), strict=True)
    assert plan is not None
    return await heads.compact(head, Summary(summary_item("S"), plan.covers, plan.keeps, {}), 50)


async def texts(heads: Heads, head: Conversation) -> list[str]:
    return [str(one.data.get("content") or one.data.get("encrypted_content")) for one in await heads.told(head)]


async def test_tokens_stand_with_the_position_up_to_which_they_were_counted(heads: Heads) -> None:
    head = await talked(heads)
    assert (head.tokens, head.counted) == (400, 8)
    head, _ = await heads.append(head, [said("More")])
    again = await heads.get(head.id, OWNER)
    assert (again.tokens, again.counted, again.depth) == (400, 8, 9)
    head = await compacted(heads, again)
    assert (head.tokens, head.counted) == (50, 10)
    assert await heads.get(head.id, OWNER) == head


async def test_before_what_was_counted_nobody_has_counted(heads: Heads) -> None:
    head = await talked(heads)
    kept, lost = await heads.fork(head, 8), await heads.fork(head, 3)
    assert [(one.tokens, one.counted) for one in (kept, lost)] == [(400, 8), (0, 0)]
    assert await heads.get(lost.id, OWNER) == lost
    rewound = await heads.rewind(head, 2)
    assert (rewound.tokens, rewound.counted) == (0, 0)


async def test_each_compaction_tells_what_the_one_before_told_and_the_tail_in_order(heads: Heads) -> None:
    head = await compacted(heads, await talked(heads), 2)
    assert await texts(heads, head) == ["summary:S", "Q2", "A2", "Q3", "A3"]
    head, _ = await heads.append(head, [said("Q4"), said("A4", "assistant")])
    head = await compacted(heads, head, 2)
    assert await texts(heads, head) == ["summary:S", "Q3", "A3", "Q4", "A4"]
    head, _ = await heads.append(head, [said("Q5"), said("A5", "assistant")])
    assert await texts(heads, head) == ["summary:S", "Q3", "A3", "Q4", "A4", "Q5", "A5"]
    lineage = await heads.lineage(head)
    assert [one.cause for one in lineage] == ["root", "compaction", "compaction"]
    assert [one.parent for one in await heads.children(head.id)] == [lineage[0].id, lineage[1].id]


async def test_a_segments_id_leads_its_owner_to_the_conversation_and_nobody_else(heads: Heads) -> None:
    head = await compacted(heads, await talked(heads))
    for segment in await heads.lineage(head):
        assert await heads.segment(segment.id, OWNER) == segment
        with pytest.raises(ConversationArchived) as archived:
            await heads.get(segment.id, OWNER)
        assert (archived.value.member, archived.value.successor) == (segment.id, head.id)
        for looking in (heads.get, heads.segment):
            with pytest.raises(ConversationNotFound):
                await looking(segment.id, STRANGER)


async def test_wishes_are_kept_go_along_with_a_fork_and_are_compared_and_set(heads: Heads) -> None:
    head = await talked(heads, 1)
    wished = await heads.set_compaction(head, {"mode": "trim"})
    assert await heads.get(head.id, OWNER) == wished
    assert wished.compaction == {"mode": "trim"}
    assert (await heads.fork(wished, 1)).compaction == {"mode": "trim"}
    with pytest.raises(ConversationMoved):
        await heads.set_compaction(head, {})
