"""Compaction of one's own conversations and of agents' sessions, when asked for; and where archived ones go on."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.conversations import is_conversation_id
from headgate.api.fields import read_as
from headgate.api.gate import Gate
from headgate.api.resume import owner_of, state_of
from headgate.api.stored_conversations import agent_of
from headgate.conversations.policy import CompactionWishes
from headgate.conversations.types import Conversation
from headgate.core.errors import InvalidField
from headgate.core.money import usd
from headgate.core.run import Run
from headgate.core.state_errors import ConversationNotFound, StateUnavailable
from headgate.pipeline.compact import Asking, Outcome

ARCHIVED = re.compile(r"^/(?:c1/conversations|a1/agents/.+/sessions)/(seg_[0-9a-f]{32})(?=/|$)")
"""Paths of segments; those that are not the last one of their conversation are archived."""


async def compact(request: Request, gate: Gate) -> Response:
    """Put a summary in the place of what is old. Where nothing is, nothing changes."""
    wishes = await _wishes(request)
    head, run = await _head(request, gate), _run(request)
    compactor = gate.compactor
    if compactor is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    name = head.agent or head.model or wishes.model
    if not name:
        message = "The conversation has no model of its own: name the one that is to write the summary."
        raise InvalidField(message, param="model")
    run.conversation, run.inherits = head.id, wishes.model or ""
    outcome = await compactor.compact_now(head, Asking(name, None, run, gate.deps), wishes.model_dump())
    return json_answer(_told(outcome))


async def put_policy(request: Request, gate: Gate) -> Response:
    """What is to hold of this conversation alone; what is left out is taken from above."""
    wishes = await _wishes(request)
    head = await _head(request, gate)
    head = await state_of(gate).heads.set_compaction(head, wishes.model_dump(exclude_none=True))
    return json_answer(_policy(head))


async def get_policy(request: Request, gate: Gate) -> Response:
    """What was set of this conversation alone."""
    return json_answer(_policy(await _head(request, gate)))


async def archived(request: Request, gate: Gate) -> Response:
    """Raises ConversationArchived, which tells where the conversation of a segment goes on."""
    found = ARCHIVED.match(request.scope["path"])
    assert found is not None
    head = await state_of(gate).heads.get(found[1], owner_of(request, gate))
    raise ConversationNotFound(f"There is no conversation '{head.id}'.")


async def _wishes(request: Request) -> CompactionWishes:
    has_body = int(request.headers.get("content-length") or 0) or "transfer-encoding" in request.headers
    return await read_as(request, CompactionWishes) if has_body else CompactionWishes()


async def _head(request: Request, gate: Gate) -> Conversation:
    owner, state = owner_of(request, gate), state_of(gate)
    agent, id_ = agent_of(request, gate), request.path_params["id"]
    if not is_conversation_id(id_):
        raise ConversationNotFound(f"There is no conversation '{id_}'.")
    head = await state.heads.get(id_, owner)
    if agent is not None and head.agent != agent:
        raise ConversationNotFound(f"The agent '{agent}' has no session '{id_}'.")
    return head


def _run(request: Request) -> Run:
    run: Run = request.scope["run"]
    return run


def _policy(head: Conversation) -> dict[str, Any]:
    return {"id": head.id, "object": "conversation.compaction_policy", "compaction": dict(head.compaction)}


def _told(outcome: Outcome) -> dict[str, Any]:
    segment = outcome.segment
    told = dict(segment.told)
    cost = told.pop("nano_usd", None)
    return {
        "id": outcome.head.id,
        "object": "conversation.compaction",
        "changed": outcome.changed,
        "segment": segment.id,
        "previous_segment": segment.parent or None,
        "covers": list(segment.covers) if segment.covers else None,
        "keeps": list(segment.keeps),
        "cost_usd": None if cost is None else f"{usd(cost):f}",
        **told,
    }
