"""Memories: short texts that are kept for a user, whoever's conversation they come from."""

from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select

from headgate.conversations.store.tables import memories
from headgate.conversations.types import Memory, Owner, milliseconds, new_id
from headgate.core.state_errors import MemoryFull, MemoryNotFound
from headgate.db.engine import Database

MOST = 1000
"""Memories of one user."""
LONGEST = 4000
"""Characters of one."""
_MOST_WORDS = 16


class Memories:
    """Each belongs to a tenant and a user. Raises DatabaseUnavailable, and MemoryNotFound for another owner's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, owner: Owner, text: str) -> Memory:
        """A new one; the one that is there already if it says the same. Raises MemoryFull."""
        async with self._database.writing() as connection:
            same = select(memories).where(*_of(owner), memories.c.text == text).limit(1)
            known = (await connection.execute(same)).one_or_none()
            if known is not None:
                return _memory(known)
            there = await connection.execute(select(func.count()).select_from(memories).where(*_of(owner)))
            if (there.scalar() or 0) >= MOST:
                raise MemoryFull(f"There are {MOST} memories already, and no more may be kept.")
            made = Memory(new_id("mem"), owner, text, milliseconds())
            row = {"id": made.id, "tenant": owner.tenant, "user": owner.user, "text": text, "created": made.created}
            await connection.execute(insert(memories).values({**row, "folded": text.casefold()}))
        return made

    async def get(self, owner: Owner, id_: str) -> Memory:
        async with self._database.reading() as connection:
            row = (await connection.execute(select(memories).where(*_of(owner), memories.c.id == id_))).one_or_none()
        if row is None:
            raise MemoryNotFound(f"There is no memory '{id_}'.")
        return _memory(row)

    async def page(self, owner: Owner, limit: int, after: str = "") -> list[Memory]:
        """The newest first, one more than `limit` where there are more; `after` is the id of the last one seen."""
        chosen = [*_of(owner), memories.c.id < after] if after else _of(owner)
        wanted = select(memories).where(*chosen).order_by(memories.c.id.desc()).limit(limit + 1)
        async with self._database.reading() as connection:
            return [_memory(row) for row in await connection.execute(wanted)]

    async def search(self, owner: Owner, text: str, limit: int) -> list[Memory]:
        """Those that hold most of the words, the newest first of those that hold as many."""
        words = list(dict.fromkeys(text.casefold().split()))[:_MOST_WORDS]
        if not words:
            return []
        holds = or_(*(memories.c.folded.contains(word, autoescape=True) for word in words))
        async with self._database.reading() as connection:
            rows = list(await connection.execute(select(memories).where(*_of(owner), holds)))
        rows.sort(key=lambda row: (sum(word in row.folded for word in words), row.id), reverse=True)
        return [_memory(row) for row in rows[:limit]]

    async def delete(self, owner: Owner, id_: str) -> None:
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(memories).where(*_of(owner), memories.c.id == id_))
        if not gone.rowcount:
            raise MemoryNotFound(f"There is no memory '{id_}'.")

    async def erase(self, owner: Owner) -> int:
        """All of a user's; how many there were."""
        async with self._database.writing() as connection:
            return (await connection.execute(delete(memories).where(*_of(owner)))).rowcount


def _of(owner: Owner) -> list[ColumnElement[bool]]:
    return [memories.c.tenant == owner.tenant, memories.c.user == owner.user]


def _memory(row: "Row[Any]") -> Memory:
    return Memory(row.id, Owner(row.tenant, row.user), row.text, row.created)
