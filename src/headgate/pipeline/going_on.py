"""A run goes on once its actions are answered: what somebody said to one of them as a turn of its conversation."""

import asyncio
from collections.abc import AsyncGenerator

import orjson

from headgate.conversations.types import Action, Owner
from headgate.core.chat import ChatEvent
from headgate.core.events import Event, Whole
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.core.state_errors import StateUnavailable
from headgate.pipeline.answering import LEASE_SECONDS, answers_in, catch_up, waiting
from headgate.pipeline.context import Deps
from headgate.pipeline.run import execute
from headgate.pipeline.second_turn import holder_of


async def go_on(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
    """The answer of the model, or, while its run waits for further answers, the action as it is now."""
    rest = await _answered_alone(request, run, deps)
    if isinstance(rest, Action):
        yield Whole(orjson.dumps(shape_of(rest)))
        return
    async for event in execute(rest, run, deps):
        yield event


async def _answered_alone(request: ModelRequest, run: Run, deps: Deps) -> "ModelRequest | Action":
    """The request to go on with; the action where others of its run wait."""
    state = deps.state
    if state is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    _, (answer,) = answers_in(request)
    owner = Owner(run.who.tenant, run.who.user)
    action = await state.actions.get(answer.action, owner)
    if await waiting(action, state) < 2:
        return request
    head = await state.heads.get(action.conversation, owner)
    run.conversation = head.id
    await deps.second_turn.take(state.runs, head, run, LEASE_SECONDS)
    try:
        await catch_up(request, await state.heads.get(head.id, owner), holder_of(run), run, deps)
        if await waiting(action, state):
            return await state.actions.get(action.id, owner)
        return answers_in(request)[0]
    finally:
        await asyncio.shield(state.runs.release(head, holder_of(run)))


def shape_of(action: Action) -> dict[str, object]:
    """An action as callers see it. Times are seconds since the epoch."""
    return {
        "id": action.id,
        "object": "action",
        "kind": action.kind,
        "status": action.status,
        "conversation": action.conversation,
        "run": action.run,
        "model": action.model,
        "tool": action.tool,
        "call_id": action.call or None,
        "arguments": action.arguments,
        "digest": action.digest,
        "rule": action.rule,
        "created": action.created // 1000,
        "expires": action.expires // 1000,
        "answer": dict(action.answer) or None,
        "answered_by": action.by or None,
        "answered": action.answered_at // 1000 or None,
    }
