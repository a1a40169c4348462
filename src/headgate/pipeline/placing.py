"""Where a response goes on from what is kept, and what the model is asked then."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from headgate.conversations.store import State
from headgate.conversations.types import Conversation, Owner
from headgate.core.request import JsonRequest, json_request
from headgate.core.run import Run
from headgate.core.state_errors import (
    ConversationBusy,
    ConversationNotFound,
    PreviousResponseNotFound,
    ResponseNotFound,
    ResponseUnfinished,
)
from headgate.core.surfaces import RESPONSES, Surface
from headgate.pipeline.remember import LEASE_SECONDS
from headgate.pipeline.second_turn import SecondTurn, holder_of

OURS = ("previous_response_id", "conversation", "background", "store")
"""What a request says of stored state, which is ours to keep."""


def request_of(surface: Surface, asked: Mapping[str, Any], items: list[dict[str, Any]], *, stream: bool) -> JsonRequest:
    """What the model is asked: the whole conversation first, so that each turn's call begins like the last."""
    fields = {name: value for name, value in asked.items() if name not in OURS}
    first: dict[str, Any] = {name: fields.pop(name) for name in ("model", "instructions") if name in fields}
    made: dict[str, Any] = {**first, **fields, "input": items}
    if surface is RESPONSES:
        made["store"] = False
    if stream:
        made["stream"] = True
    return replace(json_request(surface, made), wants_usage=False)


async def place(state: State, owner: Owner, run: Run, second: SecondTurn) -> tuple[Conversation | None, bool]:
    """The head to go on from, None for a new one, and whether it is held."""
    asked = run.continues
    assert asked is not None
    if asked.previous:
        head, is_head = await after(state, owner, asked.previous, second)
        if not asked.keeps:
            return head, False
        if is_head:
            with suppress(ConversationBusy):
                await state.runs.hold(head, holder_of(run), LEASE_SECONDS)
                held = await state.heads.get(head.id, owner)
                if (held.revision, held.depth) == (head.revision, head.depth):
                    return held, True
                await state.runs.release(head, holder_of(run))
        head = await state.heads.fork(head, head.depth)
    elif asked.conversation:
        head = await state.heads.get(asked.conversation, owner)
        if not asked.keeps:
            return head, False
    else:
        return None, False
    await second.take(state.runs, head, run, LEASE_SECONDS)
    return await state.heads.get(head.id, owner), True


async def after(state: State, owner: Owner, previous: str, second: SecondTurn) -> tuple[Conversation, bool]:
    """The conversation as it was at the end of a response, and whether that is its head.

    A summary of what was said before changes nothing of that.
    """
    missing = f"Previous response with id '{previous}' not found."
    try:
        stored = await second.ended(state.runs, await state.runs.get(previous, owner))
        head = await state.heads.get(stored.conversation, owner)
    except (ResponseNotFound, ConversationNotFound):
        raise PreviousResponseNotFound(missing, param="previous_response_id") from None
    if stored.status in ("queued", "in_progress"):
        raise ResponseUnfinished(f"The response '{previous}' is not finished.", param="previous_response_id")
    kept = len((stored.response or {}).get("output") or ())
    if not kept and stored.status not in ("completed", "incomplete"):
        raise PreviousResponseNotFound(
            f"The response '{previous}' is {stored.status} and left nothing to go on from.",
            param="previous_response_id",
        )
    end = stored.base + kept
    if (head.segment, head.depth) == (stored.segment, end):
        return head, True
    if head.depth > end and stored.segment in {one.id for one in await state.heads.lineage(head)}:
        later = await state.heads.items(head, after=end, limit=20)
        if later and all(one.data.get("type") == "compaction" for one in later):
            return head, True
    return replace(head, segment=stored.segment, depth=end), False
