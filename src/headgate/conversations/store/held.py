"""What is kept of a user's or a tenant's conversations, to be handed out and taken away as a whole."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, Select, and_, select

from headgate.conversations.store.erasing import erase_of
from headgate.conversations.store.tables import actions, conversations, events, items, memories, segments, stored_runs
from headgate.conversations.types import Owner
from headgate.core.ports import Whose
from headgate.db.engine import Database

_PAGE = 500
_LEASES = frozenset(("holder", "held_until"))


class Held:
    """Conversations with all their segments and items, runs with their events, actions, and memories."""

    name = "conversations"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        async for head in self._pages(conversations, conversations.c.id, whose):
            yield _fields("conversation", head)
            async for one in self._within(head.id):
                yield one
        async for run in self._pages(stored_runs, stored_runs.c.id, whose):
            yield _fields("run", run)
            after = -1
            wanted = select(events).where(events.c.run == run.id).order_by(events.c.number).limit(_PAGE)
            while rows := await self._rows(wanted.where(events.c.number > after)):
                after = rows[-1].number
                for row in rows:
                    yield {"type": "event", "run": row.run, "number": row.number, "data": _data(bytes(row.data))}
        async for action in self._pages(actions, actions.c.id, whose):
            yield _fields("action", action)
        async for memory in self._pages(memories, memories.c.id, whose):
            yield _fields("memory", memory)

    async def erase(self, transaction: Any, whose: Whose, name: str) -> int:
        owner = Owner(whose.tenant, whose.user or "")
        return await erase_of(transaction, owner, all_users=whose.user is None)

    async def _within(self, conversation: str) -> AsyncIterator[Mapping[str, Any]]:
        """Its segments, and those that it goes on from and that are nobody's any more; with all their items."""
        own = await self._rows(select(segments).where(segments.c.conversation == conversation))
        known = {row.id: row for row in own}
        above = {row.parent for row in own} - set(known) - {""}
        while above:
            orphans = and_(segments.c.id.in_(above), segments.c.conversation == "")
            found = {row.id: row for row in await self._rows(select(segments).where(orphans))}
            known |= found
            above = {row.parent for row in found.values()} - set(known) - {""}
        for segment in sorted(known.values(), key=lambda row: (row.created, row.id)):
            yield _fields("segment", segment)
            after = -1
            wanted = select(items).where(items.c.segment == segment.id).order_by(items.c.position).limit(_PAGE)
            while rows := await self._rows(wanted.where(items.c.position > after)):
                after = rows[-1].position
                for row in rows:
                    yield _fields("item", row)

    async def _pages(self, table: Any, id_: "ColumnElement[str]", whose: Whose) -> AsyncIterator["Row[Any]"]:
        mine = [table.c.tenant == whose.tenant]
        if whose.user is not None:
            mine.append(table.c.user == whose.user)
        after = ""
        while rows := await self._rows(select(table).where(*mine, id_ > after).order_by(id_).limit(_PAGE)):
            for row in rows:
                yield row
            after = rows[-1].id

    async def _rows(self, query: "Select[Any]") -> "list[Row[Any]]":
        async with self._database.reading() as connection:
            return list(await connection.execute(query))


def _fields(kind: str, row: "Row[Any]") -> dict[str, Any]:
    return {"type": kind, **{str(name): value for name, value in row._mapping.items() if name not in _LEASES}}


def _data(told: bytes) -> Any:
    try:
        return orjson.loads(told)
    except orjson.JSONDecodeError:
        return told.decode(errors="replace")
