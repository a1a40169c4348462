"""Stored conversations as callers name them."""

import re

from headgate.core.errors import InvalidField, InvalidHeader

CONVERSATION = b"x-conversation-id"
_ID = re.compile(rb"conv_[0-9a-f]{32}")


def conversation_id(header: bytes) -> str:
    """The id that a header holds, empty for a new conversation; raises InvalidHeader."""
    if header and not _ID.fullmatch(header):
        message = "The header X-Conversation-ID must be the id of a conversation, or empty for a new one."
        raise InvalidHeader(message, param="x-conversation-id")
    return header.decode()


def id_in_body(given: object) -> str:
    """The id in the field `conversation_id`, empty for a new conversation; raises InvalidField."""
    if given is None or given == "":
        return ""
    if not isinstance(given, str) or not is_conversation_id(given):
        message = "The field 'conversation_id' must be the id of a conversation, or left out for a new one."
        raise InvalidField(message, param="conversation_id")
    return given


def is_conversation_id(text: str) -> bool:
    return _ID.fullmatch(text.encode()) is not None
