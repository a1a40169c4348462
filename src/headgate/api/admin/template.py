"""`POST /admin/template/eval`: what a prompt would come to. Only tools that just read are called, and those allowed."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.reload import refuse_some_tenants
from headgate.api.agents import agent_for
from headgate.api.answers import json_answer
from headgate.api.fields import read_as, who_asks
from headgate.api.gate import Gate
from headgate.core.errors import RouteNotFound
from headgate.core.run import Run


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    template: str = Field(max_length=100_000)
    variables: dict[str, str | int | float | bool] = Field(default_factory=dict)
    agent: str | None = None


async def evaluate(request: Request, gate: Gate) -> Response:
    """A template's text, and what its calls came to. Needs the scope for all tenants."""
    refuse_some_tenants(request)
    asked = await read_as(request, _Asked)
    if gate.templates is None:
        raise RouteNotFound("No templates are evaluated here.")
    who = who_asks(request)
    agent = agent_for(asked.agent, who, gate) if asked.agent is not None else None
    run: Run = request.scope["run"]
    text, calls = await gate.templates.evaluate(asked.template, asked.variables, agent, run)
    told: list[dict[str, Any]] = [
        {"tool": call.name, "arguments": call.arguments, "line": call.line, "failed": failed} for call, failed in calls
    ]
    return json_answer({"object": "template.result", "text": text, "calls": told})
