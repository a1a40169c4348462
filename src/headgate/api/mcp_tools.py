"""What the gateway offers as an MCP server: its agents, each as a tool that is asked, and its own tools.

A key sees and calls the agents that it may use as models, and the tools that its scope `tools:execute` covers:
`tools:execute` alone for all, `tools:execute:NAME` for one tool, group or MCP server.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import mcp_types as types
import orjson
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError

from headgate.agents.types import AgentSettings
from headgate.api.agents import usable_agents
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.tools import call_tool, may_execute
from headgate.core.chat import Asking, Retrieved, Text, ToolEnded, ToolHeld, ToolStarted
from headgate.core.errors import HeadgateError
from headgate.core.principal import Principal
from headgate.core.request import parse_json
from headgate.core.run import Run
from headgate.core.surfaces import CHAT
from headgate.core.version import __version__
from headgate.identity.scopes import tenants_with
from headgate.pipeline.run import execute
from headgate.pipeline.settle import Settling
from headgate.tools.mcp_names import matches
from headgate.tools.mcp_types import McpServeSettings
from headgate.tools.types import Tool, ToolResult

_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_FRESH = CacheHint(ttl_ms=30_000, scope="private")
_LOCAL = ["127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*"]
_ASK = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "What to ask or tell the agent, complete in itself."}},
    "required": ["message"],
}
Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that is offered: an agent or a tool."""

    name: str
    target: AgentSettings | Tool


class McpDoor:
    """The way in. `server` is what answers there, if not the gateway itself."""

    def __init__(
        self, gate: Gate, settings: McpServeSettings, *, is_local: bool, server: Server[Any] | None = None
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._schemas: dict[str, dict[str, Any]] = {}
        self.server: Server[Any] = server or Server(
            "headgate",
            version=__version__,
            cache_hints={"tools/list": _FRESH},
            get_tool_input_schema=self._schemas.get,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in _LOCAL]
        self._manager = StreamableHTTPSessionManager(
            self.server,
            stateless=not settings.sessions,
            security_settings=TransportSecuritySettings(
                enable_dns_rebinding_protection=is_local, allowed_hosts=_LOCAL, allowed_origins=origins
            ),
            max_request_body_size=gate.bounds.body,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it may be asked."""
        async with self._manager.run():
            yield

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request of somebody whose key was seen. A session belongs to the key that began it."""
        who: Principal = scope["who"]
        owner = f"{who.tenant}/{who.key_id}/{who.user}"
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=owner, scopes=[]))
        await self._manager.handle_request(scope, receive, send)

    async def _list(self, ctx: Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        offers = await self._offers(_who(ctx))
        listed = [_shown(offer) for offer in offers]
        self._schemas.update({tool.name: tool.input_schema for tool in listed})
        return types.ListToolsResult(tools=listed)

    async def _offers(self, who: Principal) -> Sequence[Offer]:
        """All that a key may use, by name, agents first; none that takes its caller's model, which nobody names."""
        offers = {
            offer.name: offer
            for agent in usable_agents(who, self._gate)
            if agent.model != "inherit" and matches(agent.name, self._settings.agents)
            for offer in (Offer(ask_name(agent.name), agent),)
        }
        if _executes(who):
            for tool in await self._gate.offered():
                info = tool.info
                if matches(info.name, self._settings.tools) and may_execute(who, info):
                    offers[info.name] = Offer(info.name, tool)
        return [offers[name] for name in sorted(offers, key=lambda name: (not name.startswith("ask_"), name))]

    async def _call(self, ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        who = _who(ctx)
        offer = next((one for one in await self._offers(who) if one.name == params.name), None)
        if offer is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool '{params.name}' for this key.")
        run = self._gate.begin("/mcp", dict(_scope(ctx)["headers"]))
        run.who = who
        task = asyncio.current_task()
        assert task is not None
        self._gate.detached[task] = run
        try:
            return await self._made(offer.target, params.arguments or {}, run, ctx)
        except asyncio.CancelledError:
            if run.stopped_by is None:
                raise
            task.uncancel()
            return _failed(run.stopped_by)
        finally:
            del self._gate.detached[task]

    async def _made(
        self, target: AgentSettings | Tool, arguments: dict[str, Any], run: Run, ctx: Context
    ) -> types.CallToolResult:
        if isinstance(target, AgentSettings):
            return await self._asked(target, arguments, run, ctx)
        return await self._executed(target, arguments, run)

    async def _asked(
        self, agent: AgentSettings, arguments: dict[str, Any], run: Run, ctx: Context
    ) -> types.CallToolResult:
        """An agent's answer; what its tools do is told as progress to those who want it."""
        message = arguments.get("message")
        if not isinstance(message, str) or not message:
            raise MCPError(types.INVALID_PARAMS, "The argument 'message' must be a text.")
        body = {"model": agent.name, "messages": [{"role": "user", "content": message}]}
        request = parse_json(CHAT, orjson.dumps(body))
        run.model = agent.name
        texts: list[str] = []
        steps = 0
        events = execute(request, run, self._gate.deps)
        try:
            async for event in events:
                run.status = 200
                if isinstance(event, Text):
                    texts.append(event.text)
                elif said := _progress(event):
                    steps += 1
                    await ctx.session.report_progress(steps, message=said)
        except HeadgateError as error:
            return _failed(error)
        finally:
            await events.aclose()
        return types.CallToolResult(content=[types.TextContent(text="".join(texts))])

    async def _executed(self, tool: Tool, arguments: dict[str, Any], run: Run) -> types.CallToolResult:
        run.component = "mcp"
        with Settling(run, self._gate.deps):
            try:
                result = await call_tool(tool, arguments, run, self._gate)
            except HeadgateError as error:
                run.fail(error)
                return _failed(error)
            run.status = 200
        return _result(result)


def ask_name(agent: str) -> str:
    """What an agent is called as a tool: `ask_` and its name, with a hash where that has to be changed to fit."""
    plain = f"ask_{agent.removeprefix('augmented/')}"
    if _NAME.match(plain):
        return plain
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', plain)[:53]}_{sha256(agent.encode()).hexdigest()[:10]}"


def _who(ctx: Context) -> Principal:
    found: Principal = _scope(ctx)["who"]
    return found


def _scope(ctx: Context) -> Scope:
    assert ctx.request is not None
    scope: Scope = ctx.request.scope
    return scope


def _executes(who: Principal) -> bool:
    """Whether there is any tool that it may call."""
    held = tenants_with(who, "tools:execute")
    return held is None or bool(held)


def _shown(offer: Offer) -> types.Tool:
    target = offer.target
    if isinstance(target, AgentSettings):
        text = target.description or f"Ask the agent {target.name}."
        return types.Tool(name=offer.name, title=target.name, description=text, input_schema=_ASK)
    hints = target.info.hints
    annotations = types.ToolAnnotations(
        read_only_hint=hints.read_only,
        destructive_hint=hints.destructive,
        idempotent_hint=hints.idempotent,
        open_world_hint=hints.open_world,
    )
    schema = dict(target.info.parameters)
    return types.Tool(
        name=offer.name, description=target.info.description, input_schema=schema, annotations=annotations
    )


def _progress(event: object) -> str:
    match event:
        case Asking(turn):
            return f"turn {turn}"
        case ToolHeld(call):
            return f"tool {call.name} is held back: it needs an approval"
        case ToolStarted(call):
            return f"tool {call.name} begins"
        case Retrieved(passages):
            return f"{len(passages)} passages were looked up"
        case ToolEnded(call):
            return f"tool {call.name} {'failed' if event.failed else 'ended'}"
    return ""


def _failed(error: HeadgateError) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=f"{error.message} ({error.code})")], is_error=True)


def _result(result: ToolResult) -> types.CallToolResult:
    content: list[Any] = [types.TextContent(text=result.text)]
    content += [types.ImageContent(data=image.data, mime_type=image.mime_type) for image in result.images]
    structured = dict(result.structured) if result.structured is not None else None
    return types.CallToolResult(content=content, structured_content=structured, is_error=result.failed)
