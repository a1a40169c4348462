"""`/mcp`: the gateway as an MCP server over streamable HTTP, in the revisions 2025-11-25 and 2026-07-28.

Lets requests in by their key, as every route does; what is offered stands in `mcp_tools.py`, which is imported with the
first request.
"""

import asyncio
import importlib
import logging
from typing import TYPE_CHECKING, Any

from headgate.api.control import refuse
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.core.errors import HeadgateError
from headgate.tools.mcp_types import McpServeSettings

if TYPE_CHECKING:
    from headgate.api.mcp_tools import McpDoor

log = logging.getLogger(__name__)
PATH = "/mcp"
_ENDING_SECONDS = 5.0


class McpRoute:
    """An ASGI application. `is_local`: it listens on loopback, where a page in a browser must be kept from it."""

    def __init__(self, settings: McpServeSettings, *, is_local: bool) -> None:
        self._settings = settings
        self._is_local = is_local
        self._door: McpDoor | None = None
        self._opening = asyncio.Lock()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        run = gate.begin(PATH, headers)
        try:
            if gate.keys.is_stale:
                await gate.keys.refresh()
            gate.enter(run, headers)
        except HeadgateError as error:
            await refuse(error, (), gate, scope, send)
            return
        scope["who"] = run.who
        door = self._door or await self._opened(gate)
        task = asyncio.current_task()
        assert task is not None
        counts = scope["method"] == "POST"  # a stream of notices may stay open for ever
        if counts:
            run.is_accounted = run.is_settled = True  # what it asks for is a run of its own
            gate.active[task] = run
        try:
            await door.handle(scope, receive, send)
        finally:
            gate.active.pop(task, None)

    async def _opened(self, gate: Gate) -> "McpDoor":
        async with self._opening:
            if self._door is None:
                module = await asyncio.to_thread(importlib.import_module, "headgate.api.mcp_tools")
                door: McpDoor = module.McpDoor(gate, self._settings, is_local=self._is_local)
                ready = asyncio.Event()
                self._task = asyncio.get_running_loop().create_task(self._hold(door, ready))
                await ready.wait()
                self._door = door
        return self._door

    async def _hold(self, door: Any, ready: asyncio.Event) -> None:
        """What is entered has to be left in the same task."""
        async with door.running():
            ready.set()
            await self._stop.wait()

    async def close(self) -> None:
        """End all sessions."""
        self._stop.set()
        if self._task is not None:
            _, running = await asyncio.wait([self._task], timeout=_ENDING_SECONDS)
            for task in running:
                task.cancel()
