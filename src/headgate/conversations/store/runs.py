"""Stored runs: who works on which conversation, what a run said so far, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store import rows
from headgate.conversations.store.tables import conversations, events, stored_runs
from headgate.conversations.types import (
    OPEN,
    WORKING,
    Conversation,
    Owner,
    Status,
    StoredEvent,
    StoredRun,
    milliseconds,
)
from headgate.db.engine import Database

_LOOKED_AT = 2000


class Runs:
    """A lease is a holder's name and the time until which it holds; whoever holds a conversation runs its turn.

    Raises DatabaseUnavailable, and ResponseNotFound for what is not there or is another owner's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._passed = ""
        """The last run whose events were looked for, to be taken away."""
        self._goes_on: str | None = None
        """The one before the first that had not ended long enough."""

    async def hold(self, head: Conversation, holder: str, seconds: float) -> None:
        """Take the lease of a conversation, or prolong one's own; raises ConversationBusy while somebody has it."""

        async def act(connection: AsyncConnection) -> None:
            await rows.claimed(connection, head.id, head.owner, holder, milliseconds() + int(seconds * 1000))

        await self._database.do(act, lasting=False)

    async def release(self, head: Conversation, holder: str) -> None:
        """Give one's own lease back; somebody else's stays."""

        async def act(connection: AsyncConnection) -> None:
            await rows.release(connection, head.id, holder)

        await self._database.do(act, lasting=False)

    async def holder(self, head: Conversation) -> str:
        """Who holds the conversation now; empty for nobody."""
        return await self.holder_of(head.id)

    async def holder_of(self, id_: str) -> str:
        """The same, of its id."""
        c = conversations.c
        wanted = select(c.holder).where(c.id == id_, c.held_until >= milliseconds())
        async with self._database.reading() as connection:
            return (await connection.execute(wanted)).scalar() or ""

    async def begin(self, run: StoredRun) -> None:
        """A new run. Unless it is to go on without its caller, it lasts once something was said in it."""

        async def act(connection: AsyncConnection) -> None:
            await rows.begin_run(connection, run)

        await self._database.do(act, lasting=run.background)

    async def get(self, id_: str, owner: Owner) -> StoredRun:
        async def act(connection: AsyncConnection) -> StoredRun:
            return await rows.run_with(connection, id_, owner)

        return await self._database.do(act, read_only=True)

    async def of(self, head: Conversation, limit: int = 100) -> list[StoredRun]:
        """A conversation's runs, the newest first."""
        r = stored_runs.c
        wanted = (
            select(stored_runs).where(r.conversation == head.id).order_by(r.created.desc(), r.id.desc()).limit(limit)
        )
        async with self._database.reading() as connection:
            return [rows.run_of(row) for row in await connection.execute(wanted)]

    async def note_all(self, told: Mapping[str, Sequence[StoredEvent]]) -> None:
        """The same of several runs."""

        async def act(connection: AsyncConnection) -> None:
            for run, events_of_run in told.items():
                await rows.note(connection, run, events_of_run)

        await self._database.do(act)

    async def note(self, run: str, told: Sequence[StoredEvent]) -> None:
        """Further events, in the order of their numbers; one that is there already stays as it is."""
        async with self._database.writing() as connection:
            await rows.note(connection, run, told)

    async def events(self, run: str, after: int = -1, limit: int = 1000) -> list[StoredEvent]:
        """Those with higher numbers than `after`."""
        e = events.c
        wanted = select(e.number, e.data).where(e.run == run, e.number > after).order_by(e.number).limit(limit)

        async def act(connection: AsyncConnection) -> list[StoredEvent]:
            return [StoredEvent(number, bytes(data)) for number, data in await connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def change(
        self,
        run: StoredRun,
        status: Status,
        *,
        response: Mapping[str, Any] | None = None,
        told: Sequence[StoredEvent] = (),
        segment: str = "",
        base: int | None = None,
    ) -> bool:
        """What became of a run, with its last events; False if it had ended already, and then nothing is changed."""
        r = stored_runs.c
        values: dict[str, Any] = {"status": status}
        if response is not None:
            values["response"] = dict(response)
        if segment:
            values["segment"] = segment
        if base is not None:
            values["base"] = base
        if status not in WORKING:
            values |= {"ended": milliseconds(), "holder": "", "held_until": 0}
        still = update(stored_runs).where(r.id == run.id, r.status.in_(OPEN)).values(values)

        async def act(connection: AsyncConnection) -> bool:
            if not (await connection.execute(still)).rowcount:
                return False
            await rows.note(connection, run.id, told)
            return True

        return await self._database.do(act)

    async def take(self, run: str, holder: str, seconds: float) -> bool:
        """Begin or go on to work on a run; False where somebody else does, or it has ended."""
        r, now = stored_runs.c, milliseconds()
        free = and_(r.status.in_(OPEN), or_(r.holder == "", r.holder == holder, r.held_until < now))
        values = {"holder": holder, "held_until": now + int(seconds * 1000)}
        async with self._database.writing() as connection:
            taking = update(stored_runs).where(r.id == run, free).values(values)
            return bool((await connection.execute(taking)).rowcount)

    async def give_back(self, run: str, holder: str) -> None:
        """Let somebody else go on with a run that one works on."""
        r = stored_runs.c
        mine = update(stored_runs).where(r.id == run, r.holder == holder)
        async with self._database.writing() as connection:
            await connection.execute(mine.values(holder="", held_until=0))

    async def forget_events(self, before: int, limit: int = 200) -> int:
        """Take the events of runs away that ended before a time; their responses stay. Gives the number of runs.

        Runs are looked through in the order in which they began, without keeping writers waiting. Those that go on are
        looked at again once all the others were.
        """
        ids: list[str] = []
        while not ids and (found := await self._begun_before(before)):
            for row in found:
                if not 0 < row.ended < before:
                    self._goes_on = self._passed if self._goes_on is None else self._goes_on
                elif row.events:
                    ids.append(row.id)
                self._passed = row.id
                if len(ids) == limit:
                    break
        if ids:
            r = stored_runs.c
            async with self._database.writing() as connection:
                await connection.execute(delete(events).where(events.c.run.in_(ids)))
                await connection.execute(update(stored_runs).where(r.id.in_(ids)).values(events=0))
        elif self._goes_on is not None:
            self._passed, self._goes_on = self._goes_on, None
        return len(ids)

    async def _begun_before(self, before: int) -> list[Any]:
        """(id, ended, events) of the next runs that were not looked at yet."""
        r = stored_runs.c
        wanted = select(r.id, r.ended, r.events).where(r.id > self._passed, r.id < f"resp_{before:012x}")

        async def act(connection: AsyncConnection) -> list[Any]:
            return list(await connection.execute(wanted.order_by(r.id).limit(_LOOKED_AT)))

        return await self._database.do(act, read_only=True)

    async def orphans(self, limit: int = 20) -> list[StoredRun]:
        """Runs that go on in the background, or should, while nobody works on them; the oldest first."""
        r = stored_runs.c
        left = [r.status.in_(("queued", "in_progress")), r.held_until < milliseconds()]
        wanted = select(stored_runs).where(*left).order_by(r.created).limit(limit)
        async with self._database.reading() as connection:
            return [rows.run_of(row) for row in await connection.execute(wanted)]

    async def delete(self, run: StoredRun) -> None:
        """Take it away with its events; the conversation's items stay."""
        async with self._database.writing() as connection:
            await connection.execute(delete(events).where(events.c.run == run.id))
            await connection.execute(delete(stored_runs).where(stored_runs.c.id == run.id))
