"""`GET /v1/tools` and `POST /v1/tools/execute`: the gateway's own tools without a model between.

A direct call is its caller's own act, so no policy holds it back; the scope `tools:execute` says who may.
"""

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import read_fields, who_asks
from headgate.api.gate import Gate
from headgate.api.work import at_work
from headgate.core.bounds import Want
from headgate.core.errors import InvalidField, MissingField, ScopeMissing
from headgate.core.principal import Principal
from headgate.core.run import Run, ToolCall
from headgate.core.tool_errors import McpUnavailable, ToolNotFound
from headgate.identity.scopes import may
from headgate.tools.policy import may_destroy
from headgate.tools.runner import problem, run_tool
from headgate.tools.types import Caller, Tool, ToolInfo, ToolResult

_READ, _EXECUTE = "tools:read", "tools:execute"


async def list_tools(request: Request, gate: Gate) -> Response:
    """The tools that the key may see, with their schemas."""
    who = who_asks(request)
    data = [_entry(tool.info, who) for tool in await gate.offered() if _may(who, _READ, tool.info)]
    return json_answer({"object": "list", "data": data})


async def execute(request: Request, gate: Gate) -> Response:
    """Call one tool. A tool that fails is answered with 200 and `is_error`, as a model is told."""
    run: Run = request.scope["run"]
    gate.enter(run, dict(request.scope["headers"]))
    tool, arguments = await _asked(request, gate, run.who)

    async def act() -> Response:
        return json_answer(_told(tool.info, await call_tool(tool, arguments, run, gate), run))

    return await at_work(request, gate, act)


async def call_tool(tool: Tool, arguments: dict[str, Any], run: Run, gate: Gate) -> ToolResult:
    """Call a tool for a key, within its limits, and remember that. Raises LimitReached."""
    if run.who.bounds and gate.deps.limiter is not None:
        run.ticket = await gate.deps.limiter.admit(run.who.bounds, Want())
    started = time.perf_counter()
    caller = Caller(run.who, run.id, "", run.depth, run.trace.traceparent)
    try:
        result = await run_tool(tool, arguments, caller, gate.tool_bounds)
    except asyncio.CancelledError:
        _note(run, tool, "cancelled", started)
        raise
    _note(run, tool, "failed" if result.failed else "ok", started)
    return result


def may_execute(who: Principal, info: ToolInfo) -> bool:
    """Whether a scope covers calls of a tool, by its name, its group, its source or its MCP server."""
    return _may(who, _EXECUTE, info)


def _note(run: Run, tool: Tool, result: str, started: float) -> None:
    run.tools += (ToolCall(tool.info.name, result, time.perf_counter() - started),)


async def _asked(request: Request, gate: Gate, who: Principal) -> tuple[Tool, dict[str, Any]]:
    """The tool and its arguments; raises ToolNotFound, ScopeMissing, MissingField or InvalidField."""
    fields = await read_fields(request)
    name = fields.get("name")
    if name is None:
        raise MissingField("The field 'name' is required.", param="name")
    for field in fields.keys() - {"name", "arguments"}:
        raise InvalidField(f"There is no field '{field[:64]}'; known: name, arguments.", param=field[:64])
    tool = await _found(name, gate)
    if not may_execute(who, tool.info):
        raise ScopeMissing(f"This needs the scope '{_EXECUTE}:{tool.info.name}'.")
    arguments = fields.get("arguments", {})
    if not isinstance(arguments, dict):
        raise InvalidField("The field 'arguments' must be an object.", param="arguments")
    wrong = await problem(tool, arguments)
    if wrong is not None:
        raise InvalidField(f"The argument '{wrong[0]}' is not right: {wrong[1]}.", param=f"arguments.{wrong[0]}")
    return tool, arguments


async def _found(name: object, gate: Gate) -> Tool:
    """Raises ToolNotFound, or McpUnavailable where the server that may have it is down."""
    for tool in gate.tools():
        if name == tool.info.name or name in tool.info.aliases:
            return tool
    if gate.mcp is not None and isinstance(name, str):
        found = await gate.mcp.named([name])
        for one in found.tools:
            if one.info.name == name:  # what is asked for may look like a pattern
                return one
        for why in found.absent.values():
            raise McpUnavailable(why, param="name")
    raise ToolNotFound(f"There is no tool named '{str(name)[:64]}'.", param="name")


def _may(who: Principal, needed: str, info: ToolInfo) -> bool:
    return may(who, needed, *filter(None, (info.name, *info.aliases, info.group, info.source, info.server)))


def _entry(info: ToolInfo, who: Principal) -> dict[str, Any]:
    hints = info.hints
    return {
        "name": info.name,
        "description": info.description,
        "parameters": info.parameters,
        "source": info.source,
        "group": info.group or None,
        "server": info.server or None,
        "hints": {
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        },
        "needs_approval": may_destroy(hints),
        "may_execute": may_execute(who, info),
    }


def _told(info: ToolInfo, result: ToolResult, run: Run) -> dict[str, Any]:
    images = [{"data": data, "mime_type": kind} for data, kind in (*result.images, *result.shown)]
    return {
        "object": "tool.result",
        "id": run.id,
        "name": info.name,
        "content": result.text,
        "is_error": result.failed,
        "structured": result.structured,
        "images": images,
        "duration_ms": round(run.tools[-1].seconds * 1000, 3),
    }
