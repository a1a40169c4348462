"""What is asked of the database with every turn, and its rows as values. Each is one step of somebody's transaction.

The statements are put into words once: to put them together takes longer than to answer them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    CTE,
    BigInteger,
    Integer,
    and_,
    bindparam,
    case,
    delete,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store.tables import conversations, events, items, segments, stored_runs
from headgate.conversations.types import (
    OPEN,
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
from headgate.core.state_errors import ConversationBusy, ConversationMoved, ConversationNotFound, ResponseNotFound
from headgate.db.columns import Name
from headgate.db.prepared import Prepared, Row, add, change, rows

HEAD = [column for column in conversations.c if column.name not in ("holder", "held_until")]
_c, _r = conversations.c, stored_runs.c
_IS_OPEN = or_(*(_r.status == status for status in OPEN))
_MINE = _c.id == bindparam("of"), _c.tenant == bindparam("of_tenant"), _c.user == bindparam("of_user")
_HIGHER = bindparam("upto", type_=BigInteger)
_LEFT = {
    "holder": case((_c.holder == bindparam("by"), ""), else_=_c.holder),
    "held_until": case((_c.holder == bindparam("by"), 0), else_=_c.held_until),
}
_GET = Prepared(select(*HEAD).where(*_MINE))
_CLAIM = Prepared(select(*HEAD, _c.holder, _c.held_until).where(*_MINE).with_for_update())
_HOLD = Prepared(update(conversations).where(_c.id == bindparam("of")), "holder", "held_until")
_RELEASE = Prepared(
    update(conversations).where(_c.id == bindparam("of"), _c.holder == bindparam("by")).values(holder="", held_until=0)
)
_MOVED = ("segment", "depth", "revision", "touched", "tokens", "counted", "title")
_AS_IT_WAS = (*_MINE, _c.revision == bindparam("of_revision"))
_MOVE = Prepared(update(conversations).where(*_AS_IT_WAS), *_MOVED)
_MOVE_AND_RELEASE = Prepared(update(conversations).where(*_AS_IT_WAS).values(_LEFT), *_MOVED)
_CREATE, _OPEN, _ADD = Prepared(insert(conversations)), Prepared(insert(segments)), Prepared(insert(items))
_BEGIN, _TELL = Prepared(insert(stored_runs)), Prepared(insert(events), once=True)
_DROP = Prepared(delete(stored_runs).where(_r.id == bindparam("of"), _IS_OPEN, _r.events == 0))
_RUN = Prepared(
    select(stored_runs).where(
        _r.id == bindparam("of"), _r.tenant == bindparam("of_tenant"), _r.user == bindparam("of_user")
    )
)
_EVENTS = {"events": case((_r.events < _HIGHER, _HIGHER), else_=_r.events)}
_COUNT = Prepared(update(stored_runs).where(_r.id == bindparam("of")).values(_EVENTS))
_END = Prepared(
    update(stored_runs).where(_r.id == bindparam("of"), _IS_OPEN).values(_EVENTS),
    *("status", "response", "segment", "base", "ended", "holder", "held_until"),
)


def path_of(segment: Any, depth: Any) -> CTE:
    """(id, upto): the segments of a path, each with the last position that is read in it."""
    s = segments.c
    start = select(s.id, s.parent, s.base, depth.label("upto")).where(s.id == segment)
    path = start.cte("path", recursive=True)
    left = case((path.c.base < path.c.upto, path.c.base), else_=path.c.upto)
    return path.union_all(select(s.id, s.parent, s.base, left).join(path, s.id == path.c.parent))


_HERE = path_of(bindparam("at", type_=Name), literal(0, BigInteger))
_CHAIN = Prepared(select(segments).join(_HERE, segments.c.id == _HERE.c.id))
_UNTIL = bindparam("until", type_=BigInteger)
_WHOLE = path_of(bindparam("at", type_=Name), _UNTIL)
_ON_PATH = select(items).join(_WHOLE, and_(items.c.segment == _WHOLE.c.id, items.c.position <= _WHOLE.c.upto))
_ALL = Prepared(_ON_PATH.order_by(items.c.position))
_OWN = Prepared(
    select(items).where(items.c.segment == bindparam("at"), items.c.position <= _UNTIL).order_by(items.c.position)
)
_LATEST = Prepared(
    _ON_PATH.where(items.c.position < bindparam("before", type_=BigInteger))
    .order_by(items.c.position.desc())
    .limit(bindparam("most", type_=Integer))
)


async def head_of(connection: AsyncConnection, id_: str, owner: Owner) -> Conversation:
    """Raises ConversationNotFound."""
    found = await rows(connection, _GET, _whose(id_, owner))
    return conversation_of(_only(found, id_))


async def claimed(
    connection: AsyncConnection, id_: str, owner: Owner, holder: str, until: int, *, agent: str = ""
) -> Conversation:
    """The head, held from now on. Raises ConversationNotFound, also for another agent's, and ConversationBusy."""
    head, by = await to_claim(connection, id_, owner)
    if agent and head.agent != agent:
        raise ConversationNotFound(f"The agent '{agent}' has no session '{id_}'.")
    await claim(connection, head, by, holder, until)
    return head


async def to_claim(connection: AsyncConnection, id_: str, owner: Owner) -> tuple[Conversation, str]:
    """The head, and who holds it, empty for nobody; kept from others until the transaction is over."""
    row = _only(await rows(connection, _CLAIM, _whose(id_, owner)), id_)
    return conversation_of(row[:-2]), row[-2] if row[-1] >= milliseconds() else ""


async def claim(connection: AsyncConnection, head: Conversation, by: str, holder: str, until: int) -> None:
    """Hold what `by` holds; raises ConversationBusy where that is somebody else."""
    if by not in ("", holder):
        raise ConversationBusy(f"Another turn of the conversation {head.id} is under way.", retry_after=1)
    await change(connection, _HOLD, {"of": head.id, "holder": holder, "held_until": until})


async def release(connection: AsyncConnection, id_: str, holder: str) -> None:
    """Give one's own lease back; somebody else's stays."""
    await change(connection, _RELEASE, {"of": id_, "by": holder})


class To(NamedTuple):
    """Where a head moves: see Conversation. `weight` is its tokens and the position of the last item among them."""

    segment: str
    depth: int
    weight: tuple[int, int] | None = None
    title: str = ""


async def move(connection: AsyncConnection, head: Conversation, to: To, *, holder: str = "") -> Conversation:
    """Compare and set: the head, if it is still as it was read. The lease of `holder` is given back with it."""
    now = max(milliseconds(), head.touched)
    tokens, counted = to.weight or (head.tokens, head.counted)
    values: dict[str, Any] = {"segment": to.segment, "depth": to.depth, "revision": head.revision + 1, "touched": now}
    values |= {"tokens": tokens, "counted": counted, "title": head.title or to.title}
    same = {**_whose(head.id, head.owner), "of_revision": head.revision, "by": holder}
    if await change(connection, _MOVE_AND_RELEASE if holder else _MOVE, {**values, **same}):
        return replace(head, **values)
    await head_of(connection, head.id, head.owner)
    raise ConversationMoved(f"The conversation {head.id} has moved on.")


async def append(
    connection: AsyncConnection, head: Conversation, added: Sequence[New], tokens: int = 0, holder: str = ""
) -> tuple[Conversation, list[Item]]:
    """Items behind the last one; see `move`."""
    depth = head.depth + len(added)
    weight = (tokens, depth) if tokens else None
    moved = await move(connection, head, To(head.segment, depth, weight, title_of(added)), holder=holder)
    return moved, await add_items(connection, head.segment, head.depth, added)


async def add_items(connection: AsyncConnection, segment: str, depth: int, added: Sequence[New]) -> list[Item]:
    now = milliseconds()
    made = [
        Item(str(new.data["id"]), segment, depth + number, new.run, new.created or now, new.data)
        for number, new in enumerate(added, start=1)
    ]
    if made:
        told = [
            {
                "segment": segment,
                "position": one.position,
                "id": one.id,
                "run": one.run,
                "created": one.created,
                "data": text_of(one.data),
            }
            for one in made
        ]
        await add(connection, _ADD, told)
    return made


async def create(connection: AsyncConnection, head: Conversation, holder: str = "", until: int = 0) -> None:
    """A new conversation, held if there is a holder; its segment is opened apart."""
    await change(connection, _CREATE, _row_of(head, holder, until))


async def open_segment(connection: AsyncConnection, segment: Segment) -> None:
    first, last = segment.covers or (None, None)
    values = {
        "id": segment.id,
        "conversation": segment.conversation,
        "parent": segment.parent,
        "base": segment.base,
        "cause": segment.cause,
        "created": segment.created,
        "covers_first": first,
        "covers_last": last,
        "keeps": text_of(list(segment.keeps)),
        "told": text_of(dict(segment.told)),
    }
    await change(connection, _OPEN, values)


async def chain_of(connection: AsyncConnection, segment: str) -> list[Segment]:
    """From a segment up to the root."""
    known = {row[0]: segment_of(row) for row in await rows(connection, _CHAIN, {"at": segment})}
    chain = []
    while segment:
        chain.append(known[segment])
        segment = known[segment].parent
    return chain


async def all_items(connection: AsyncConnection, head: Conversation) -> list[Item]:
    """The whole history, oldest first."""
    return [item_of(row) for row in await rows(connection, _ALL, {"at": head.segment, "until": head.depth})]


async def own_items(connection: AsyncConnection, head: Conversation) -> list[Item] | None:
    """The whole history where one segment holds it, and so no summary, which begins another one; else None."""
    found = await rows(connection, _OWN, {"at": head.segment, "until": head.depth})
    return [item_of(row) for row in found] if found and found[0][1] == 1 else None


async def latest_items(connection: AsyncConnection, head: Conversation, before: int, most: int) -> list[Item]:
    """The same from before a position, newest first."""
    place = {"at": head.segment, "until": head.depth, "before": before, "most": most}
    return [item_of(row) for row in await rows(connection, _LATEST, place)]


async def run_with(connection: AsyncConnection, id_: str, owner: Owner) -> StoredRun:
    """Raises ResponseNotFound."""
    found = await rows(connection, _RUN, _whose(id_, owner))
    if not found:
        raise ResponseNotFound(f"There is no stored response '{id_}'.")
    return run_of(found[0])


async def begin_run(connection: AsyncConnection, run: StoredRun) -> None:
    await change(connection, _BEGIN, _row_of_run(run))


async def drop_run(connection: AsyncConnection, run: str) -> None:
    """Take a run away again of which nothing was told."""
    await change(connection, _DROP, {"of": run})


async def end_run(connection: AsyncConnection, run: StoredRun, told: Sequence[StoredEvent]) -> bool:
    """The run as it is in the end, with its last events; False if it had ended already, and nothing is changed."""
    values = {
        "of": run.id,
        "status": run.status,
        "response": text_of(run.response),
        "segment": run.segment,
        "base": run.base,
        "ended": run.ended,
        "holder": run.holder,
        "held_until": run.held_until,
        "upto": told[-1].number + 1 if told else 0,
    }
    if not await change(connection, _END, values):
        return False
    await _add_events(connection, run.id, told)
    return True


async def note(connection: AsyncConnection, run: str, told: Sequence[StoredEvent]) -> None:
    """Further events of a run; one that is there already stays as it is."""
    if told and await change(connection, _COUNT, {"of": run, "upto": told[-1].number + 1}):
        await _add_events(connection, run, told)  # a run that was deleted meanwhile leaves nothing behind


async def _add_events(connection: AsyncConnection, run: str, told: Sequence[StoredEvent]) -> None:
    if told:
        await add(connection, _TELL, [{"run": run, "number": one.number, "data": one.data} for one in told])


def _whose(id_: str, owner: Owner) -> dict[str, str]:
    return {"of": id_, "of_tenant": owner.tenant, "of_user": owner.user}


def _only(found: Sequence[Row], id_: str) -> Row:
    if not found:
        raise ConversationNotFound(f"There is no conversation '{id_}'.")
    return found[0]


def text_of(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def value_of(told: Any) -> Any:
    """A value of JSON, as the driver gives it or read already."""
    return orjson.loads(told) if type(told) is str else told


def _row_of(head: Conversation, holder: str, until: int) -> dict[str, Any]:
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
        "metadata": text_of(dict(head.metadata)),
        "holder": holder,
        "held_until": until,
        "tokens": head.tokens,
        "counted": head.counted,
        "compaction": text_of(dict(head.compaction)),
    }


def _row_of_run(run: StoredRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "request_id": run.request_id,
        "conversation": run.conversation,
        "tenant": run.owner.tenant,
        "user": run.owner.user,
        "status": run.status,
        "background": run.background,
        "created": run.created,
        "ended": run.ended,
        "request": text_of(dict(run.request)),
        "response": None if run.response is None else text_of(dict(run.response)),
        "previous": run.previous,
        "segment": run.segment,
        "base": run.base,
        "events": run.events,
        "holder": run.holder,
        "held_until": run.held_until,
    }


def conversation_of(row: Row) -> Conversation:
    id_, tenant, user, agent, model, title, created, touched, segment, depth, revision, *more = row
    metadata, tokens, counted, compaction = more
    return Conversation(
        id_,
        Owner(tenant, user),
        agent,
        model,
        title,
        created,
        touched,
        segment,
        depth,
        revision,
        value_of(metadata),
        tokens,
        counted,
        value_of(compaction),
    )


def item_of(row: Row) -> Item:
    segment, position, id_, run, created, data = row
    return Item(id_, segment, position, run, created, value_of(data))


def segment_of(row: Row) -> Segment:
    id_, conversation, parent, base, cause, created, first, last, keeps, told = row
    covers = (first, last) if last is not None else None
    return Segment(id_, conversation, parent, base, cause, created, covers, tuple(value_of(keeps)), value_of(told))


def run_of(row: Row) -> StoredRun:
    id_, request_id, conversation, tenant, user, status, background, created, ended, request, response, *more = row
    asked, answered = value_of(request), value_of(response)
    return StoredRun(
        id_,
        request_id,
        conversation,
        Owner(tenant, user),
        status,
        bool(background),
        created,
        ended,
        asked,
        answered,
        *more,
    )
