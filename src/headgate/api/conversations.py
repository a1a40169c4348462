"""Stored conversations as callers name them."""

import re

from headgate.core.errors import InvalidHeader

CONVERSATION = b"x-conversation-id"
_ID = re.compile(rb"conv_[0-9a-f]{32}")


def conversation_id(header: bytes) -> str:
    """The id that a header holds, empty for a new conversation; raises InvalidHeader."""
    if header and not _ID.fullmatch(header):
        message = "The header X-Conversation-ID must be the id of a conversation, or empty for a new one."
        raise InvalidHeader(message, param="x-conversation-id")
    return header.decode()
