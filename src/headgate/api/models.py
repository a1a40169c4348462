"""`GET /v1/models` and `GET /v1/models/{id}`, in a form that clients of both OpenAI's and Anthropic's API read."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.agents.types import AgentSettings
from headgate.api.agents import agent_entry, agent_for, usable_agents
from headgate.api.answers import json_answer
from headgate.api.gate import Gate
from headgate.core.agent_errors import AgentNotFound
from headgate.core.errors import InvalidField, ModelForbidden
from headgate.identity.access import may_use, refuse_model
from headgate.routing.types import Model

_LONGEST_PAGE = 1000


async def list_models(request: Request, gate: Gate) -> Response:
    """All that is offered, in one form for clients of OpenAI's and of Anthropic's API; the latter may ask for pages."""
    data = [agent_entry(one) for one in usable_agents(request.scope["who"], gate)]
    data += [entry_of(model) for model in await usable(request, gate)]
    data, has_more = _page(data, request.query_params)
    return json_answer(
        {
            "object": "list",
            "data": data,
            "has_more": has_more,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


def _page(data: list[dict[str, Any]], asked: Mapping[str, str]) -> tuple[list[dict[str, Any]], bool]:
    """Entries after `after_id` or before `before_id`, `limit` of them; and whether there are more that way."""
    after, before = _place("after_id", data, asked), _place("before_id", data, asked)
    if after is not None:
        data = data[after + 1 :]
    elif before is not None:
        data = data[:before]
    limit = _limit(asked)
    if limit is None or limit >= len(data):
        return data, False
    return (data[-limit:] if after is None and before is not None else data[:limit]), True


def _place(name: str, data: list[dict[str, Any]], asked: Mapping[str, str]) -> int | None:
    if not (id_ := asked.get(name)):
        return None
    for at, entry in enumerate(data):
        if entry["id"] == id_:
            return at
    raise InvalidField(f"No model named '{id_}' is offered here: set '{name}' to an id of the list.", param=name)


def _limit(asked: Mapping[str, str]) -> int | None:
    """None for all. Whoever asks for more than a page may hold gets that much."""
    text = asked.get("limit")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise InvalidField(f"The field 'limit' must be a number from 1 to {_LONGEST_PAGE}.", param="limit")
    return min(int(text), _LONGEST_PAGE)


async def get_model(request: Request, gate: Gate) -> Response:
    """One model; its name may hold slashes."""
    name = request.path_params["model"]
    if gate.deps.agents is not None and gate.deps.agents.find(name) is not None:
        return json_answer(agent_entry(_agent(name, request, gate)))
    model = await gate.deps.catalog.find(name)
    refuse_model(request.scope["who"], name, *model.known_as)
    return json_answer(entry_of(model))


def _agent(name: str, request: Request, gate: Gate) -> AgentSettings:
    try:
        return agent_for(name, request.scope["who"], gate)
    except AgentNotFound:
        raise ModelForbidden(f"This key may not use the model '{name}'.", param="model") from None


async def usable(request: Request, gate: Gate) -> list[Model]:
    """What is offered to whoever asks; models that the key may not use are left out."""
    who = request.scope["who"]
    return [model for model in await gate.deps.catalog.all() if may_use(who, *model.known_as)]


def entry_of(model: Model) -> dict[str, Any]:
    """A model among the models."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.owned_by,
        "type": "model",
        "display_name": model.name,
        "created_at": "1970-01-01T00:00:00Z",
    }
