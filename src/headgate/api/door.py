"""What doors that keep conversations have in common: one message in place of a whole conversation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from headgate.core.errors import InvalidField, MissingField
from headgate.core.request import JsonRequest, parse_json, read_object
from headgate.core.surfaces import CHAT, Surface

_EXPECTED = "a text, an array of parts, a message with a 'role', or an array of such messages"


@dataclass(slots=True)
class DoorRequest(JsonRequest):
    """A request of which a part does not stand in its bytes, such as its agent in the path."""

    beside: bytes = b""

    @property
    def identity(self) -> bytes:
        return b"%b\0%b" % (self.beside, self.raw)


def door_request(request: JsonRequest, model: str, beside: bytes) -> DoorRequest:
    """The same chat for a model that its bytes do not name."""
    fields = {**request.fields, "model": model}
    return DoorRequest(CHAT, request.raw, fields, model, request.stream, request.wants_usage, beside=beside)


def parse_turn(surface: Surface, raw: bytes, *ours: str) -> tuple[JsonRequest, dict[str, Any]]:
    """The chat of a body that has `message`, and its fields of these names, which are no part of the chat.

    Raises InvalidJson, MissingField or InvalidField.
    """
    fields = read_object(raw)
    if "messages" in fields:
        text = "The conversation is kept here: send what is new in 'message', and leave 'messages' out."
        raise InvalidField(text, param="messages")
    taken = {name: fields.pop(name) for name in ours if name in fields}
    messages = messages_of(fields.pop("message", None))
    return parse_json(surface, orjson.dumps({**fields, "messages": messages})), taken


def messages_of(message: object) -> list[dict[str, Any]]:
    """What a caller says in one turn, as messages; what says nothing of its role is the user's."""
    if message is None:
        raise MissingField("The field 'message' is required.", param="message")
    if isinstance(message, dict):
        message = [message]
    if isinstance(message, list) and message and all(_has_role(one) for one in message):
        for number, one in enumerate(message):
            _check(f"message[{number}].content", one.get("content"), empty=True)
        return message
    _check("message", message)
    return [{"role": "user", "content": message}]


def _has_role(one: object) -> bool:
    return isinstance(one, Mapping) and isinstance(one.get("role"), str)


def _check(where: str, content: object, *, empty: bool = False) -> None:
    if content is None and empty:
        return
    if isinstance(content, str) and (content or empty):
        return
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        return
    raise InvalidField(
        f"The field '{where}' must be {_EXPECTED if where == 'message' else 'a text or parts'}.", param=where
    )
