"""Conversations, their segments and items. The only writes are: append to a head that has not moved, open a segment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BigInteger, and_, func, literal, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store.erasing import erase, erase_of
from headgate.conversations.store.rows import (
    HEAD,
    To,
    add_items,
    all_items,
    append,
    chain_of,
    conversation_of,
    create,
    head_of,
    item_of,
    latest_items,
    move,
    open_segment,
    own_items,
    path_of,
    segment_of,
)
from headgate.conversations.store.tables import conversations, items, segments
from headgate.conversations.types import (
    Conversation,
    Item,
    New,
    Owner,
    Query,
    Segment,
    Summary,
    milliseconds,
    new_id,
)
from headgate.core.state_errors import ConversationArchived, ConversationNotFound, ItemNotFound
from headgate.db.engine import Database

_MOST_AT_ONCE = 500


class Heads:
    """Raises ConversationNotFound for what is not there or is another owner's, and DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, owner: Owner, *, agent: str = "", model: str = "", metadata: Mapping[str, Any] | None = None
    ) -> Conversation:
        """An empty one."""
        now, segment = milliseconds(), new_id("seg")
        head = Conversation(new_id("conv"), owner, agent, model, "", now, now, segment, 0, 0, dict(metadata or {}))

        async def act(connection: AsyncConnection) -> Conversation:
            await open_segment(connection, Segment(segment, head.id, "", 0, "root", now))
            await create(connection, head)
            return head

        return await self._database.do(act)

    async def get(self, id_: str, owner: Owner) -> Conversation:
        """Raises ConversationArchived for the id of one of its segments: that one goes on under its own id."""
        if id_.startswith("seg_"):
            segment = await self.segment(id_, owner)
            message = f"The segment {id_} belongs to the conversation {segment.conversation}, which goes on."
            raise ConversationArchived(message, member=id_, successor=segment.conversation)

        async def act(connection: AsyncConnection) -> Conversation:
            return await head_of(connection, id_, owner)

        return await self._database.do(act, read_only=True)

    async def segment(self, id_: str, owner: Owner) -> Segment:
        """One of a conversation that is there."""
        c = conversations.c
        wanted = select(segments).join(conversations, segments.c.conversation == c.id)
        wanted = wanted.where(segments.c.id == id_, c.tenant == owner.tenant, c.user == owner.user)
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            raise ConversationNotFound(f"There is no conversation '{id_}'.")
        return segment_of(row)

    async def page(self, owner: Owner, query: Query) -> list[Conversation]:
        """One more than `limit`, where there are more."""
        c = conversations.c
        chosen = [c.tenant == owner.tenant, c.user == owner.user]
        if query.after is not None:
            chosen.append(tuple_(c.touched, c.id) < query.after)
        if query.agent is not None:
            chosen.append(c.agent == query.agent)
        if query.text:
            chosen.append(func.lower(c.title).contains(query.text.lower(), autoescape=True))
        wanted = select(*HEAD).where(*chosen).order_by(c.touched.desc(), c.id.desc()).limit(query.limit + 1)
        if query.offset:
            wanted = wanted.offset(query.offset)

        async def act(connection: AsyncConnection) -> list[Conversation]:
            return [conversation_of(row) for row in await connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def append(
        self, head: Conversation, added: Sequence[New], tokens: int = 0
    ) -> tuple[Conversation, list[Item]]:
        """Items behind the last one. `tokens` are those of the conversation with them, 0 if nobody counted.

        Raises ConversationMoved where the head is not as it was read.
        """

        async def act(connection: AsyncConnection) -> tuple[Conversation, list[Item]]:
            return await append(connection, head, added, tokens)

        return await self._database.do(act)

    async def update(
        self, head: Conversation, metadata: Mapping[str, Any] | None = None, *, title: str | None = None
    ) -> Conversation:
        """Other metadata, or another title; None for what stays."""
        values: dict[str, Any] = {} if metadata is None else {"metadata": dict(metadata)}
        if title is not None:
            values["title"] = title
        if not values:
            return head
        async with self._database.writing() as connection:
            moved = await move(connection, head, To(head.segment, head.depth))
            await connection.execute(update(conversations).where(conversations.c.id == head.id).values(**values))
        return await self.get(moved.id, moved.owner)

    async def set_compaction(self, head: Conversation, wishes: Mapping[str, Any]) -> Conversation:
        """What is to hold of this conversation's compaction alone."""
        async with self._database.writing() as connection:
            moved = await move(connection, head, To(head.segment, head.depth))
            await connection.execute(
                update(conversations).where(conversations.c.id == head.id).values(compaction=dict(wishes))
            )
        return replace(moved, compaction=dict(wishes))

    async def rewind(self, head: Conversation, position: int) -> Conversation:
        """Go on after an earlier item; what came after it stays in its segment, and can be read there."""
        _refuse_beyond(head, position)
        segment = new_id("seg")
        async with self._database.writing() as connection:
            parent = await _segment_at(connection, head.segment, position)
            await open_segment(connection, Segment(segment, head.id, parent, position, "rewind", milliseconds()))
            return await move(connection, head, To(segment, position, _weight_at(head, position)))

    async def remove(self, head: Conversation, item: Item) -> Conversation:
        """Go on as if an item had never been there: what came after it comes again, under the same ids, behind what was
        before it. Summaries that stand for it go with it. It stays where it was, and others that branched off keep it.
        """
        base, segment = item.position - 1, new_id("seg")
        async with self._database.writing() as connection:
            chain = await chain_of(connection, head.segment)
            summaries = {one.base + 1 for one in chain if one.cause == "compaction"}
            whole = await all_items(connection, head)
            rest = [one for one in whole[item.position :] if one.position not in summaries]
            parent = await _segment_at(connection, head.segment, base)
            await open_segment(connection, Segment(segment, head.id, parent, base, "removal", milliseconds()))
            await add_items(connection, segment, base, [New(one.data, one.run, one.created) for one in rest])
            return await move(connection, head, To(segment, base + len(rest), _weight_at(head, base)))

    async def fork(self, head: Conversation, position: int) -> Conversation:
        """A conversation of its own that has the items up to `position` in common with this one."""
        _refuse_beyond(head, position)
        now, segment = milliseconds(), new_id("seg")
        forked = replace(head, id=new_id("conv"), created=now, touched=now, segment=segment, depth=position, revision=0)
        tokens, counted = _weight_at(head, position)
        forked = replace(forked, tokens=tokens, counted=counted)
        async with self._database.writing() as connection:
            await head_of(connection, head.id, head.owner)
            parent = await _segment_at(connection, head.segment, position)
            await open_segment(connection, Segment(segment, forked.id, parent, position, "fork", now))
            await create(connection, forked)
        return forked

    async def compact(self, head: Conversation, summary: Summary, tokens: int = 0) -> Conversation:
        """Open a segment whose first item stands for those that it covers. Nothing is changed or taken away.

        `tokens` are those of the conversation from then on.
        """
        id_ = new_id("seg")
        segment = Segment(id_, head.id, head.segment, head.depth, "compaction", milliseconds(), *summary[1:])
        async with self._database.writing() as connection:
            await open_segment(connection, segment)
            await add_items(connection, id_, head.depth, [New(summary.item)])
            return await move(connection, head, To(id_, head.depth + 1, (tokens, head.depth + 1 if tokens else 0)))

    async def items(self, head: Conversation, after: int = 0, limit: int = _MOST_AT_ONCE) -> list[Item]:
        """The whole history, oldest first, whatever was covered."""

        async def act(connection: AsyncConnection) -> list[Item]:
            return await _read(connection, head, items.c.position > after, limit)

        return await self._database.do(act, read_only=True)

    async def latest(self, head: Conversation, before: int | None = None, limit: int = _MOST_AT_ONCE) -> list[Item]:
        """The same from its end, newest first; `before`: a position."""
        start = before if before is not None else head.depth + 1

        async def act(connection: AsyncConnection) -> list[Item]:
            return await latest_items(connection, head, start, limit)

        return await self._database.do(act, read_only=True)

    async def item(self, head: Conversation, id_: str) -> Item:
        """Raises ItemNotFound for one that is not on the conversation's path."""

        async def act(connection: AsyncConnection) -> list[Item]:
            path = path_of(literal(head.segment), literal(head.depth, BigInteger))
            there = and_(items.c.segment + "" == path.c.id, items.c.position <= path.c.upto)  # found by its id alone
            found = await connection.execute(select(items).join(path, there).where(items.c.id == id_).limit(1))
            return [item_of(row) for row in found]

        found = await self._database.do(act, read_only=True)
        if not found:
            raise ItemNotFound(f"The conversation {head.id} has no item '{id_}'.")
        return found[0]

    async def find(self, owner: Owner, ids: Sequence[str]) -> dict[str, Item]:
        """Items of an owner's conversations by their ids, wherever they stand; what is not there is left out."""
        if not ids:
            return {}
        c = conversations.c
        wanted = select(items).join(segments, segments.c.id == items.c.segment)
        wanted = wanted.join(conversations, c.id == segments.c.conversation)
        wanted = wanted.where(items.c.id.in_(ids), c.tenant == owner.tenant, c.user == owner.user)

        async def act(connection: AsyncConnection) -> dict[str, Item]:
            found = [item_of(row) for row in await connection.execute(wanted.order_by(items.c.created))]
            return {one.id: one for one in found}

        return await self._database.do(act, read_only=True)

    async def told(self, head: Conversation) -> list[Item]:
        """What a model is told: the newest summary in the place of the items that it covers."""

        async def act(connection: AsyncConnection) -> list[Item]:
            return await told_of(connection, head)

        return await self._database.do(act, read_only=True)

    async def lineage(self, head: Conversation) -> list[Segment]:
        """The segments of its path, the root first."""
        async with self._database.reading() as connection:
            return (await chain_of(connection, head.segment))[::-1]

    async def children(self, id_: str) -> list[Segment]:
        """The segments that go on from segments of a conversation: its own, and those of its forks."""
        own = select(segments.c.id).where(segments.c.conversation == id_)
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(segments).where(segments.c.parent.in_(own)).order_by(segments.c.created)
            )
            return [segment_of(row) for row in found]

    async def delete(self, head: Conversation) -> None:
        """Take it away with its runs; items that a fork has in common with it stay with the fork."""
        async with self._database.writing() as connection:
            await head_of(connection, head.id, head.owner)
            await erase(connection, [head.id])

    async def erase(self, owner: Owner, *, all_users: bool = False) -> int:
        """Everything of a user, or of a tenant; how many conversations that were."""
        async with self._database.writing() as connection:
            return await erase_of(connection, owner, all_users=all_users)


async def told_of(connection: AsyncConnection, head: Conversation) -> list[Item]:
    """See Heads.told."""
    if (own := await own_items(connection, head)) is not None:
        return own
    newest = next((one for one in await chain_of(connection, head.segment) if one.cause == "compaction"), None)
    if newest is None or newest.covers is None:
        return await all_items(connection, head)
    first, last = newest.covers
    open_ = or_(items.c.position < first, items.c.position > last, items.c.position.in_(newest.keeps))
    read = await _read(connection, head, open_, None)
    place = newest.base + 1
    summary = [item for item in read if item.position == place]
    before = [item for item in read if item.position <= last and item.position < first]
    kept = [item for item in read if first <= item.position <= last]
    return [*before, *summary, *kept, *(item for item in read if item.position > last and item.position != place)]


def _refuse_beyond(head: Conversation, position: int) -> None:
    if not 0 <= position <= head.depth:
        raise ItemNotFound(f"The conversation {head.id} has {head.depth} items.")


def _weight_at(head: Conversation, position: int) -> tuple[int, int]:
    """What was counted of a conversation still holds where it goes on behind it."""
    return (head.tokens, head.counted) if head.counted <= position else (0, 0)


async def _segment_at(connection: AsyncConnection, segment: str, position: int) -> str:
    """The segment of a path in which an item lies; of position 0, the root."""
    chain = await chain_of(connection, segment)
    return next((one.id for one in chain if one.base < position), chain[-1].id)


async def _read(connection: AsyncConnection, head: Conversation, among: Any, limit: int | None) -> list[Item]:
    path = path_of(literal(head.segment), literal(head.depth, BigInteger))
    wanted = select(items).join(path, and_(items.c.segment == path.c.id, items.c.position <= path.c.upto)).where(among)
    rows = await connection.execute(wanted.order_by(items.c.position).limit(limit))
    return [item_of(row) for row in rows]
