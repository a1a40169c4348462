"""Where a response goes on from what is kept, and what the model is asked then."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from headgate.conversations.types import OPEN, Conversation, StoredRun
from headgate.core.errors import HeadgateError
from headgate.core.request import JsonRequest, json_request
from headgate.core.state_errors import (
    ConversationBusy,
    ConversationNotFound,
    PreviousResponseNotFound,
    ResponseNotFound,
    ResponseUnfinished,
)
from headgate.core.surfaces import RESPONSES, Surface
from headgate.pipeline.claim import Claim
from headgate.pipeline.second_turn import SecondTurn

OURS = ("previous_response_id", "conversation", "background", "store")
"""What a request says of stored state, which is ours to keep."""
_AT_ONCE = SecondTurn()
_END_SECONDS, _PAUSE = 2.0, 0.01


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


async def place(claim: Claim, second: SecondTurn) -> None:
    """Find the conversation to go on in, if there is one, and hold it if the turn is to be kept."""
    asked = claim.run.continues
    assert asked is not None
    if asked.previous:
        try:
            try:
                await _place_after(asked.previous, claim, keeps=asked.keeps)
            except ResponseUnfinished:
                if not await _has_ended(asked.previous, claim, second):
                    raise
                await _place_after(asked.previous, claim, keeps=asked.keeps)
        except (ResponseNotFound, ConversationNotFound):
            message = f"Previous response with id '{asked.previous}' not found."
            raise PreviousResponseNotFound(message, param="previous_response_id") from None
    elif asked.conversation and asked.keeps:
        await claim.take(asked.conversation, second)
    elif asked.conversation:
        await _read(await claim.state.heads.get(asked.conversation, claim.owner), claim)


async def _place_after(previous: str, claim: Claim, *, keeps: bool) -> None:
    """Behind a response: in its conversation if that ends with it and is free, or else in a fork."""
    state, owner = claim.state, claim.owner
    if not keeps:
        stored = await state.runs.get(previous, owner)
        head = await state.heads.get(stored.conversation, owner)
        await _read(head if _ends_with(stored, head) else (await _at_end_of(stored, head, claim))[0], claim)
        return
    try:
        stored, head, told = await state.turns.after(previous, owner, claim.lease, _ends_with)
    except HeadgateError:
        raise
    except BaseException:
        await asyncio.shield(_let_go(previous, claim))
        raise
    if told is not None:
        claim.have(head, told, is_held=True)
        return
    head, is_end = (head, False) if _ends_with(stored, head) else await _at_end_of(stored, head, claim)
    if is_end:
        with suppress(ConversationBusy):
            await claim.take(head.id, _AT_ONCE)
            if (claim.head.revision, claim.head.depth) == (head.revision, head.depth):
                return
            await claim.release()
    await claim.take((await state.heads.fork(head, head.depth)).id, _AT_ONCE)


async def _has_ended(previous: str, claim: Claim, second: SecondTurn) -> bool:
    """Whether a response that nobody waits for any more has made way."""
    runs = claim.state.runs
    stored = await runs.get(previous, claim.owner)
    if not await second.dismiss(stored.conversation):
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            while stored.status in OPEN:
                await asyncio.sleep(_PAUSE)
                stored = await runs.get(previous, claim.owner)
    return stored.status not in OPEN


def _ends_with(stored: StoredRun, head: Conversation) -> bool:
    """Whether a conversation ends with a response. Raises ResponseUnfinished, and PreviousResponseNotFound for a
    response that left nothing.
    """
    previous = stored.id
    if stored.status in ("queued", "in_progress"):
        raise ResponseUnfinished(f"The response '{previous}' is not finished.", param="previous_response_id")
    kept = _kept(stored)
    if not kept and stored.status not in ("completed", "incomplete"):
        raise PreviousResponseNotFound(
            f"The response '{previous}' is {stored.status} and left nothing to go on from.",
            param="previous_response_id",
        )
    return (head.segment, head.depth) == (stored.segment, stored.base + kept)


async def _at_end_of(stored: StoredRun, head: Conversation, claim: Claim) -> tuple[Conversation, bool]:
    """The conversation as it was at the end of a response, and whether that is its head.

    A summary of what was said before changes nothing of that.
    """
    heads, end = claim.state.heads, stored.base + _kept(stored)
    if head.depth > end and stored.segment in {one.id for one in await heads.lineage(head)}:
        later = await heads.items(head, after=end, limit=20)
        if later and all(one.data.get("type") == "compaction" for one in later):
            return head, True
    return replace(head, segment=stored.segment, depth=end), False


def _kept(stored: StoredRun) -> int:
    return len((stored.response or {}).get("output") or ())


async def _read(head: Conversation, claim: Claim) -> None:
    """Go on from what is kept without holding it."""
    claim.have(head, await claim.state.heads.told(head), is_held=False)


async def _let_go(previous: str, claim: Claim) -> None:
    """What may have been held for a caller who left."""
    with suppress(HeadgateError):
        stored = await claim.state.runs.get(previous, claim.owner)
        await claim.state.turns.release(stored.conversation, claim.holder)
