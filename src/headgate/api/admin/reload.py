"""`POST /admin/reload`: the configuration is read anew."""

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import who_asks
from headgate.api.gate import Gate
from headgate.core.errors import RouteNotFound, ScopeMissing
from headgate.identity.scopes import tenants_with

SCOPE = "configuration:write"


async def reload(request: Request, gate: Gate) -> Response:
    """Read the configuration anew; it takes effect as a whole or not at all. Needs the scope for all tenants."""
    refuse_some_tenants(request)
    if gate.reload is None:
        raise RouteNotFound("Nothing can be read anew here.")
    told = await gate.reload()
    return json_answer(
        {
            "object": "configuration",
            "status": "ok",
            "models_loaded": told.models,
            "agents_loaded": told.agents,
            "skills_loaded": told.skills,
            "mcp_servers_connected": told.mcp_servers,
            "needs_restart": list(told.needs_restart),
        }
    )


def refuse_some_tenants(request: Request) -> None:
    """The configuration is that of all tenants."""
    if tenants_with(who_asks(request), SCOPE) is not None:
        raise ScopeMissing(f"The configuration is of all tenants: this needs the scope '{SCOPE}:*'.")
