"""One MCP server as agents use it: connected when first wanted, anew after a death, left alone after faults.

Faults become failed results; nothing that a server does breaks a run or keeps running after it. Knows no wire: the
library of MCP is imported with the first connection.
"""

import asyncio
import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from headgate.core.ids import child_of
from headgate.core.tool_errors import McpUnavailable
from headgate.tools.mcp_faults import Broken, Refused, SessionGone, why
from headgate.tools.mcp_names import exposed, passes
from headgate.tools.mcp_types import McpServerSettings, McpStatus, State
from headgate.tools.runner import failure
from headgate.tools.types import Caller, ToolInfo, ToolResult

if TYPE_CHECKING:
    import httpx2

    from headgate.tools.mcp_connection import Connection, Offered

log = logging.getLogger(__name__)
_FIRST_REST = 0.5
_STEADY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool of an MCP server."""

    info: ToolInfo
    server: "McpServer"

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        return await self.server.call(self.info.origin, arguments, caller)


class McpServer:
    """`servers` are the names of all servers, for tools' names depend on them. `folder` is where logins are kept."""

    def __init__(
        self, name: str, settings: McpServerSettings, servers: Iterable[str] = (), folder: Path | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self._servers = frozenset(servers) | {name}
        self._folder = folder
        self._auth: httpx2.Auth | None = None
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._revival: asyncio.Task[None] | None = None
        self._tools: tuple[McpTool, ...] | None = None
        self._good_until = 0.0
        self._error = ""
        self._said: tuple[str, ...] = ()
        self._faults = 0
        self._opened_at = 0.0
        self._rest_until = 0.0
        self._hung = 0
        self._since = 0.0
        self._calls = self._failures = self._connects = 0
        self._closed = False

    @property
    def state(self) -> State:
        if not self.settings.enabled:
            return "disabled"
        if self._open is not None:
            return "up"
        if self._connecting.locked():
            return "connecting"
        return "down" if self._error else "idle"

    @property
    def _open(self) -> "Connection | None":
        return self._connection if self._connection is not None and self._connection.is_open else None

    async def tools(self) -> Sequence[McpTool]:
        """Its tools by name, filtered; connects at first and asks again when they changed. Raises McpUnavailable."""
        if self._tools is not None and self._open is not None and monotonic() < self._good_until:
            return self._tools
        async with self._connecting:
            connection = await self._opened()
            if monotonic() >= self._good_until:
                try:
                    await self._list(connection)
                except ConnectionError as error:
                    self._drop()
                    raise self._down(str(error)) from None
        return self._tools or ()

    async def call(self, tool: str, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        """One call; what goes wrong is in the result."""
        self._calls += 1
        meta = {"traceparent": child_of(caller.traceparent).traceparent} if caller.traceparent else {}
        result = await self._tried(tool, arguments, meta)
        self._failures += result.failed
        return result

    async def _tried(
        self, tool: str, arguments: Mapping[str, Any], meta: Mapping[str, Any], *, again: bool = False
    ) -> ToolResult:
        try:
            connection = await self._connected()
            async with asyncio.timeout(self.settings.call_seconds):
                result = await connection.call(tool, arguments, meta)
        except McpUnavailable as error:
            return failure(error.message)
        except TimeoutError:
            self._note_hang()
            return failure(f"The tool did not end within {self.settings.call_seconds:g} seconds.")
        except SessionGone:
            self._drop()
            if again:
                return failure(f"The MCP server '{self.name}' forgets its sessions.")
            return await self._tried(tool, arguments, meta, again=True)  # it did nothing the first time
        except Broken as error:
            return failure(f"The connection to the MCP server '{self.name}' ended during the call: {error}.")
        except Refused as error:
            return failure(f"The MCP server '{self.name}' refused the call: {error}.")
        except Exception as error:  # noqa: BLE001 - a server may answer anything
            return failure(f"The MCP server '{self.name}' gave an answer that cannot be used: {why(error)}.")
        self._hung = 0
        return result

    async def _connected(self) -> "Connection":
        if (connection := self._open) is not None:
            return connection
        async with self._connecting:
            return await self._opened()

    async def _opened(self) -> "Connection":
        """Connected, one try at a time; raises McpUnavailable."""
        if (former := self._open) is not None:
            return former
        if self._closed or not self.settings.enabled:
            raise McpUnavailable(f"The MCP server '{self.name}' is not in use.")
        if (rest := self._rest_until - monotonic()) > 0:
            message = f"The MCP server '{self.name}' is down: {self._error}. It is tried again in {rest:.1f} seconds."
            raise McpUnavailable(message, retry_after=rest)
        wire = await _imported("mcp_connection")
        if self.settings.oauth and self._auth is None:
            self._auth = (await _imported("mcp_oauth")).login_of(self.name, self.settings, self._folder)
        connection: Connection = wire.Connection(
            self.settings, self._auth, ended=self._ended, changed=self._forget_list
        )
        try:
            await connection.open()
            await self._list(connection)
        except ConnectionError as error:
            self._note_said(connection)
            self._leave(connection)
            raise self._down(f"{error}; it said: {self._said[-1]}" if self._said else str(error)) from None
        except asyncio.CancelledError:
            self._leave(connection)
            raise
        self._connection = connection
        self._connects += 1
        self._hung = 0
        self._error, self._said = "", ()
        self._opened_at = monotonic()
        self._since = time()
        log.info("MCP server %s is connected, %d tools", self.name, len(self._tools or ()))
        return connection

    async def _list(self, connection: "Connection") -> None:
        """Ask for the tools; raises ConnectionError."""
        asked = monotonic()
        self._good_until = float("inf")  # a change while the list is on its way makes it stale at once
        try:
            found, good_for = await connection.tools()
        except BaseException:
            self._good_until = 0.0
            raise
        filters = self.settings.whitelist, self.settings.blacklist
        self._tools = tuple(self._tool(one) for one in found if passes(one.name, *filters))
        if self._good_until:
            self._good_until = asked + (good_for or self.settings.list_seconds)

    def _tool(self, one: "Offered") -> McpTool:
        info = ToolInfo(
            exposed(self.name, one.name, self._servers),
            one.description,
            one.parameters,
            "mcp",
            group=self.name,
            hints=one.hints,
            origin=one.name,
            server=self.name,
        )
        return McpTool(info, self)

    def _forget_list(self) -> None:
        self._good_until = 0.0

    def _ended(self, connection: "Connection", reason: str) -> None:
        """An open connection is over though nobody closed it."""
        if connection is not self._connection:
            return
        self._connection = None
        self._note_said(connection)
        if monotonic() - self._opened_at >= _STEADY_SECONDS:
            self._faults = 0  # it had been well; one that dies soon each time rests longer each time
        log.warning("MCP server %s: the connection ended: %s", self.name, reason)
        self._rest(reason)
        if not self._closed and (self._revival is None or self._revival.done()):
            self._revival = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        """Connect again after a death, until it holds."""
        while not self._closed and self._open is None:
            await asyncio.sleep(max(0.0, self._rest_until - monotonic()))
            try:
                await self._connected()
            except McpUnavailable as error:
                log.info("%s", error.message)

    def _down(self, reason: str) -> McpUnavailable:
        self._rest(reason)
        return McpUnavailable(f"The MCP server '{self.name}' is down: {reason}.")

    def _rest(self, reason: str) -> None:
        """Leave it alone for a while, longer with each fault in a row."""
        self._error = reason
        self._faults += 1
        self._since = time()
        self._rest_until = monotonic() + min(_FIRST_REST * 2 ** (self._faults - 1), self.settings.longest_rest)

    def _note_hang(self) -> None:
        """Calls that hang one after the other speak for a server that hangs as a whole."""
        self._hung += 1
        if self._hung >= self.settings.hangs:
            self._drop()
            self._rest(f"{self._hung} calls in a row did not end in time")

    def _note_said(self, connection: "Connection") -> None:
        self._said = tuple(connection.child.said) if connection.child else ()

    def _drop(self) -> None:
        """Give up the connection; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._leave(connection)

    def _leave(self, connection: "Connection") -> None:
        """End a connection without waiting for it."""
        task = asyncio.get_running_loop().create_task(connection.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def status(self) -> McpStatus:
        """How it has been doing."""
        connection = self._open
        child = connection.child if connection else None
        protocol, server = connection.described if connection else ("", "")
        return McpStatus(
            self.name,
            self.settings.transport,
            self.state,
            self.settings.description,
            self._since,
            len(self._tools) if self._tools is not None else None,
            self._error,
            max(0.0, self._rest_until - monotonic()) if not connection else 0.0,
            protocol,
            server,
            self._calls,
            self._failures,
            self._connects,
            child.pid if child else None,
            tuple(child.said) if child else self._said,
        )

    async def close(self) -> None:
        """End the connection and whatever runs for it."""
        self._closed = True
        if self._revival is not None:
            self._revival.cancel()
            await asyncio.wait([self._revival])
        self._drop()
        if self._leaving:
            await asyncio.wait(self._leaving)


async def _imported(module: str) -> Any:
    """One of the modules that need MCP's library: read in a thread, for it takes a while the first time."""
    return await asyncio.to_thread(importlib.import_module, f"headgate.tools.{module}")
