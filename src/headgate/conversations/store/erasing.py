"""How conversations are taken away: with all that is theirs, but for what a fork has in common with them."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store.tables import actions, conversations, events, items, memories, segments, stored_runs
from headgate.conversations.types import Owner

_MOST_AT_ONCE = 500


async def erase_of(connection: AsyncConnection, owner: Owner, *, all_users: bool = False) -> int:
    """Everything of a user, or of a tenant; how many conversations that were."""
    c, r = conversations.c, stored_runs.c
    of_owner = [c.tenant == owner.tenant] if all_users else [c.tenant == owner.tenant, c.user == owner.user]
    ids = list((await connection.execute(select(c.id).where(*of_owner))).scalars())
    for start in range(0, len(ids), _MOST_AT_ONCE):
        await erase(connection, ids[start : start + _MOST_AT_ONCE])
    theirs = [r.tenant == owner.tenant] if all_users else [r.tenant == owner.tenant, r.user == owner.user]
    await connection.execute(delete(events).where(events.c.run.in_(select(r.id).where(*theirs))))
    await connection.execute(delete(stored_runs).where(*theirs))
    for table in (actions, memories):
        t = table.c
        theirs = [t.tenant == owner.tenant] if all_users else [t.tenant == owner.tenant, t.user == owner.user]
        await connection.execute(delete(table).where(*theirs))
    return len(ids)


async def erase(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Segments that others go on from stay, with the items that they have in common, but belong to nobody."""
    s, child, parent = segments.c, segments.alias("child"), segments.alias("parent")
    shared = select(s.id, func.max(child.c.base)).join(child, child.c.parent == s.id)
    shared = shared.where(s.conversation.in_(ids), child.c.conversation.not_in(ids)).group_by(s.id)
    kept: dict[str, int] = {row[0]: row[1] for row in await connection.execute(shared)}
    waiting = dict(kept)
    while waiting:  # what a shared segment goes on from is shared as well, and whole where it is not taken away
        parents = select(s.id, s.parent, s.base).join(parent, parent.c.id == s.parent)
        parents = parents.where(s.id.in_(waiting), parent.c.conversation.in_(ids))
        above: dict[str, int] = {}
        for row in await connection.execute(parents):
            upto = min(row.base, waiting[row.id])
            if upto > kept.get(row.parent, -1):
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
