"""Our MCP client under the conformance suite: one run of one scenario, against the server whose address comes last.

Does what an agent's run does: connect, list, call tools. The suite's own server judges what it saw.
"""

import asyncio
import json
import os
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from mcp.shared.auth import AuthorizationCodeResult

from headgate.core.tool_errors import McpUnavailable
from headgate.tools.mcp_client import McpServer, McpTool
from headgate.tools.mcp_oauth import Kept, Login
from headgate.tools.mcp_types import McpServerSettings
from headgate.tools.types import Caller

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
CONTEXT: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
OLD = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "").startswith("2025")


def settings_for(url: str) -> McpServerSettings:
    found: dict[str, Any] = {
        "url": url,
        "elicitation": "defaults",
        "protocol": "legacy" if OLD else "auto",
        "connect_seconds": 120.0,
    }
    if SCENARIO.startswith("auth/"):
        known = {name: CONTEXT[name] for name in ("client_id", "client_secret") if name in CONTEXT}
        found["oauth"] = {**known, "client_metadata_url": "https://conformance-test.local/client-metadata.json"}
    return McpServerSettings.model_validate(found)


def person(settings: McpServerSettings) -> Login:
    """Somebody who agrees to everything in a browser."""
    came: list[str] = []

    async def show(url: str) -> None:
        async with httpx.AsyncClient() as browser:
            came.append((await browser.get(url)).headers["location"])

    async def wait() -> AuthorizationCodeResult:
        found = parse_qs(urlsplit(came.pop()).query)
        return AuthorizationCodeResult(**{name: found[name][0] for name in ("code", "state", "iss") if name in found})

    return Login(settings, Kept(), show, wait)


def arguments_for(tool: McpTool) -> dict[str, Any]:
    """Something of the right kind for each argument."""
    if tool.info.origin == "add_numbers":
        return {"a": 5, "b": 3}
    samples = {"string": "text", "number": 1.5, "integer": 2, "boolean": True, "array": [], "object": {}}
    properties = tool.info.parameters.get("properties", {})
    return {name: one.get("default", samples.get(one.get("type"), "text")) for name, one in properties.items()}


async def main(url: str) -> None:
    settings = settings_for(url)
    server = McpServer("conformance", settings)
    if settings.oauth:
        server._auth = person(settings)
    try:
        for tool in await server.tools():
            given = [one["arguments"] for one in CONTEXT.get("toolCalls", ()) if one["name"] == tool.info.origin]
            for arguments in given or [arguments_for(tool)]:
                print(tool.info.origin, await tool.call(arguments, Caller()), file=sys.stderr)
    except McpUnavailable as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    finally:
        await server.close()


asyncio.run(main(sys.argv[-1]))
