"""Stored conversations as callers name them. The id of a segment stands for the conversation that it belongs to."""

import re

from headgate.api.gate import Gate
from headgate.conversations.types import Owner
from headgate.core.errors import InvalidField, InvalidHeader
from headgate.core.run import Continues, Run
from headgate.core.state_errors import ConversationArchived, StateUnavailable

CONVERSATION = b"x-conversation-id"
_ID = re.compile(rb"conv_[0-9a-f]{32}")
_NAMED = re.compile(rb"(?:conv|seg)_[0-9a-f]{32}")
_SEGMENT = "seg_"


def conversation_id(header: bytes) -> str:
    """The id that a header holds, empty for a new conversation; raises InvalidHeader."""
    if header and not _NAMED.fullmatch(header):
        message = "The header X-Conversation-ID must be the id of a conversation, or empty for a new one."
        raise InvalidHeader(message, param="x-conversation-id")
    return header.decode()


def id_in_body(given: object) -> str:
    """The id in the field `conversation_id`, empty for a new conversation; raises InvalidField."""
    if given is None or given == "":
        return ""
    if not isinstance(given, str) or not _NAMED.fullmatch(given.encode()):
        message = "The field 'conversation_id' must be the id of a conversation, or left out for a new one."
        raise InvalidField(message, param="conversation_id")
    return given


def is_conversation_id(text: str) -> bool:
    return _ID.fullmatch(text.encode()) is not None


async def live(asked: Continues, run: Run, gate: Gate) -> Continues:
    """The same with the conversation in which a segment goes on; raises ConversationNotFound."""
    if not asked.conversation.startswith(_SEGMENT):
        return asked
    if gate.deps.state is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    try:
        head = await gate.deps.state.heads.get(asked.conversation, Owner(run.who.tenant, run.who.user))
    except ConversationArchived as archived:
        return asked._replace(conversation=archived.successor)
    return asked._replace(conversation=head.id)
