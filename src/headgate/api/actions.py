"""`/a1/actions`: calls that wait for an approval and questions that wait for an answer, listed, shown and answered.

An action belongs to the tenant and user whose turn asked; nobody else sees or answers it. With the answer the
conversation goes on: what comes back is a chat completion, streamed if that is asked for.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import whole_number
from headgate.api.gate import Gate, Receive, Scope
from headgate.api.idempotency import Story
from headgate.api.relay import ModelRoute
from headgate.conversations.store import State
from headgate.conversations.types import ActionQuery, Owner
from headgate.core.audit import ORIGIN, Origin
from headgate.core.errors import InvalidField, MissingField
from headgate.core.request import ModelRequest, json_request, read_object
from headgate.core.run import Continues, Run
from headgate.core.state_errors import ActionGone, StateUnavailable
from headgate.core.surfaces import CHAT
from headgate.pipeline.answering import Answer, answer_item, json_object
from headgate.pipeline.going_on import go_on, shape_of

_PASSED_ON = (
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "reasoning_effort",
)
_FIELDS = frozenset(("decision", "arguments", "text", "reason", "digest", "model", *_PASSED_ON))
_DECISIONS = ("approve", "reject", "edit", "answer")
_LONGEST = 100_000
_MOST_LISTED = 100


async def list_all(request: Request, gate: Gate) -> Response:
    """The caller's own, the newest first; `waiting=true` for those that can be answered."""
    state, owner = kept_for(request, gate)
    asked = request.query_params
    limit = whole_number(request, "limit", 20, _MOST_LISTED)
    wanted = asked.get("waiting", "false")
    if wanted not in ("true", "false"):
        raise InvalidField("The parameter 'waiting' must be true or false.", param="waiting")
    query = ActionQuery(limit, asked.get("after", ""), asked.get("conversation", ""), waiting=wanted == "true")
    found = await state.actions.page(owner, query)
    data = [shape_of(one) for one in found[:limit]]
    last = data[-1]["id"] if data else None
    return json_answer({"object": "list", "data": data, "has_more": len(found) > limit, "last_id": last})


async def get(request: Request, gate: Gate) -> Response:
    state, owner = kept_for(request, gate)
    return json_answer(shape_of(await state.actions.get(request.path_params["id"], owner)))


def kept_for(request: Request, gate: Gate) -> tuple[State, Owner]:
    """What is kept, and whose part of it a control route may see; raises StateUnavailable, UserRequired."""
    run: Run = request.scope["run"]
    gate.enter(run, dict(request.scope["headers"]))
    return _state(gate), Owner(run.who.tenant, run.who.user)


def _state(gate: Gate) -> State:
    if gate.deps.state is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    return gate.deps.state


class AnswerAction(ModelRoute):
    """Answer an action once, and let its conversation go on."""

    story: Story = staticmethod(go_on)

    def __init__(self, gate: Gate) -> None:
        super().__init__(CHAT, gate)

    async def _read(self, receive: Receive, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        read = await super()._read(receive, headers, run, scope)
        action = await _state(self._gate).actions.get(scope["path_params"]["id"], Owner(run.who.tenant, run.who.user))
        digest = read.fields["digest"]
        if digest and digest != action.digest:
            raise ActionGone(f"The action {action.id} is for another call than the one with this digest.")
        fields = {name: value for name, value in read.fields.items() if name != "digest"}
        request = json_request(CHAT, {**fields, "model": action.model})
        client = scope.get("client")
        ORIGIN.set(Origin(run.who, client[0] if client else "", run.id))
        run.model, run.asked, run.inherits = action.model, request.fields, read.model
        run.continues = Continues(action.conversation)
        return request

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        """The answer as a message; the model is known once the action was found."""
        fields = read_object(raw)
        for name in fields.keys() - _FIELDS:
            raise InvalidField(f"There is no field '{name[:64]}' here.", param=name[:64])
        messages = [answer_item(_answer(scope["path_params"]["id"], fields))]
        asked = {name: fields[name] for name in _PASSED_ON if fields.get(name) is not None}
        model = _text(fields, "model")
        return json_request(CHAT, {"model": model, "messages": messages, "digest": _text(fields, "digest"), **asked})


def _answer(action: str, fields: dict[str, Any]) -> Answer:
    decision = fields.get("decision")
    if decision is None:
        raise MissingField("The field 'decision' is required.", param="decision")
    if decision not in _DECISIONS:
        raise InvalidField(f"The field 'decision' must be one of: {', '.join(_DECISIONS)}.", param="decision")
    said = {name: told for name in ("reason", "text") if (told := _text(fields, name))}
    for name, needs in (("arguments", "edit"), ("text", "answer")):
        if (fields.get(name) is not None) != (decision == needs):
            raise InvalidField(f"The field '{name}' goes with the decision '{needs}', and only with it.", param=name)
    if decision == "answer" and not said.get("text"):
        raise InvalidField("The field 'text' must not be empty.", param="text")
    if decision == "edit":
        said["arguments"] = json_object(fields["arguments"], "arguments")
    return Answer(action, decision, said)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is not None and (type(value) is not str or len(value) > _LONGEST):
        raise InvalidField(f"The field '{name}' must be a string of at most {_LONGEST} characters.", param=name)
    return value or ""
