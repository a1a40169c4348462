"""`/admin/mcp/…`: MCP servers and their tools, to look at. Nothing here starts or changes a server's command."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.gate import Gate
from headgate.core.tool_errors import McpNotFound
from headgate.identity.types import iso
from headgate.tools.types import ToolInfo

if TYPE_CHECKING:
    from headgate.tools.mcp_client import McpServer, McpTool
    from headgate.tools.mcp_types import McpStatus


async def list_servers(request: Request, gate: Gate) -> Response:
    """The MCP servers and how they have been doing in this worker; asks none of them."""
    data = [_server(one) for one in gate.mcp.statuses()] if gate.mcp is not None else []
    return json_answer({"object": "list", "data": data, "has_more": False})


async def get_server(request: Request, gate: Gate) -> Response:
    """One MCP server, with the last lines that a child of ours said."""
    status = _one(request, gate).status()
    return json_answer({**_server(status), "said": status.said})


async def list_tools(request: Request, gate: Gate) -> Response:
    """The tools of one MCP server; connects where it is not connected yet."""
    return _tools(await _one(request, gate).tools())


async def get_tool(request: Request, gate: Gate) -> Response:
    """One tool, by its own name or the one that models use, with its schema."""
    server, name = _one(request, gate), request.path_params["tool"]
    for tool in await server.tools():
        if name in (tool.info.origin, tool.info.name):
            return json_answer(_tool(tool.info))
    raise McpNotFound(f"The MCP server '{server.name}' has no tool '{name}'.")


async def list_all_tools(request: Request, gate: Gate) -> Response:
    """The tools of all MCP servers that are in use, and why those of others are absent."""
    if gate.mcp is None:
        return _tools([])
    used = [name for name, one in gate.mcp.servers.items() if one.settings.enabled]
    found = await gate.mcp.tools_of(used, lenient=True)
    return _tools(found.tools, absent=found.absent)


def _one(request: Request, gate: Gate) -> "McpServer":
    name = request.path_params["server"]
    if gate.mcp is None:
        raise McpNotFound(f"There is no MCP server '{name}'. Servers: none.")
    return gate.mcp.server(name)


def _server(status: "McpStatus") -> dict[str, Any]:
    return {
        "name": status.name,
        "object": "mcp_server",
        "transport": status.transport,
        "state": status.state,
        "description": status.description,
        "since": iso(status.since),
        "tools": status.tools,
        "error": status.error or None,
        "tried_again_in": round(status.rest, 1),
        "protocol": status.protocol or None,
        "server": status.server or None,
        "pid": status.pid,
        "calls": status.calls,
        "failures": status.failures,
        "connects": status.connects,
    }


def _tools(tools: "Sequence[McpTool]", **more: Any) -> Response:
    data = [_tool(tool.info) for tool in tools]
    return json_answer({"object": "list", "data": data, "has_more": False, **more})


def _tool(info: ToolInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "object": "tool",
        "server": info.server,
        "origin": info.origin,
        "description": info.description,
        "parameters": info.parameters,
        "hints": info.hints._asdict(),
    }
