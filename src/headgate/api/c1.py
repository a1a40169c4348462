"""`POST /c1/chat`: one message of a stored conversation, told to the model with all that was said before."""

from typing import Any

from headgate.api.conversations import CONVERSATION, conversation_id, id_in_body
from headgate.api.door import DoorRequest, door_request, parse_turn
from headgate.api.gate import Gate, Scope
from headgate.api.relay import ModelRoute
from headgate.core.errors import InvalidField
from headgate.core.request import ModelRequest
from headgate.core.run import Continues, Run
from headgate.core.surfaces import CHAT

_LONGEST_PROVIDER = 128


class C1Chat(ModelRoute):
    """The answer is a chat completion; the header `x-conversation-id` says where it is kept."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(CHAT, gate)

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        request, ours = parse_turn(CHAT, raw, "conversation_id", "provider")
        conversation = id_in_body(ours.get("conversation_id"))
        if header := conversation_id(headers.get(CONVERSATION, b"")):
            if conversation and header != conversation:
                message = "The field 'conversation_id' and the header X-Conversation-ID name two conversations."
                raise InvalidField(message, param="conversation_id")
            conversation = header
        run.continues = Continues(conversation)
        run.provider = _provider(ours.get("provider"))
        made: DoorRequest = door_request(request, request.model, f"c1 {conversation} {run.provider}".encode())
        return made


def _provider(given: Any) -> str:
    if given is None:
        return ""
    if not isinstance(given, str) or not given or len(given) > _LONGEST_PROVIDER or not given.isprintable():
        message = "The field 'provider' must be the name of an upstream or of a provider."
        raise InvalidField(message, param="provider")
    return given
