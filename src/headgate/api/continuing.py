"""What a call of the Responses API says of stored state."""

from collections.abc import Mapping
from typing import Any

from headgate.api.conversations import conversation_id
from headgate.core.errors import InvalidField
from headgate.core.run import Continues

_LONGEST_ID = 128


def continuation(fields: Mapping[str, Any], header: bytes | None) -> Continues | None:
    """What a call says of stored state; None for one that neither keeps anything nor goes on from what is kept."""
    store, background = _flag(fields, "store"), _flag(fields, "background") or False
    previous, told = fields.get("previous_response_id"), fields.get("conversation")
    if previous is not None and (type(previous) is not str or not 0 < len(previous) <= _LONGEST_ID):
        raise InvalidField(
            "The field 'previous_response_id' must be the id of a response.", param="previous_response_id"
        )
    conversation = _conversation(told)
    if not conversation and header is not None:
        conversation = conversation_id(header)
    if previous and conversation:
        message = "A response goes on from 'previous_response_id' or in a 'conversation', not both."
        raise InvalidField(message, param="conversation")
    keeps = store is not False
    if background and not keeps:
        raise InvalidField(
            "The field 'background' needs 'store' to be true: the answer is fetched later.", param="background"
        )
    if not keeps and not previous and not conversation:
        return None
    return Continues(conversation, "", previous or "", keeps, background)


def _flag(fields: Mapping[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    if value is not None and type(value) is not bool:
        raise InvalidField(f"The field '{name}' must be true or false.", param=name)
    return value


def _conversation(told: object) -> str:
    if told is None:
        return ""
    given = told.get("id") if isinstance(told, dict) else told
    if type(given) is not str or not 0 < len(given) <= _LONGEST_ID:
        message = "The field 'conversation' must be the id of a conversation, or an object with it as 'id'."
        raise InvalidField(message, param="conversation")
    return given
