"""Stored conversations for their owners: `/c1/conversations`, and an agent's as its sessions.

Both doors show the same conversations by the same ids; an agent's sessions are those that are bound to it.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.agents import agent_for
from headgate.api.answers import json_answer
from headgate.api.conversation_shapes import conversation_shape, item_shape, lineage_shape, segment_shape
from headgate.api.conversations import is_conversation_id
from headgate.api.fields import read_fields, who_asks, whole_number
from headgate.api.gate import Gate
from headgate.api.resume import owner_of, state_of
from headgate.conversations.types import Conversation, Item, Query, new_id
from headgate.core.errors import InvalidField, MissingField
from headgate.core.state_errors import ConversationNotFound

_MOST = 100
_USUAL = 20
_MOST_ITEMS = 1000
_USUAL_ITEMS = 100
_FARTHEST = 100_000
_LONGEST = 512
_MOST_METADATA = 16_384
_LEASE_SECONDS = 10.0


async def list_all(request: Request, gate: Gate) -> Response:
    """One's own, the one used last first; of an agent, its sessions."""
    owner, state = owner_of(request, gate), state_of(gate)
    agent = agent_of(request, gate)
    limit = whole_number(request, "limit", _USUAL, _MOST)
    offset = _offset(request)
    text = request.query_params.get("q", "")
    if len(text) > _LONGEST or "\0" in text:
        raise InvalidField(f"The parameter 'q' must be a text of at most {_LONGEST} characters.", param="q")
    after = _place(request.query_params.get("cursor", ""))
    if offset and after:
        raise InvalidField("Give 'cursor' or 'offset', not both.", param="offset")
    found = await state.heads.page(owner, Query(limit, after, agent, text, offset))
    page, kind = found[:limit], _kind(agent)
    more = len(found) > limit
    return json_answer(
        {
            "object": "list",
            "items": [conversation_shape(one, kind) for one in page],
            "limit": limit,
            "offset": offset,
            "has_more": more,
            "next_cursor": f"{page[-1].touched:x}.{page[-1].id}" if more else None,
        }
    )


async def create_session(request: Request, gate: Gate) -> Response:
    """An empty session of an agent, with `title` and `metadata` if they are given."""
    owner, state = owner_of(request, gate), state_of(gate)
    agent = agent_of(request, gate)
    title, metadata = _named(await read_fields(request, empty=True))
    head = await state.heads.create(owner, agent=agent or "", model=agent or "", metadata=metadata)
    if title:
        head = await state.heads.update(head, title=title)
    return json_answer(conversation_shape(head, _kind(agent)), 201)


async def get(request: Request, gate: Gate) -> Response:
    """One, without its items."""
    return _told(request, await _head(request, gate))


async def update(request: Request, gate: Gate) -> Response:
    """Another `title` or other `metadata`; what is left out stays."""
    head = await _head(request, gate)
    title, metadata = _named(await read_fields(request))
    return _told(request, await state_of(gate).heads.update(head, metadata, title=title))


async def delete(request: Request, gate: Gate) -> Response:
    """Take it away with all that was said in it; its forks stay."""
    head = await _head(request, gate)
    await state_of(gate).heads.delete(head)
    return json_answer({"id": head.id, "object": f"{_word(request)}.deleted", "deleted": True})


async def list_items(request: Request, gate: Gate) -> Response:
    """What was said, oldest first, or newest first with `order=desc`; `after` and `before` are ids of items."""
    head = await _head(request, gate)
    heads, asked = state_of(gate).heads, request.query_params
    limit = whole_number(request, "limit", _USUAL_ITEMS, _MOST_ITEMS)
    order = asked.get("order", "asc")
    if order not in ("asc", "desc"):
        raise InvalidField("The parameter 'order' must be asc or desc.", param="order")
    after, before = asked.get("after"), asked.get("before")
    if after and before:
        raise InvalidField("Give 'after' or 'before', not both.", param="before")
    edge = (await heads.item(head, _item_id(after or before, "after"))).position if after or before else None
    forwards = (order == "asc") is not bool(before)
    if forwards:
        found = await heads.items(head, edge or 0, limit + 1)
    else:
        found = await heads.latest(head, edge, limit + 1)
    page: list[Item] = found[:limit] if not before else found[:limit][::-1]
    return json_answer(
        {
            "object": "list",
            "data": [item_shape(one) for one in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": len(found) > limit,
        }
    )


async def fork(request: Request, gate: Gate) -> Response:
    """A conversation of its own that goes on behind `item`, or behind the last one; both go their ways."""
    head = await _head(request, gate)
    heads, fields = state_of(gate).heads, await read_fields(request, empty=True)
    given = _only_item(fields)
    position = (await heads.item(head, _item_id(given))).position if given is not None else head.depth
    return _told(request, await heads.fork(head, position), 201)


async def rewind(request: Request, gate: Gate) -> Response:
    """Go on behind `item`, or from the beginning if it is null. What came after stays to be read in its segment."""
    head = await _head(request, gate)
    state, fields = state_of(gate), await read_fields(request)
    given = _only_item(fields)
    if "item" not in fields:
        raise MissingField("The field 'item' is required.", param="item")
    holder = new_id("act")
    await gate.deps.second_turn.at_once(
        head.id, lambda: state.runs.hold(head, holder, _LEASE_SECONDS)
    )  # nobody adds to what is cut off
    try:
        head = await state.heads.get(head.id, head.owner)
        position = (await state.heads.item(head, _item_id(given))).position if given is not None else 0
        head = await state.heads.rewind(head, position)
    finally:
        await state.runs.release(head, holder)
    return _told(request, head)


async def lineage(request: Request, gate: Gate) -> Response:
    """How it came about: its segments, what it was forked from, and what was forked from it."""
    head = await _head(request, gate)
    heads = state_of(gate).heads
    return json_answer(lineage_shape(head, await heads.lineage(head), await heads.children(head.id)))


async def diff(request: Request, gate: Gate) -> Response:
    """What each compaction of it covers, the newest first: the items themselves, and what stands in their place."""
    head = await _head(request, gate)
    heads = state_of(gate).heads
    limit = whole_number(request, "limit", _USUAL_ITEMS, _MOST_ITEMS)
    told = []
    for segment in reversed(await heads.lineage(head)):
        if segment.covers is None:
            continue
        first, last = segment.covers
        kept = {position for position in segment.keeps if first <= position <= last}
        found = await heads.items(head, first - 1, min(last - first + 1, limit + len(kept)))
        covered = [one for one in found if one.position <= last and one.position not in kept]
        summary = await heads.items(head, segment.base, 1)
        told.append(
            {
                **segment_shape(segment),
                "summary": item_shape(summary[0]) if summary else None,
                "covered": [item_shape(one) for one in covered[:limit]],
                "covered_count": last - first + 1 - len(kept),
            }
        )
    return json_answer({"object": "list", "id": head.id, "data": told})


def agent_of(request: Request, gate: Gate) -> str | None:
    """The agent that the path names; None if it names none. Raises AgentNotFound."""
    name = request.path_params.get("name")
    return None if name is None else agent_for(name, who_asks(request), gate).name


async def _head(request: Request, gate: Gate) -> Conversation:
    owner, state = owner_of(request, gate), state_of(gate)
    agent, id_ = agent_of(request, gate), request.path_params["id"]
    if not is_conversation_id(id_):
        raise ConversationNotFound(f"There is no {_word(request)} '{id_}'.")
    head = await state.heads.get(id_, owner)
    if agent is not None and head.agent != agent:
        raise ConversationNotFound(f"The agent '{agent}' has no session '{id_}'.")
    return head


def _told(request: Request, head: Conversation, status: int = 200) -> Response:
    return json_answer(conversation_shape(head, _word(request)), status)


def _word(request: Request) -> str:
    return _kind(request.path_params.get("name"))


def _kind(agent: str | None) -> str:
    return "conversation" if agent is None else "session"


def _offset(request: Request) -> int:
    given = request.query_params.get("offset", "0")
    if not (given.isascii() and given.isdigit() and int(given[:20]) <= _FARTHEST):
        raise InvalidField(f"The parameter 'offset' must be a whole number from 0 to {_FARTHEST}.", param="offset")
    return int(given)


def _place(cursor: str) -> tuple[int, str] | None:
    if not cursor:
        return None
    touched, _, id_ = cursor.partition(".")
    try:
        at = int(touched[:12], 16)
    except ValueError:
        at = -1
    if at < 0 or not is_conversation_id(id_):
        raise InvalidField("The parameter 'cursor' must be the `next_cursor` of a page.", param="cursor")
    return at, id_


def _only_item(fields: dict[str, Any]) -> object:
    for name in fields:
        if name != "item":
            raise InvalidField(f"There is no field '{name}' here.", param=name)
    return fields.get("item")


def _item_id(given: object, where: str = "item") -> str:
    if not isinstance(given, str) or not given or len(given) > _LONGEST or not given.isprintable():
        raise InvalidField(f"The field '{where}' must be the id of an item of the conversation.", param=where)
    return given


def _named(fields: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """(title, metadata), None for what is not given."""
    for name in fields:
        if name not in ("title", "metadata"):
            raise InvalidField(f"There is no field '{name}' here.", param=name)
    title, metadata = fields.get("title"), fields.get("metadata")
    if title is not None and (not isinstance(title, str) or len(title) > _LONGEST or "\0" in title):
        raise InvalidField(f"The field 'title' must be a text of at most {_LONGEST} characters.", param="title")
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidField("The field 'metadata' must be an object.", param="metadata")
    if metadata is not None and len(str(metadata)) > _MOST_METADATA:
        raise InvalidField(f"The field 'metadata' holds more than {_MOST_METADATA} characters.", param="metadata")
    return title, metadata
