"""Actions: what waits for a person's answer. An answer is taken once, noted with who gave it, and cannot be changed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store.tables import actions, stored_runs
from headgate.conversations.types import Action, ActionQuery, Owner, Verdict, milliseconds
from headgate.core.audit import Act
from headgate.core.ports import Witness
from headgate.core.state_errors import ActionAnswered, ActionExpired, ActionNotFound
from headgate.db.engine import Database

_ACTS = {"approve": "approved", "reject": "rejected", "edit": "edited", "answer": "answered"}


class Actions:
    """Raises ActionNotFound for what is not there or is another owner's, and DatabaseUnavailable."""

    def __init__(self, database: Database, witness: Witness | None = None) -> None:
        self._database = database
        self._witness = witness

    async def ask(self, *asked: Action) -> None:
        """New ones."""
        async with self._database.writing() as connection:
            await connection.execute(insert(actions), [_row_of(one) for one in asked])

    async def get(self, id_: str, owner: Owner) -> Action:
        a = actions.c
        wanted = select(actions).where(a.id == id_, a.tenant == owner.tenant, a.user == owner.user)
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            raise ActionNotFound(f"There is no action '{id_}'.")
        return _action(row)

    async def page(self, owner: Owner, query: ActionQuery) -> list[Action]:
        """One more than `limit`, where there are more."""
        wanted = select(actions).where(*_chosen(owner, query)).order_by(actions.c.id.desc()).limit(query.limit + 1)
        async with self._database.reading() as connection:
            return [_action(row) for row in await connection.execute(wanted)]

    async def count(self, owner: Owner, query: ActionQuery) -> int:
        async with self._database.reading() as connection:
            wanted = select(func.count()).select_from(actions).where(*_chosen(owner, query))
            return int((await connection.execute(wanted)).scalar() or 0)

    async def answer(self, action: Action, verdict: Verdict, answer: Mapping[str, Any], by: str) -> Action:
        """Take an answer; raises ActionAnswered and ActionExpired. What the witness cannot note is not taken."""
        a, now = actions.c, milliseconds()
        values = {"state": "answered", "verdict": verdict, "answer": dict(answer), "by": by, "answered_at": now}
        waits = [a.id == action.id, a.state == "pending", a.expires > now, a.digest == action.digest]
        noted = None
        async with self._database.writing() as connection:
            if not (await connection.execute(update(actions).where(*waits).values(values))).rowcount:
                state = (await connection.execute(select(a.state).where(a.id == action.id))).scalar()
                if state == "pending":
                    raise ActionExpired(f"The time to answer the action {action.id} is over.")
                raise ActionAnswered(f"The action {action.id} was answered already.")
            if self._witness is not None:
                noted = await self._witness.note(connection, _act(action, verdict, by))
        if self._witness is not None:
            await self._witness.committed(noted)
        return replace(action, state="answered", verdict=verdict, answer=dict(answer), by=by, answered_at=now)

    async def waiting_in(self, runs: Collection[str]) -> dict[tuple[Owner, str], list[str]]:
        """The ids of the actions that can be answered, by owner and run, for those of these runs that have any."""
        a = actions.c
        wanted = select(a.tenant, a.user, a.run, a.id).where(
            a.run.in_(runs), a.state == "pending", a.expires > milliseconds()
        )
        found: dict[tuple[Owner, str], list[str]] = {}
        async with self._database.reading() as connection:
            for tenant, user, run, id_ in await connection.execute(wanted.order_by(a.id)):
                found.setdefault((Owner(tenant, user), run), []).append(id_)
        return found

    async def done(self, action: Action) -> None:
        """What came of it stands in the conversation. A run of which nothing waits any more is complete."""
        async with self._database.writing() as connection:
            await connection.execute(update(actions).where(actions.c.id == action.id).values(state="done"))
            await _complete(connection, action.conversation)

    async def noted(self, action: Action, result: str) -> Action:
        """What a call came to that others have to wait for."""
        answer = {**action.answer, "result": result}
        async with self._database.writing() as connection:
            await connection.execute(update(actions).where(actions.c.id == action.id).values(answer=answer))
        return replace(action, answer=answer)

    async def given(self, conversation: str, calls: Sequence[str], by: str) -> None:
        """A turn of the conversation brought the results of these calls of the caller's own tools."""
        a = actions.c
        values = {"state": "done", "verdict": "answer", "by": by, "answered_at": milliseconds()}
        meant = [a.conversation == conversation, a.kind == "client_tool", a.state == "pending", a.call.in_(calls)]
        async with self._database.writing() as connection:
            if (await connection.execute(update(actions).where(*meant).values(values))).rowcount:
                await _complete(connection, conversation)


async def _complete(connection: AsyncConnection, conversation: str) -> None:
    a, r = actions.c, stored_runs.c
    waits = select(a.id).where(a.run == r.request_id, a.conversation == conversation, a.state == "pending")
    waiting = update(stored_runs).where(r.conversation == conversation, r.status == "requires_action")
    await connection.execute(waiting.where(~waits.exists()).values(status="completed"))


def _chosen(owner: Owner, query: ActionQuery) -> list[Any]:
    a = actions.c
    chosen = [a.tenant == owner.tenant, a.user == owner.user]
    if query.after:
        chosen.append(a.id < query.after)
    if query.conversation:
        chosen.append(a.conversation == query.conversation)
    if query.run:
        chosen.append(a.run == query.run)
    if query.waiting:
        chosen += [a.state == "pending", a.expires > milliseconds()]
    return chosen


def _act(action: Action, verdict: Verdict, by: str) -> Act:
    """The user, if there is one, is told of as whoever acted: there an erasure finds it."""
    key = by.partition(" for ")[0]
    after = {"tool": action.tool, "rule": action.rule, "digest": action.digest, "run": action.run, "answered_by": key}
    return Act(f"action.{_ACTS[verdict]}", "action", action.id, action.owner.tenant, after=after)


def _row_of(action: Action) -> dict[str, Any]:
    return {
        "id": action.id,
        "kind": action.kind,
        "tenant": action.owner.tenant,
        "user": action.owner.user,
        "conversation": action.conversation,
        "run": action.run,
        "model": action.model,
        "tool": action.tool,
        "arguments": action.arguments,
        "digest": action.digest,
        "rule": action.rule,
        "created": action.created,
        "expires": action.expires,
        "state": action.state,
        "verdict": action.verdict,
        "answer": dict(action.answer),
        "by": action.by,
        "answered_at": action.answered_at,
        "call": action.call,
        "within": dict(action.within),
    }


def _action(row: "Row[Any]") -> Action:
    id_, kind, tenant, user, *more = tuple(row)
    return Action(id_, kind, Owner(tenant, user), *more)
