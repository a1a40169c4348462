"""Conversations, their segments and items. The only writes are: append to a head that has not moved, open a segment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Integer,
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store.tables import actions, conversations, events, items, memories, segments, stored_runs
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
    title_of,
)
from headgate.core.state_errors import ConversationArchived, ConversationMoved, ConversationNotFound, ItemNotFound
from headgate.db.columns import Name
from headgate.db.engine import Database

_HEAD = [column for column in conversations.c if column.name not in ("holder", "held_until")]
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
            await _open(connection, Segment(segment, head.id, "", 0, "root", now))
            await connection.execute(_CREATE, _row_of(head))
            return head

        return await self._database.do(act)

    async def get(self, id_: str, owner: Owner) -> Conversation:
        """Raises ConversationArchived for the id of one of its segments: that one goes on under its own id."""
        if id_.startswith("seg_"):
            segment = await self.segment(id_, owner)
            message = f"The segment {id_} belongs to the conversation {segment.conversation}, which goes on."
            raise ConversationArchived(message, member=id_, successor=segment.conversation)

        async def act(connection: AsyncConnection) -> Conversation:
            return await _head(connection, id_, owner)

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
        return _segment(row)

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
        wanted = select(*_HEAD).where(*chosen).order_by(c.touched.desc(), c.id.desc()).limit(query.limit + 1)
        if query.offset:
            wanted = wanted.offset(query.offset)

        async def act(connection: AsyncConnection) -> list[Conversation]:
            return [_conversation(row) for row in await connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def append(
        self, head: Conversation, added: Sequence[New], tokens: int = 0
    ) -> tuple[Conversation, list[Item]]:
        """Items behind the last one. `tokens` are those of the conversation with them, 0 if nobody counted.

        Raises ConversationMoved where the head is not as it was read.
        """
        depth = head.depth + len(added)
        weight = (tokens, depth) if tokens else (head.tokens, head.counted)

        async def act(connection: AsyncConnection) -> tuple[Conversation, list[Item]]:
            moved = await _move(connection, head, head.segment, depth, title_of(added), weight)
            return moved, await _add_items(connection, head.segment, head.depth, added)

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
            moved = await _move(connection, head, head.segment, head.depth)
            await connection.execute(update(conversations).where(conversations.c.id == head.id).values(**values))
        return await self.get(moved.id, moved.owner)

    async def set_compaction(self, head: Conversation, wishes: Mapping[str, Any]) -> Conversation:
        """What is to hold of this conversation's compaction alone."""
        async with self._database.writing() as connection:
            moved = await _move(connection, head, head.segment, head.depth)
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
            await _open(connection, Segment(segment, head.id, parent, position, "rewind", milliseconds()))
            return await _move(connection, head, segment, position, "", _weight_at(head, position))

    async def fork(self, head: Conversation, position: int) -> Conversation:
        """A conversation of its own that has the items up to `position` in common with this one."""
        _refuse_beyond(head, position)
        now, segment = milliseconds(), new_id("seg")
        forked = replace(head, id=new_id("conv"), created=now, touched=now, segment=segment, depth=position, revision=0)
        tokens, counted = _weight_at(head, position)
        forked = replace(forked, tokens=tokens, counted=counted)
        async with self._database.writing() as connection:
            await _head(connection, head.id, head.owner)
            parent = await _segment_at(connection, head.segment, position)
            await _open(connection, Segment(segment, forked.id, parent, position, "fork", now))
            await connection.execute(insert(conversations).values(_row_of(forked)))
        return forked

    async def compact(self, head: Conversation, summary: Summary, tokens: int = 0) -> Conversation:
        """Open a segment whose first item stands for those that it covers. Nothing is changed or taken away.

        `tokens` are those of the conversation from then on.
        """
        id_ = new_id("seg")
        segment = Segment(id_, head.id, head.segment, head.depth, "compaction", milliseconds(), *summary[1:])
        async with self._database.writing() as connection:
            await _open(connection, segment)
            await _add_items(connection, id_, head.depth, [New(summary.item)])
            return await _move(connection, head, id_, head.depth + 1, "", (tokens, head.depth + 1 if tokens else 0))

    async def items(self, head: Conversation, after: int = 0, limit: int = _MOST_AT_ONCE) -> list[Item]:
        """The whole history, oldest first, whatever was covered."""

        async def act(connection: AsyncConnection) -> list[Item]:
            return await _read(connection, head, items.c.position > after, limit)

        return await self._database.do(act, read_only=True)

    async def latest(self, head: Conversation, before: int | None = None, limit: int = _MOST_AT_ONCE) -> list[Item]:
        """The same from its end, newest first; `before`: a position."""
        place = {"at": head.segment, "until": head.depth, "most": limit}
        place["before"] = before if before is not None else head.depth + 1

        async def act(connection: AsyncConnection) -> list[Item]:
            return [_item(row) for row in await connection.execute(_LATEST, place)]

        return await self._database.do(act, read_only=True)

    async def item(self, head: Conversation, id_: str) -> Item:
        """Raises ItemNotFound for one that is not on the conversation's path."""

        async def act(connection: AsyncConnection) -> list[Item]:
            return await _read(connection, head, items.c.id == id_, 1)

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
            return {row.id: _item(row) for row in await connection.execute(wanted.order_by(items.c.created))}

        return await self._database.do(act, read_only=True)

    async def told(self, head: Conversation) -> list[Item]:
        """What a model is told: the newest summary in the place of the items that it covers."""

        async def act(connection: AsyncConnection) -> tuple[Segment | None, list[Item]]:
            chain = await _chain(connection, head.segment)
            newest = next((one for one in chain if one.cause == "compaction"), None)
            if newest is None or newest.covers is None:
                found = await connection.execute(_ALL, {"at": head.segment, "until": head.depth})
                return None, [_item(row) for row in found]
            first, last = newest.covers
            open_ = or_(items.c.position < first, items.c.position > last, items.c.position.in_(newest.keeps))
            return newest, await _read(connection, head, open_, None)

        newest, read = await self._database.do(act, read_only=True)
        if newest is None or newest.covers is None:
            return read
        first, last = newest.covers
        place = newest.base + 1
        summary = [item for item in read if item.position == place]
        before = [item for item in read if item.position <= last and item.position < first]
        kept = [item for item in read if first <= item.position <= last]
        return [*before, *summary, *kept, *(item for item in read if item.position > last and item.position != place)]

    async def lineage(self, head: Conversation) -> list[Segment]:
        """The segments of its path, the root first."""
        async with self._database.reading() as connection:
            return (await _chain(connection, head.segment))[::-1]

    async def children(self, id_: str) -> list[Segment]:
        """The segments that go on from segments of a conversation: its own, and those of its forks."""
        own = select(segments.c.id).where(segments.c.conversation == id_)
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(segments).where(segments.c.parent.in_(own)).order_by(segments.c.created)
            )
            return [_segment(row) for row in found]

    async def delete(self, head: Conversation) -> None:
        """Take it away with its runs; items that a fork has in common with it stay with the fork."""
        async with self._database.writing() as connection:
            await _head(connection, head.id, head.owner)
            await _erase(connection, [head.id])

    async def erase(self, owner: Owner, *, all_users: bool = False) -> int:
        """Everything of a user, or of a tenant; how many conversations that were."""
        async with self._database.writing() as connection:
            return await erase_of(connection, owner, all_users=all_users)


async def erase_of(connection: AsyncConnection, owner: Owner, *, all_users: bool = False) -> int:
    """See Heads.erase."""
    c, r = conversations.c, stored_runs.c
    of_owner = [c.tenant == owner.tenant] if all_users else [c.tenant == owner.tenant, c.user == owner.user]
    ids = list((await connection.execute(select(c.id).where(*of_owner))).scalars())
    for start in range(0, len(ids), _MOST_AT_ONCE):
        await _erase(connection, ids[start : start + _MOST_AT_ONCE])
    theirs = [r.tenant == owner.tenant] if all_users else [r.tenant == owner.tenant, r.user == owner.user]
    await connection.execute(delete(events).where(events.c.run.in_(select(r.id).where(*theirs))))
    await connection.execute(delete(stored_runs).where(*theirs))
    for table in (actions, memories):
        t = table.c
        theirs = [t.tenant == owner.tenant] if all_users else [t.tenant == owner.tenant, t.user == owner.user]
        await connection.execute(delete(table).where(*theirs))
    return len(ids)


_c = conversations.c  # what is asked for with each turn is put together once, which takes as long as asking it
_CREATE, _OPEN, _ADD = insert(conversations), insert(segments), insert(items)
_GET = select(*_HEAD).where(_c.id == bindparam("id"), _c.tenant == bindparam("tenant"), _c.user == bindparam("user"))
_MOVE = update(conversations).where(
    _c.id == bindparam("id_"),
    _c.revision == bindparam("revision_"),
    _c.tenant == bindparam("tenant_"),
    _c.user == bindparam("user_"),
)


def _refuse_beyond(head: Conversation, position: int) -> None:
    if not 0 <= position <= head.depth:
        raise ItemNotFound(f"The conversation {head.id} has {head.depth} items.")


async def _head(connection: AsyncConnection, id_: str, owner: Owner) -> Conversation:
    whose = {"id": id_, "tenant": owner.tenant, "user": owner.user}
    row = (await connection.execute(_GET, whose)).one_or_none()
    if row is None:
        raise ConversationNotFound(f"There is no conversation '{id_}'.")
    return _conversation(row)


async def _move(
    connection: AsyncConnection,
    head: Conversation,
    segment: str,
    depth: int,
    title: str = "",
    weight: tuple[int, int] | None = None,
) -> Conversation:
    """Compare and set: the head, if it is still as it was read."""
    now = max(milliseconds(), head.touched)
    tokens, counted = weight or (head.tokens, head.counted)
    title = head.title or title
    values: dict[str, Any] = {"segment": segment, "depth": depth, "revision": head.revision + 1, "touched": now}
    values |= {"tokens": tokens, "counted": counted, "title": title}
    same = {"id_": head.id, "revision_": head.revision, "tenant_": head.owner.tenant, "user_": head.owner.user}
    if (await connection.execute(_MOVE, {**values, **same})).rowcount:
        return replace(head, **values)
    await _head(connection, head.id, head.owner)
    raise ConversationMoved(f"The conversation {head.id} has moved on.")


def _weight_at(head: Conversation, position: int) -> tuple[int, int]:
    """What was counted of a conversation still holds where it goes on behind it."""
    return (head.tokens, head.counted) if head.counted <= position else (0, 0)


async def _add_items(connection: AsyncConnection, segment: str, depth: int, added: Sequence[New]) -> list[Item]:
    now = milliseconds()
    made = [
        Item(str(new.data["id"]), segment, depth + number, new.run, now, new.data)
        for number, new in enumerate(added, start=1)
    ]
    if made:
        rows = [
            {
                "segment": one.segment,
                "position": one.position,
                "id": one.id,
                "run": one.run,
                "created": now,
                "data": one.data,
            }
            for one in made
        ]
        await connection.execute(_ADD, rows)
    return made


async def _open(connection: AsyncConnection, segment: Segment) -> None:
    first, last = segment.covers or (None, None)
    row = {
        "id": segment.id,
        "conversation": segment.conversation,
        "parent": segment.parent,
        "base": segment.base,
        "cause": segment.cause,
        "created": segment.created,
        "covers_first": first,
        "covers_last": last,
        "keeps": list(segment.keeps),
        "told": dict(segment.told),
    }
    await connection.execute(_OPEN, row)


def _path(segment: Any, depth: Any) -> CTE:
    """(id, upto): the segments of a path, each with the last position that is read in it."""
    s = segments.c
    start = select(s.id, s.parent, s.base, depth.label("upto")).where(s.id == segment)
    path = start.cte("path", recursive=True)
    left = case((path.c.base < path.c.upto, path.c.base), else_=path.c.upto)
    return path.union_all(select(s.id, s.parent, s.base, left).join(path, s.id == path.c.parent))


_HERE = _path(bindparam("at", type_=Name), literal(0, BigInteger))
_CHAIN = select(segments).join(_HERE, segments.c.id == _HERE.c.id)
_WHOLE = _path(bindparam("at", type_=Name), bindparam("until", type_=BigInteger))
_ON_PATH = select(items).join(_WHOLE, and_(items.c.segment == _WHOLE.c.id, items.c.position <= _WHOLE.c.upto))
_ALL = _ON_PATH.order_by(items.c.position)
_LATEST = (
    _ON_PATH.where(items.c.position < bindparam("before", type_=BigInteger))
    .order_by(items.c.position.desc())
    .limit(bindparam("most", type_=Integer))
)


async def _chain(connection: AsyncConnection, segment: str) -> list[Segment]:
    """From a segment up to the root."""
    found = await connection.execute(_CHAIN, {"at": segment})
    known = {row.id: _segment(row) for row in found}
    chain = []
    while segment:
        chain.append(known[segment])
        segment = known[segment].parent
    return chain


async def _segment_at(connection: AsyncConnection, segment: str, position: int) -> str:
    """The segment of a path in which an item lies; of position 0, the root."""
    chain = await _chain(connection, segment)
    return next((one.id for one in chain if one.base < position), chain[-1].id)


async def _read(connection: AsyncConnection, head: Conversation, among: Any, limit: int | None) -> list[Item]:
    path = _path(literal(head.segment), literal(head.depth, BigInteger))
    wanted = select(items).join(path, and_(items.c.segment == path.c.id, items.c.position <= path.c.upto)).where(among)
    rows = await connection.execute(wanted.order_by(items.c.position).limit(limit))
    return [_item(row) for row in rows]


async def _erase(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Segments that others go on from stay, with the items that they have in common, but belong to nobody."""
    s, child = segments.c, segments.alias("child")
    shared = select(s.id, func.max(child.c.base)).join(child, child.c.parent == s.id)
    shared = shared.where(s.conversation.in_(ids), child.c.conversation.not_in(ids)).group_by(s.id)
    kept: dict[str, int] = {row[0]: row[1] for row in await connection.execute(shared)}
    waiting = dict(kept)
    while waiting:  # what a shared segment goes on from is shared as well
        parents = select(s.id, s.parent, s.base).where(s.id.in_(waiting))
        above: dict[str, int] = {}
        for row in await connection.execute(parents):
            upto = min(row.base, waiting[row.id])
            if row.parent and upto > kept.get(row.parent, -1):
                above[row.parent] = kept[row.parent] = upto
        waiting = above
    own = select(s.id).where(s.conversation.in_(ids), s.id.not_in(kept))
    await connection.execute(delete(items).where(items.c.segment.in_(own)))
    for segment, upto in kept.items():
        await connection.execute(delete(items).where(items.c.segment == segment, items.c.position > upto))
    await connection.execute(delete(segments).where(s.conversation.in_(ids), s.id.not_in(kept)))
    await connection.execute(update(segments).where(s.conversation.in_(ids)).values(conversation="", told={}))
    theirs = select(stored_runs.c.id).where(stored_runs.c.conversation.in_(ids))
    await connection.execute(delete(events).where(events.c.run.in_(theirs)))
    await connection.execute(delete(stored_runs).where(stored_runs.c.conversation.in_(ids)))
    await connection.execute(delete(actions).where(actions.c.conversation.in_(ids)))
    await connection.execute(delete(conversations).where(conversations.c.id.in_(ids)))
    await _sweep(connection)


async def _sweep(connection: AsyncConnection) -> None:
    """Take away what stayed for the sake of a fork that is gone by now."""
    s, child = segments.c, segments.alias("child")
    left = select(s.id).where(s.conversation == "", ~select(child.c.id).where(child.c.parent == s.id).exists())
    while gone := list((await connection.execute(left.limit(_MOST_AT_ONCE))).scalars()):
        await connection.execute(delete(items).where(items.c.segment.in_(gone)))
        await connection.execute(delete(segments).where(s.id.in_(gone)))


def _row_of(head: Conversation) -> dict[str, Any]:
    return {
        "id": head.id,
        "tenant": head.owner.tenant,
        "user": head.owner.user,
        "agent": head.agent,
        "model": head.model,
        "title": head.title,
        "created": head.created,
        "touched": head.touched,
        "segment": head.segment,
        "depth": head.depth,
        "revision": head.revision,
        "metadata": dict(head.metadata),
        "holder": "",
        "held_until": 0,
        "tokens": head.tokens,
        "counted": head.counted,
        "compaction": dict(head.compaction),
    }


def _conversation(row: "Row[Any]") -> Conversation:
    id_, tenant, user, *more = tuple(row)
    return Conversation(id_, Owner(tenant, user), *more)


def _item(row: "Row[Any]") -> Item:
    segment, position, id_, run, created, data = tuple(row)
    return Item(id_, segment, position, run, created, data)


def _segment(row: "Row[Any]") -> Segment:
    covers = (row.covers_first, row.covers_last) if row.covers_last is not None else None
    return Segment(
        row.id, row.conversation, row.parent, row.base, row.cause, row.created, covers, tuple(row.keeps), row.told
    )
