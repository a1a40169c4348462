"""`GET /v1/models` and `GET /v1/models/{id}`."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.agents.types import AgentSettings
from headgate.api.agents import agent_entry, agent_for, usable_agents
from headgate.api.answers import json_answer
from headgate.api.gate import Gate
from headgate.core.agent_errors import AgentNotFound
from headgate.core.errors import ModelForbidden
from headgate.identity.access import may_use, refuse_model
from headgate.routing.types import Model


async def list_models(request: Request, gate: Gate) -> Response:
    """All that is offered; clients of Anthropic's API read `type`, `display_name` and `has_more`."""
    data = [agent_entry(one) for one in usable_agents(request.scope["who"], gate)]
    data += [_entry(model) for model in await usable(request, gate)]
    return json_answer(
        {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


async def get_model(request: Request, gate: Gate) -> Response:
    """One model; its name may hold slashes."""
    name = request.path_params["model"]
    if gate.deps.agents is not None and gate.deps.agents.find(name) is not None:
        return json_answer(agent_entry(_agent(name, request, gate)))
    model = await gate.deps.catalog.find(name)
    refuse_model(request.scope["who"], name, *model.known_as)
    return json_answer(_entry(model))


def _agent(name: str, request: Request, gate: Gate) -> AgentSettings:
    try:
        return agent_for(name, request.scope["who"], gate)
    except AgentNotFound:
        raise ModelForbidden(f"This key may not use the model '{name}'.", param="model") from None


async def usable(request: Request, gate: Gate) -> list[Model]:
    """What is offered to whoever asks; models that the key may not use are left out."""
    who = request.scope["who"]
    return [model for model in await gate.deps.catalog.all() if may_use(who, *model.known_as)]


def _entry(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.owned_by,
        "type": "model",
        "display_name": model.name,
        "created_at": "1970-01-01T00:00:00Z",
    }
