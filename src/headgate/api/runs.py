"""`/v1/runs`: runs in flight on any worker of this machine, and those that ended, listed, shown and cancelled.

A key sees its own runs; with the scope `runs:read` those of its tenant, with `runs:write` it may also cancel them.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.usage import asked_span
from headgate.api.answers import json_answer
from headgate.api.fields import who_asks, whole_number
from headgate.api.gate import Gate
from headgate.api.run_shapes import past_line, past_whole, running_line, running_whole
from headgate.conversations.types import Owner
from headgate.core.audit import Act
from headgate.core.errors import InvalidField, RunNotFound, RunNotRunning
from headgate.core.run import Run
from headgate.identity.scopes import tenants_with
from headgate.pipeline.running import Running, from_plain, plain, seen, stop
from headgate.usage.runs import STATUSES, Past
from headgate.usage.types import RunQuery, started_in

_MOST_LISTED = 1000
_MOST_OF_ONE = 100
_LONGEST_PLACE = 64


async def list_all(request: Request, gate: Gate) -> Response:
    """Runs, the newest first; `after` is the `last_id` of the page before."""
    asked = request.query_params
    status = asked.get("status", "")
    if status and status not in STATUSES:
        raise InvalidField(f"The parameter 'status' must be one of: {', '.join(STATUSES)}.", param="status")
    limit = whole_number(request, "limit", 100, _MOST_LISTED)
    span = asked_span(request, "since", "until")
    query = _visible(request, "runs:read")._replace(
        model=asked.get("model", ""),
        key=asked.get("key", ""),
        user=asked.get("user", ""),
        tenant=asked.get("tenant", ""),
        since=span.since,
        until=span.until,
        after=_place(asked.get("after", "")),
    )
    running = await _running(query, gate, limit + 1) if status in ("", "running") else []
    past = await gate.runs.find(query, status, limit + 1) if gate.runs is not None and status != "running" else []
    ended = {one.span for one in past}
    lines = [(one.place, past_line(one)) for one in past]
    lines += [(one.place, running_line(one)) for one in running if one.span not in ended]
    lines.sort(key=lambda line: line[0], reverse=True)
    page = lines[:limit]
    await _note_waiting([line for _, line in page], gate)
    return json_answer(
        {
            "object": "list",
            "data": [line for _, line in page],
            "has_more": len(lines) > limit,
            "last_id": page[-1][0] if page else None,
        }
    )


async def get(request: Request, gate: Gate) -> Response:
    """One run: its attempts, what they cost, why its targets were chosen, and runs made on its behalf."""
    sight = _visible(request, "runs:read")
    running, past = await _both(sight._replace(id=_id(request)), gate)
    if not running and not past:
        raise RunNotFound("There is no such run.")
    one = _best([*running, *past], sight.own)
    run_id = one.id if isinstance(one, Running) else one.final.run
    young, old = await _both(sight._replace(parent=run_id), gate)
    children = [*map(past_line, reversed(old)), *map(running_line, reversed(young))]
    told = running_whole(one, children) if isinstance(one, Running) else past_whole(one, children)
    await _note_waiting([told, *children], gate)
    return json_answer(told)


async def _note_waiting(lines: Sequence[dict[str, Any]], gate: Gate) -> None:
    """Say of runs that ended and of which something waits for an answer that they do, and which actions those are."""
    ended = [line["id"] for line in lines if line["status"] == "completed"]
    if not ended or gate.deps.state is None:
        return
    waiting = await gate.deps.state.actions.waiting_in(ended)
    for line in lines:
        found = waiting.get((Owner(line["tenant"], line["user"]), line["id"]))
        if found and line["status"] == "completed":
            line |= {"status": "requires_action", "actions": found}


async def cancel(request: Request, gate: Gate) -> Response:
    """Stop a run in flight, whichever worker serves it; its caller is told `run_cancelled`."""
    query = _visible(request, "runs:write")._replace(id=_id(request))
    running, past = await _both(query, gate)
    if not running:
        raise RunNotRunning("The run has ended already.") if past else RunNotFound("There is no such run.")
    one = _best(running, query.own)
    assert isinstance(one, Running)
    if gate.audit is not None:
        await gate.audit.record(_act(one))
    if not await stop_anywhere(one.span, who_asks(request).key_id, gate):
        if gate.audit is not None:
            await gate.audit.record(_act(one, RunNotRunning.code))
        raise RunNotRunning("The run has ended already.")
    _, ended = await _both(query, gate)
    lines = (past_line(past) for past in ended if past.span == one.span)
    return json_answer(next(lines, {**running_line(one), "status": "cancelled"}))


async def answer_peer(question: dict[str, Any], gate: Gate) -> Any:
    """What another worker wants to know, or to have done."""
    if "stop" in question:
        return await _stop_here(question["stop"], question["by"], gate)
    return [plain(one) for one in seen(_here(gate), RunQuery(*question["seen"]), question["limit"])]


def _here(gate: Gate) -> list[Any]:
    return [*_tasks(gate).values()]


async def _stop_here(span: str, by: str, gate: Gate) -> bool:
    return await stop(_tasks(gate), span, by)


def _tasks(gate: Gate) -> dict["asyncio.Task[Any]", Run]:
    """Of a call that goes on without its caller, the task that makes it, not those who listen."""
    heard = {task: run for task, run in gate.active.items() if not run.is_accounted}
    return {**heard, **gate.detached, **gate.deps.mirrors, **gate.deps.background}


async def _running(query: RunQuery, gate: Gate, limit: int) -> list[Running]:
    """Those in flight, of all workers, the newest first."""
    found = seen(_here(gate), query, limit)
    if gate.peers is not None:
        for told in await gate.peers.ask({"seen": tuple(query), "limit": limit}):
            found += map(from_plain, told)
    return sorted(found, key=lambda one: one.place, reverse=True)


async def stop_anywhere(span: str, by: str, gate: Gate) -> bool:
    """Stop the run of a span on whichever worker of this machine; False if it has ended."""
    if await _stop_here(span, by, gate):
        return True
    return gate.peers is not None and any(await gate.peers.ask({"stop": span, "by": by}))


async def _both(query: RunQuery, gate: Gate) -> tuple[list[Running], list[Past]]:
    """Those in flight, and those that ended, the newest of each first."""
    running = await _running(query, gate, _MOST_OF_ONE)
    past = await gate.runs.find(query, "", _MOST_OF_ONE) if gate.runs is not None else []
    ended = {one.span for one in past}
    return [one for one in running if one.span not in ended], past


def _best(found: Sequence[Running | Past], own: str) -> Running | Past:
    """Callers choose ids, so two runs may have one: rather one of the asking key, and the newest."""
    newest = sorted(found, key=lambda one: one.place, reverse=True)
    return next((one for one in newest if (one.key if isinstance(one, Running) else one.final.key) == own), newest[0])


def _visible(request: Request, scope: str) -> RunQuery:
    who = who_asks(request)
    tenants = tenants_with(who, scope)
    return RunQuery(tenants=None if tenants is None else tuple(sorted(tenants)), own=who.key_id)


def _place(given: str) -> str:
    try:
        if given:
            started_in(given)
    except ValueError:
        given = "?" * (_LONGEST_PLACE + 1)
    if len(given) > _LONGEST_PLACE:
        raise InvalidField("The parameter 'after' must be the `last_id` of a page.", param="after")
    return given


def _id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found


def _act(one: Running, error: str = "") -> Act:
    return Act("run.cancelled", "run", one.id, one.tenant, before={"owner": one.key, "model": one.model}, error=error)
