"""Stored responses as callers see them: shown, streamed again, cancelled, deleted."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.gate import Gate
from headgate.api.queries import is_true, whole_number
from headgate.api.resume import number_after, owner_of, state_of, stream_of
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, Item, StoredRun, milliseconds
from headgate.core.errors import InvalidField
from headgate.core.state_errors import ItemNotFound, ResponseNotFound, ResponseNotInBackground
from headgate.pipeline.background import cancelled

_STOP_SECONDS = 5.0
_PAUSE = 0.05
_AT_WORK = ("queued", "in_progress")
_MOST_LISTED = 100


async def get(request: Request, gate: Gate) -> Response:
    """One response; with `stream=true` its events, as they were sent, behind `starting_after`."""
    stored = await _found(request, gate)
    if is_true(request, "stream"):
        return await stream_of(stored, number_after(request, stored.id), gate)
    return json_answer(_shown(stored))


async def delete(request: Request, gate: Gate) -> Response:
    """Take it away with its events; its items stay in their conversation. If nobody waits for it, it ends first."""
    stored = await _found(request, gate)
    if stored.status in _AT_WORK and await _may_stop(stored, gate):
        await _stop(stored, gate)
    await state_of(gate).runs.delete(stored)
    return json_answer({"id": stored.id, "object": "response", "deleted": True})


async def cancel(request: Request, gate: Gate) -> Response:
    """Stop a response in the background, whichever worker makes it. One that has ended stays as it is."""
    stored = await _found(request, gate)
    if not await _may_stop(stored, gate):
        raise ResponseNotInBackground(f"The response '{stored.id}' was not made in the background.", param="id")
    if stored.status in _AT_WORK:
        await _stop(stored, gate)
        stored = await _found(request, gate)
    return json_answer(_shown(stored))


async def _may_stop(stored: StoredRun, gate: Gate) -> bool:
    """One in the background, or whose caller left; the caller of another one ends it by leaving."""
    watch = gate.deps.watch
    return stored.background or (stored.status in _AT_WORK and watch is not None and await watch.lingers(stored))


async def _stop(stored: StoredRun, gate: Gate) -> None:
    """On whatever worker it is at work, which keeps what was said. Where none answers, its end is only noted."""
    watch, state = gate.deps.watch, state_of(gate)
    assert watch is not None
    await watch.stop(stored.id)
    until = monotonic() + _STOP_SECONDS
    now = await state.runs.get(stored.id, stored.owner)
    while now.status in _AT_WORK and now.held_until > milliseconds() and monotonic() < until:
        await asyncio.sleep(_PAUSE)
        now = await state.runs.get(stored.id, stored.owner)
    if now.status in _AT_WORK:
        await cancelled(stored, gate.deps)


async def input_items(request: Request, gate: Gate) -> Response:
    """What the model was told before it answered, page by page; the newest first, unless `order` is `asc`."""
    stored = await _found(request, gate)
    state = state_of(gate)
    head = await state.heads.get(stored.conversation, stored.owner)
    upto = stored.base
    if stored.status in ("queued", "in_progress"):
        given = stored.request.get("input")
        items = given if isinstance(given, list) else [{"type": "message", "role": "user", "content": given}]
        return json_answer(_list([dict(one) for one in items if isinstance(one, dict)], has_more=False))
    at_end = replace(head, segment=stored.segment or head.segment, depth=upto)
    return json_answer(await item_page(request, state, at_end))


async def item_page(request: Request, state: State, head: Conversation) -> dict[str, Any]:
    """A page of a conversation's items, as `limit`, `order`, `after` and `before` ask for it."""
    limit = whole_number(request, "limit", 20, _MOST_LISTED)
    order = request.query_params.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidField("The parameter 'order' must be 'asc' or 'desc'.", param="order")
    after, before = await _place(request, "after", state, head), await _place(request, "before", state, head)
    if order == "asc":
        found = await state.heads.items(head, after=after or 0, limit=limit + 1)
        found = [one for one in found if before is None or one.position < before]
    else:
        found = await state.heads.latest(head, before=after, limit=limit + 1)
        found = [one for one in found if before is None or one.position > before]
    return _list([shown_item(one) for one in found[:limit]], has_more=len(found) > limit)


async def _place(request: Request, name: str, state: State, head: Conversation) -> int | None:
    given = request.query_params.get(name)
    if not given:
        return None
    try:
        return (await state.heads.item(head, given)).position
    except ItemNotFound:
        raise InvalidField(f"The parameter '{name}' must be the id of an item of the list.", param=name) from None


def shown_item(item: Item) -> dict[str, Any]:
    return dict(item.data)


def _list(data: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    first, last = (data[0].get("id"), data[-1].get("id")) if data else (None, None)
    return {"object": "list", "data": list(data), "first_id": first, "last_id": last, "has_more": has_more}


def _shown(stored: StoredRun) -> dict[str, Any]:
    response = dict(stored.response or {})
    if stored.status == "requires_action":
        return {**response, "status": "completed"}
    return {**response, "status": stored.status}


async def _found(request: Request, gate: Gate) -> StoredRun:
    id_ = request.path_params["id"]
    if gate.deps.state is None:
        raise ResponseNotFound(
            f"There is no response '{id_}': responses are not stored here, so keep what POST /v1/responses answers.",
            param="id",
        )
    try:
        return await gate.deps.state.runs.get(id_, owner_of(request, gate))
    except ResponseNotFound:
        raise ResponseNotFound(f"There is no response '{id_}'.", param="id") from None
