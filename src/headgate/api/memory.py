"""`/v1/memory`: what the gateway's tools remember for a user, listed, searched, shown and deleted by that user."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.actions import kept_for
from headgate.api.answers import json_answer
from headgate.api.fields import whole_number
from headgate.api.gate import Gate
from headgate.conversations.types import Memory

_MOST_LISTED = 100


async def list_all(request: Request, gate: Gate) -> Response:
    """The newest first; with `query` those that hold most of its words first."""
    state, owner = kept_for(request, gate)
    limit = whole_number(request, "limit", 20, _MOST_LISTED)
    asked = request.query_params
    if query := asked.get("query", ""):
        found, more = await state.memories.search(owner, query, limit), False
    else:
        found = await state.memories.page(owner, limit, asked.get("after", ""))
        found, more = found[:limit], len(found) > limit
    data = [_shape(one) for one in found]
    last = data[-1]["id"] if data else None
    return json_answer({"object": "list", "data": data, "has_more": more, "last_id": last})


async def get(request: Request, gate: Gate) -> Response:
    state, owner = kept_for(request, gate)
    return json_answer(_shape(await state.memories.get(owner, request.path_params["id"])))


async def delete(request: Request, gate: Gate) -> Response:
    state, owner = kept_for(request, gate)
    id_ = request.path_params["id"]
    await state.memories.delete(owner, id_)
    return json_answer({"id": id_, "object": "memory.deleted", "deleted": True})


async def erase(request: Request, gate: Gate) -> Response:
    """Everything that is remembered for the user."""
    state, owner = kept_for(request, gate)
    return json_answer({"object": "memory.deleted", "deleted": True, "count": await state.memories.erase(owner)})


def _shape(memory: Memory) -> dict[str, Any]:
    return {"id": memory.id, "object": "memory", "text": memory.text, "created": memory.created // 1000}
