"""Conversations, their segments and items. The only writes are: append to a head that has not moved, open a segment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import CTE, BigInteger, Connection, Row, and_, case, delete, func, insert, literal, or_, select, update
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
from headgate.core.state_errors import ConversationMoved, ConversationNotFound, ItemNotFound
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

        def act(connection: Connection) -> Conversation:
            _open(connection, Segment(segment, head.id, "", 0, "root", now))
            connection.execute(insert(conversations).values(_row_of(head)))
            return head

        return await self._database.do(act)

    async def get(self, id_: str, owner: Owner) -> Conversation:

        def act(connection: Connection) -> Conversation:
            return _head(connection, id_, owner)

        return await self._database.do(act, read_only=True)

    async def page(self, owner: Owner, query: Query) -> list[Conversation]:
        """One more than `limit`, where there are more."""
        c = conversations.c
        chosen = [c.tenant == owner.tenant, c.user == owner.user]
        if query.after is not None:
            touched, id_ = query.after
            chosen.append(or_(c.touched < touched, and_(c.touched == touched, c.id < id_)))
        if query.agent is not None:
            chosen.append(c.agent == query.agent)
        if query.text:
            chosen.append(func.lower(c.title).contains(query.text.lower(), autoescape=True))
        wanted = select(*_HEAD).where(*chosen).order_by(c.touched.desc(), c.id.desc()).limit(query.limit + 1)

        def act(connection: Connection) -> list[Conversation]:
            return [_conversation(row) for row in connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def append(self, head: Conversation, added: Sequence[New]) -> tuple[Conversation, list[Item]]:
        """Items behind the last one. Raises ConversationMoved where the head is not as it was read."""

        def act(connection: Connection) -> tuple[Conversation, list[Item]]:
            moved = _move(connection, head, head.segment, head.depth + len(added), title_of(added))
            return moved, _add_items(connection, head.segment, head.depth, added)

        return await self._database.do(act)

    async def update(self, head: Conversation, metadata: Mapping[str, Any]) -> Conversation:
        """Other metadata."""

        def act(connection: Connection) -> Conversation:
            moved = _move(connection, head, head.segment, head.depth)
            connection.execute(
                update(conversations).where(conversations.c.id == head.id).values(metadata=dict(metadata))
            )
            return _head(connection, moved.id, moved.owner)

        return await self._database.do(act)

    async def rewind(self, head: Conversation, position: int) -> Conversation:
        """Go on after an earlier item; what came after it stays in its segment, and can be read there."""
        _refuse_beyond(head, position)
        segment = new_id("seg")

        def act(connection: Connection) -> Conversation:
            parent = _segment_at(connection, head.segment, position)
            _open(connection, Segment(segment, head.id, parent, position, "rewind", milliseconds()))
            return _move(connection, head, segment, position)

        return await self._database.do(act)

    async def fork(self, head: Conversation, position: int) -> Conversation:
        """A conversation of its own that has the items up to `position` in common with this one."""
        _refuse_beyond(head, position)
        now, segment = milliseconds(), new_id("seg")
        forked = replace(head, id=new_id("conv"), created=now, touched=now, segment=segment, depth=position, revision=0)

        def act(connection: Connection) -> Conversation:
            _head(connection, head.id, head.owner)
            parent = _segment_at(connection, head.segment, position)
            _open(connection, Segment(segment, forked.id, parent, position, "fork", now))
            connection.execute(insert(conversations).values(_row_of(forked)))
            return forked

        return await self._database.do(act)

    async def compact(self, head: Conversation, summary: Summary) -> Conversation:
        """Open a segment whose first item stands for those that it covers. Nothing is changed or taken away."""
        id_ = new_id("seg")
        segment = Segment(id_, head.id, head.segment, head.depth, "compaction", milliseconds(), *summary[1:])

        def act(connection: Connection) -> Conversation:
            _open(connection, segment)
            _add_items(connection, id_, head.depth, [New(summary.item)])
            return _move(connection, head, id_, head.depth + 1)

        return await self._database.do(act)

    async def items(self, head: Conversation, after: int = 0, limit: int = _MOST_AT_ONCE) -> list[Item]:
        """The whole history, oldest first, whatever was covered."""

        def act(connection: Connection) -> list[Item]:
            return _read(connection, head, items.c.position > after, limit)

        return await self._database.do(act, read_only=True)

    async def latest(self, head: Conversation, before: int | None = None, limit: int = _MOST_AT_ONCE) -> list[Item]:
        """The same from its end, newest first; `before`: a position."""
        among = items.c.position < (before if before is not None else head.depth + 1)

        def act(connection: Connection) -> list[Item]:
            return _read(connection, head, among, limit, newest_first=True)

        return await self._database.do(act, read_only=True)

    async def item(self, head: Conversation, id_: str) -> Item:
        """Raises ItemNotFound for one that is not on the conversation's path."""

        def act(connection: Connection) -> Item:
            found = _read(connection, head, items.c.id == id_, 1)
            if not found:
                raise ItemNotFound(f"The conversation {head.id} has no item '{id_}'.")
            return found[0]

        return await self._database.do(act, read_only=True)

    async def told(self, head: Conversation) -> list[Item]:
        """What a model is told: the newest summary in the place of the items that it covers."""

        def act(connection: Connection) -> list[Item]:
            chain = _chain(connection, head.segment)
            newest = next((one for one in chain if one.cause == "compaction"), None)
            if newest is None or newest.covers is None:
                return _read(connection, head, items.c.position > 0, None)
            first, last = newest.covers
            open_ = or_(items.c.position < first, items.c.position > last, items.c.position.in_(newest.keeps))
            read = _read(connection, head, open_, None)
            place = newest.base + 1
            summary = [item for item in read if item.position == place]
            before = [item for item in read if item.position <= last and item.position < first]
            kept = [item for item in read if first <= item.position <= last]
            return [
                *before,
                *summary,
                *kept,
                *(item for item in read if item.position > last and item.position != place),
            ]

        return await self._database.do(act, read_only=True)

    async def lineage(self, head: Conversation) -> list[Segment]:
        """The segments of its path, the root first."""

        def act(connection: Connection) -> list[Segment]:
            return _chain(connection, head.segment)[::-1]

        return await self._database.do(act, read_only=True)

    async def children(self, id_: str) -> list[Segment]:
        """The segments that go on from segments of a conversation: its own, and those of its forks."""
        own = select(segments.c.id).where(segments.c.conversation == id_)

        def act(connection: Connection) -> list[Segment]:
            found = connection.execute(select(segments).where(segments.c.parent.in_(own)).order_by(segments.c.created))
            return [_segment(row) for row in found]

        return await self._database.do(act, read_only=True)

    async def delete(self, head: Conversation) -> None:
        """Take it away with its runs; items that a fork has in common with it stay with the fork."""
        async with self._database.writing() as connection:
            await connection.run_sync(_head, head.id, head.owner)
            await _erase(connection, [head.id])

    async def erase(self, owner: Owner, *, all_users: bool = False) -> int:
        """Everything of a user, or of a tenant; how many conversations that were."""
        c = conversations.c
        of_owner = [c.tenant == owner.tenant] if all_users else [c.tenant == owner.tenant, c.user == owner.user]
        async with self._database.writing() as connection:
            ids = list((await connection.execute(select(c.id).where(*of_owner))).scalars())
            for start in range(0, len(ids), _MOST_AT_ONCE):
                await _erase(connection, ids[start : start + _MOST_AT_ONCE])
            r = stored_runs.c
            theirs = [r.tenant == owner.tenant] if all_users else [r.tenant == owner.tenant, r.user == owner.user]
            await connection.execute(delete(events).where(events.c.run.in_(select(r.id).where(*theirs))))
            await connection.execute(delete(stored_runs).where(*theirs))
            for table in (actions, memories):
                t = table.c
                theirs = [t.tenant == owner.tenant] if all_users else [t.tenant == owner.tenant, t.user == owner.user]
                await connection.execute(delete(table).where(*theirs))
        return len(ids)


def _refuse_beyond(head: Conversation, position: int) -> None:
    if not 0 <= position <= head.depth:
        raise ItemNotFound(f"The conversation {head.id} has {head.depth} items.")


def _head(connection: Connection, id_: str, owner: Owner) -> Conversation:
    c = conversations.c
    wanted = select(*_HEAD).where(c.id == id_, c.tenant == owner.tenant, c.user == owner.user)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise ConversationNotFound(f"There is no conversation '{id_}'.")
    return _conversation(row)


def _move(connection: Connection, head: Conversation, segment: str, depth: int, title: str = "") -> Conversation:
    """Compare and set: the head, if it is still as it was read."""
    c = conversations.c
    now = max(milliseconds(), head.touched)
    values: dict[str, Any] = {"segment": segment, "depth": depth, "revision": head.revision + 1, "touched": now}
    if title and not head.title:
        values["title"] = title
    same = [c.id == head.id, c.revision == head.revision, c.tenant == head.owner.tenant, c.user == head.owner.user]
    if connection.execute(update(conversations).where(*same).values(values)).rowcount:
        title = values.get("title", head.title)
        return replace(head, segment=segment, depth=depth, revision=head.revision + 1, touched=now, title=title)
    _head(connection, head.id, head.owner)
    raise ConversationMoved(f"The conversation {head.id} has moved on.")


def _add_items(connection: Connection, segment: str, depth: int, added: Sequence[New]) -> list[Item]:
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
        connection.execute(insert(items), rows)
    return made


def _open(connection: Connection, segment: Segment) -> None:
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
    connection.execute(insert(segments).values(row))


def _path(segment: str, depth: int) -> CTE:
    """(id, upto): the segments of a path, each with the last position that is read in it."""
    s = segments.c
    start = select(s.id, s.parent, s.base, literal(depth, BigInteger).label("upto")).where(s.id == segment)
    path = start.cte("path", recursive=True)
    left = case((path.c.base < path.c.upto, path.c.base), else_=path.c.upto)
    return path.union_all(select(s.id, s.parent, s.base, left).join(path, s.id == path.c.parent))


def _chain(connection: Connection, segment: str) -> list[Segment]:
    """From a segment up to the root."""
    path = _path(segment, 0)
    found = connection.execute(select(segments).join(path, segments.c.id == path.c.id))
    known = {row.id: _segment(row) for row in found}
    chain = []
    while segment:
        chain.append(known[segment])
        segment = known[segment].parent
    return chain


def _segment_at(connection: Connection, segment: str, position: int) -> str:
    """The segment of a path in which an item lies; of position 0, the root."""
    chain = _chain(connection, segment)
    return next((one.id for one in chain if one.base < position), chain[-1].id)


def _read(
    connection: Connection, head: Conversation, among: Any, limit: int | None, *, newest_first: bool = False
) -> list[Item]:
    path = _path(head.segment, head.depth)
    wanted = select(items).join(path, and_(items.c.segment == path.c.id, items.c.position <= path.c.upto)).where(among)
    order = items.c.position.desc() if newest_first else items.c.position
    rows = connection.execute(wanted.order_by(order).limit(limit))
    return [Item(row.id, row.segment, row.position, row.run, row.created, row.data) for row in rows]


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
    }


def _conversation(row: "Row[Any]") -> Conversation:
    id_, tenant, user, *more = tuple(row)
    return Conversation(id_, Owner(tenant, user), *more)


def _segment(row: "Row[Any]") -> Segment:
    covers = (row.covers_first, row.covers_last) if row.covers_last is not None else None
    return Segment(
        row.id, row.conversation, row.parent, row.base, row.cause, row.created, covers, tuple(row.keeps), row.told
    )
