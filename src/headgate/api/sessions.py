"""A turn of an agent's session: one message, or further ones, told to the agent with all that was said before."""

from headgate.api.agents import AgentChat
from headgate.api.conversations import CONVERSATION, conversation_id, is_conversation_id
from headgate.api.door import door_request, parse_turn
from headgate.api.gate import Scope
from headgate.core.errors import InvalidHeader
from headgate.core.request import JsonRequest, ModelRequest
from headgate.core.run import Continues, Run
from headgate.core.state_errors import ConversationNotFound
from headgate.core.surfaces import Surface


class SessionTurn(AgentChat):
    """`POST /a1/agents/{name}/sessions/{id}/messages`; the answer is a chat completion, or its stream."""

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        id_ = scope["path_params"]["id"]
        if not is_conversation_id(id_):
            raise ConversationNotFound(f"There is no session '{id_}'.")
        if conversation_id(headers.get(CONVERSATION, b"")) not in ("", id_):
            message = "The header X-Conversation-ID names another conversation than the path: leave it out."
            raise InvalidHeader(message, param="x-conversation-id")
        request = super()._parse(raw, headers, run, scope)
        assert isinstance(request, JsonRequest)
        run.continues = Continues(id_, request.model)
        return door_request(request, request.model, f"{request.model} {id_}".encode())

    def _read_chat(self, surface: Surface, raw: bytes) -> JsonRequest:
        return parse_turn(surface, raw)[0]
