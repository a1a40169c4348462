"""What the conformance suite wants a server to offer: as tools of ours, and as a whole server behind our door."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.mcp_tools import McpDoor
from headgate.core.principal import ANYONE
from headgate.tools.mcp_types import McpServeSettings
from headgate.tools.types import Caller, Image, ToolInfo, ToolResult
from tests.harness.gateway import KEY, Gateway
from tests.soak.mcp_everything import everything
from tests.tools.mcp_bad_server import PNG

__all__ = ["everybody_as_operator", "fixture_server", "fixture_tools"]


@dataclass(frozen=True)
class Fixed:
    """A tool that always gives the same."""

    info: ToolInfo
    result: ToolResult

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        return self.result


def fixture_tools() -> list[Fixed]:
    """Tools of ours that the suite knows by name."""
    results = {
        "test_simple_text": ToolResult("This is a simple text response for testing."),
        "test_image_content": ToolResult("", images=(Image(PNG, "image/png"),)),
        "test_error_handling": ToolResult("This tool intentionally returns an error for testing", failed=True),
        "test_tool_with_progress": ToolResult("done"),
    }
    schema = {"type": "object", "properties": {}}
    return [Fixed(ToolInfo(name, f"Fixture {name}.", schema, "builtin"), result) for name, result in results.items()]


@asynccontextmanager
async def fixture_server(gateway: Gateway) -> AsyncIterator[None]:
    """Puts a server that offers all of MCP behind the gateway's door, and lets everybody in."""
    settings = McpServeSettings(enabled=True, sessions=True)
    door = McpDoor(gateway.gate, settings, is_local=True, server=everything())
    usual = gateway.gate.mcp_route

    async def route(_: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        scope["who"] = ANYONE
        await door.handle(scope, receive, send)

    async with door.running():
        gateway.gate.mcp_route = route
        yield
        gateway.gate.mcp_route = usual


@asynccontextmanager
async def everybody_as_operator(gateway: Gateway) -> AsyncIterator[None]:
    """The suite sends no key; this puts the operator's into its requests."""
    usual = gateway.gate.mcp_route
    assert usual is not None

    async def route(gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {KEY}".encode())]
        await usual(gate, scope, receive, send)

    gateway.gate.mcp_route = route
    yield
    gateway.gate.mcp_route = usual
