"""Agents as callers see them: in lists, one by one, and called at a door of their own. Names may hold slashes."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.agents.types import AgentSettings
from headgate.api.answers import json_answer, without_secrets
from headgate.api.door import door_request
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.relay import ModelRoute
from headgate.core.agent_errors import AgentNotFound
from headgate.core.errors import InvalidField
from headgate.core.principal import Principal
from headgate.core.request import JsonRequest, ModelRequest, parse_json
from headgate.core.run import Run
from headgate.core.surfaces import CHAT, Surface
from headgate.identity.scopes import ANY, tenants_with
from headgate.pipeline.participants import may_ask

READ_ALL = "agents:read"


async def list_agents(request: Request, gate: Gate) -> Response:
    """The agents that the key may use."""
    data = [_shape(one, request.scope["who"], gate) for one in usable_agents(request.scope["who"], gate)]
    return json_answer({"object": "list", "data": data})


async def get_agent(request: Request, gate: Gate) -> Response:
    """One agent; its prompt and rules are shown to whoever holds the scope `agents:read` for all tenants."""
    who = request.scope["who"]
    return json_answer(_shape(agent_for(request.path_params["name"], who, gate), who, gate))


def usable_agents(who: Principal, gate: Gate) -> list[AgentSettings]:
    """Those whose name and whose model the key may use."""
    agents = gate.deps.agents.all() if gate.deps.agents is not None else []
    return [one for one in agents if may_ask(who, one, gate.deps)]


def agent_for(name: str, who: Principal, gate: Gate) -> AgentSettings:
    """Raises AgentNotFound, also for one that the key may not use."""
    agent = gate.deps.agents.find(name) if gate.deps.agents is not None else None
    if agent is None or not may_ask(who, agent, gate.deps):
        raise AgentNotFound(f"There is no agent '{name}' for this key.", param="name")
    return agent


def agent_entry(agent: AgentSettings) -> dict[str, Any]:
    """An agent among the models."""
    return {
        "id": agent.name,
        "object": "model",
        "created": agent.created,
        "owned_by": agent.owned_by,
        "type": "model",
        "display_name": agent.name,
        "created_at": "1970-01-01T00:00:00Z",
        **({"description": agent.description} if agent.description else {}),
    }


def _shape(agent: AgentSettings, who: Principal, gate: Gate) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "id": agent.name,
        "object": "agent",
        "name": agent.name,
        "description": agent.description,
        "owned_by": agent.owned_by,
        "created": agent.created,
        "model": agent.model or agent.name,
        "strategy": agent.strategy,
        "strategies": sorted({agent.strategy, *agent.strategies}),
        "tools": [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools],
        "tool_groups": agent.tool_groups,
        "mcp_servers": list(agent.mcp_servers),
        "skills": [{"name": one.name, "description": one.description} for one in gate.skills.of(agent)],
        "delegates": list(agent.delegates),
        "bounds": agent.bounds.model_dump(),
    }
    held = tenants_with(who, READ_ALL)
    if held is None or ANY in held:
        shape |= {
            "system_prompt": without_secrets(agent.system_prompt),
            "variables": without_secrets(agent.variables),
            "parameters": without_secrets(agent.parameters),
            "tool_policy": agent.tool_policy,
            "tool_policies": agent.tool_policies,
        }
    return shape


class AgentChat(ModelRoute):
    """Call an agent as a chat completion: the same as naming it as the model."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(CHAT, gate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["agent"] = scope["path_params"]["name"]
        await super().__call__(scope, receive, send)

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        """The body's `model`, if any, is the one that the agent inherits."""
        agent = agent_for(scope["agent"], run.who, self._gate)
        request = self._read_chat(replace(CHAT, default_model=agent.name), raw)
        given = request.model
        if given not in agent.known_as:
            if agent.model != "inherit":
                message = f"The agent '{agent.name}' has a model of its own: leave 'model' out."
                raise InvalidField(message, param="model")
            if self._gate.deps.agents is not None and self._gate.deps.agents.find(given) is not None:
                raise InvalidField(f"'{given}' is an agent; name a model.", param="model")
            run.inherits = given
        return door_request(request, agent.name, agent.name.encode())

    def _read_chat(self, surface: Surface, raw: bytes) -> JsonRequest:
        return parse_json(surface, raw)
