"""`/v1/conversations`: OpenAI's Conversations API over what is kept of conversations, whatever door they came by."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import read_fields
from headgate.api.gate import Gate
from headgate.api.responses import item_page, shown_item
from headgate.api.resume import owner_of, state_of
from headgate.conversations.items import kept_of, told_of
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, New, new_id
from headgate.core.errors import InvalidField, MissingField
from headgate.dialects.responses_items import parse_items
from headgate.pipeline.referring import with_referred

_MOST_ADDED = 20
_MOST_PAIRS, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512
_LEASE_SECONDS = 30.0


async def create(request: Request, gate: Gate) -> Response:
    """A new one, with `items` and `metadata` if they are given."""
    state, owner = state_of(gate), owner_of(request, gate)
    fields = await read_fields(request, empty=True)
    metadata = _metadata(fields.get("metadata"))
    given = await with_referred(fields.get("items"), (), owner, state, "items")
    added = _added(given, ()) if given else []
    head = await state.heads.create(owner, metadata=metadata)
    if added:
        await state.heads.append(head, added)
    return json_answer(_shape(head))


async def get(request: Request, gate: Gate) -> Response:
    return json_answer(_shape(await _head(request, gate)))


async def update(request: Request, gate: Gate) -> Response:
    """Other metadata."""
    fields = await read_fields(request)
    if "metadata" not in fields:
        raise MissingField("The field 'metadata' is missing.", param="metadata")
    metadata = _metadata(fields["metadata"])
    return json_answer(_shape(await state_of(gate).heads.update(await _head(request, gate), metadata)))


async def delete(request: Request, gate: Gate) -> Response:
    """Take it away with its responses."""
    head = await _head(request, gate)
    await state_of(gate).heads.delete(head)
    return json_answer({"id": head.id, "object": "conversation.deleted", "deleted": True})


async def list_items(request: Request, gate: Gate) -> Response:
    return json_answer(await item_page(request, state_of(gate), await _head(request, gate)))


async def add_items(request: Request, gate: Gate) -> Response:
    """Items behind the last one; refused while a turn is under way."""
    state = state_of(gate)
    fields = await read_fields(request)
    async with _held(request, gate) as head:
        before = told_of([one.data for one in await state.heads.told(head)])
        given = await with_referred(fields.get("items"), (), head.owner, state, "items")
        _, items = await state.heads.append(head, _added(given, before))
    data = [shown_item(one) for one in items]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return json_answer({"object": "list", "data": data, **ends, "has_more": False})


async def get_item(request: Request, gate: Gate) -> Response:
    head = await _head(request, gate)
    return json_answer(shown_item(await state_of(gate).heads.item(head, request.path_params["item"])))


async def delete_item(request: Request, gate: Gate) -> Response:
    """The conversation without an item; refused while a turn is under way."""
    heads = state_of(gate).heads
    async with _held(request, gate) as head:
        return json_answer(_shape(await heads.remove(head, await heads.item(head, request.path_params["item"]))))


@asynccontextmanager
async def _held(request: Request, gate: Gate) -> AsyncGenerator[Conversation]:
    """The conversation as it stands, while nobody else adds to it."""
    state, head, holder = state_of(gate), await _head(request, gate), new_id("hold")
    await gate.deps.second_turn.at_once(head.id, lambda: state.runs.hold(head, holder, _LEASE_SECONDS))
    try:
        yield await state.heads.get(head.id, head.owner)
    finally:
        await state.runs.release(head, holder)


async def _head(request: Request, gate: Gate) -> Conversation:
    state: State = state_of(gate)
    return await state.heads.get(request.path_params["id"], owner_of(request, gate))


def _shape(head: Conversation) -> dict[str, Any]:
    shape = {"id": head.id, "object": "conversation", "created_at": head.created // 1000}
    return {**shape, "metadata": dict(head.metadata)}


def _added(told: object, before: Any) -> list[New]:
    if not isinstance(told, list) or not 0 < len(told) <= _MOST_ADDED:
        raise InvalidField(f"The field 'items' must be an array of 1 to {_MOST_ADDED} items.", param="items")
    try:
        return [New(fields) for fields in kept_of(parse_items(told, before))]
    except InvalidField as error:
        path = (error.param or "").replace("input", "items", 1)
        raise InvalidField(error.message.replace("'input", "'items", 1), param=path) from None


def _metadata(told: object) -> Mapping[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, dict) or len(told) > _MOST_PAIRS:
        raise InvalidField(f"The field 'metadata' must be an object of up to {_MOST_PAIRS} members.", param="metadata")
    for name, value in told.items():
        if len(name) > _LONGEST_NAME or not isinstance(value, str) or len(value) > _LONGEST_VALUE:
            message = (
                f"The field 'metadata.{name[:_LONGEST_NAME]}' must be a string of up to {_LONGEST_VALUE} characters."
            )
            raise InvalidField(message, param="metadata")
    return told
