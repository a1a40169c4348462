"""Both ends of a turn, each in one transaction: a conversation is held and read, and what was said in it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store import rows
from headgate.conversations.store.heads import told_of
from headgate.conversations.types import (
    Conversation,
    Item,
    New,
    Owner,
    Segment,
    StoredEvent,
    StoredRun,
    milliseconds,
    title_of,
)
from headgate.core.state_errors import ConversationBusy
from headgate.db.engine import Database

_SHORT = 200
"""Items that are read while the database is kept from others; more are read afterwards."""


class Lease(NamedTuple):
    """Who holds a conversation, and for how long."""

    holder: str
    seconds: float

    @property
    def until(self) -> int:
        return milliseconds() + int(self.seconds * 1000)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is kept of a turn. `head` is as it was read; `holder` gives its lease back.

    `run` is the stored run as it is in the end, None for none; `told` are its last events.
    """

    head: Conversation
    added: Sequence[New]
    holder: str = ""
    tokens: int = 0
    """Those of the conversation with what is added; 0 if nobody counted."""
    run: StoredRun | None = None
    told: Sequence[StoredEvent] = ()
    is_begun: bool = False
    """The run is stored already."""
    is_new: bool = False
    """The conversation is not."""
    untold: str = ""
    """A run that is stored, and of which nothing was told: it is taken away again."""


class Held(NamedTuple):
    """A conversation that is held, with what is told of it, and the run that was written along with that."""

    head: Conversation
    told: list[Item]
    run: StoredRun | None = None


Begin = Callable[[Conversation], StoredRun]
"""Makes the run that begins on a conversation."""


class Turns:
    """Raises ConversationNotFound for what is not there or is another owner's, and DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, id_: str, owner: Owner, lease: Lease, agent: str = "", begin_run: Begin | None = None
    ) -> Held:
        """Hold a conversation, read what a model is told of it, and begin a run on it if one is to begin at once.

        Raises ConversationBusy.
        """

        async def act(connection: AsyncConnection) -> tuple[Conversation, list[Item] | None, StoredRun | None]:
            head = await rows.claimed(connection, id_, owner, lease.holder, lease.until, agent=agent)
            run = begin_run(head) if begin_run is not None else None
            if run is not None:
                await rows.begin_run(connection, run)
            return head, await _if_short(connection, head), run

        head, told, run = await self._database.do(act, lasting=False)
        if told is None:
            told = await self._told(head, lease, run.id if run is not None else "")
        return Held(head, told, run)

    async def after(
        self, previous: str, owner: Owner, lease: Lease, is_end: Callable[[StoredRun, Conversation], bool]
    ) -> tuple[StoredRun, Conversation, list[Item] | None]:
        """A stored run and its conversation; it is held, and what is told of it is there, if `is_end` finds that it
        ends with that run, and nobody else holds it. Raises ResponseNotFound.
        """

        async def act(connection: AsyncConnection) -> tuple[StoredRun, Conversation, bool, list[Item] | None]:
            run = await rows.run_with(connection, previous, owner)
            try:
                head, by = await rows.to_claim(connection, run.conversation, owner)
                if is_end(run, head):
                    await rows.claim(connection, head, by, lease.holder, lease.until)
                    return run, head, True, await _if_short(connection, head)
            except ConversationBusy:
                pass
            return run, head, False, None

        run, head, is_held, told = await self._database.do(act, lasting=False)
        if is_held and told is None:
            told = await self._told(head, lease)
        return run, head, told

    async def create(self, head: Conversation, lease: Lease, run: StoredRun | None = None) -> None:
        """A new conversation that is held from the first, with a run if one begins with it. It lasts once something is
        said in it, or the run goes on in the background.
        """

        async def act(connection: AsyncConnection) -> None:
            await _create(connection, head, lease)
            if run is not None:
                await rows.begin_run(connection, run)

        await self._database.do(act, lasting=run is not None and run.background)

    async def end(self, ending: Ending) -> Conversation:
        """Keep what was said, note what became of the run, and let others go on: all of it, or nothing.

        Of a run that had ended already nothing is changed. Raises ConversationMoved where the head is not as it was
        read.
        """

        async def act(connection: AsyncConnection) -> Conversation:
            head = await _kept(connection, ending)
            if ending.untold:
                await rows.drop_run(connection, ending.untold)
            if ending.run is None:
                return head
            if ending.is_begun:
                await rows.end_run(connection, ending.run, ending.told)
            else:
                await rows.begin_run(connection, ending.run)
            return head

        return await self._database.do(act)

    async def release(self, id_: str, holder: str, untold: str = "") -> None:
        """Give a lease back without having said anything, and take a run away of which nothing was told."""

        async def act(connection: AsyncConnection) -> None:
            await rows.release(connection, id_, holder)
            if untold:
                await rows.drop_run(connection, untold)

        await self._database.do(act, lasting=False)

    async def _told(self, head: Conversation, lease: Lease, untold: str = "") -> list[Item]:
        async def act(connection: AsyncConnection) -> list[Item]:
            return await told_of(connection, head)

        try:
            return await self._database.do(act, read_only=True)
        except Exception:
            await self.release(head.id, lease.holder, untold)
            raise


async def _if_short(connection: AsyncConnection, head: Conversation) -> list[Item] | None:
    if not head.depth:
        return []
    return await told_of(connection, head) if head.depth <= _SHORT else None


async def _create(connection: AsyncConnection, head: Conversation, lease: Lease | None) -> None:
    await rows.open_segment(connection, Segment(head.segment, head.id, "", 0, "root", head.created))
    await rows.create(connection, head, *((lease.holder, lease.until) if lease else ("", 0)))


async def _kept(connection: AsyncConnection, ending: Ending) -> Conversation:
    head, added = ending.head, ending.added
    if ending.is_new:
        depth = len(added)
        weight = (ending.tokens, depth) if ending.tokens else (0, 0)
        made = replace(head, depth=depth, revision=1, title=title_of(added), tokens=weight[0], counted=weight[1])
        await _create(connection, made, None)
        await rows.add_items(connection, head.segment, 0, added)
        return made
    if added:
        return (await rows.append(connection, head, added, ending.tokens, ending.holder))[0]
    if ending.holder:
        await rows.release(connection, head.id, ending.holder)
    return head
