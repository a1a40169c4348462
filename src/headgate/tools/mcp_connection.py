"""One life of a connection to an MCP server: from the handshake until it breaks, or nobody wants it any more.

A task of its own holds it open, because what it enters has to be left in the same task. Knows no retry and no agent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio
import httpx2
import mcp_types as types
from mcp.client._transport import ReadStream, TransportStreams
from mcp.client.client import Client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from headgate.core.version import __version__
from headgate.telemetry.redact import redact
from headgate.tools.mcp_faults import Broken, Refused, SessionGone, why
from headgate.tools.mcp_http import open_http
from headgate.tools.mcp_result import hints_of, result_of, sorted_tools
from headgate.tools.mcp_stdio import Child
from headgate.tools.mcp_types import McpServerSettings
from headgate.tools.types import Hints, ToolResult

_MOST_PAGES = 100
_MOST_TOOLS = 1000
_LISTEN_AGAIN = 30.0
_ENDING_SECONDS = 8.0
_SESSION_GONE = "Session terminated"

for _name in ("mcp", "client"):  # what goes wrong is told by us, in one line and without the messages themselves
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Offered(NamedTuple):
    """A tool as its server tells of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    hints: Hints


class Connection:
    """`ended` is called once, with the reason, when it is over without having been closed."""

    def __init__(
        self,
        settings: McpServerSettings,
        auth: httpx2.Auth | None = None,
        *,
        ended: Callable[["Connection", str], None],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._auth = auth
        self.child = Child(settings) if settings.transport == "stdio" else None
        self._tell_ended = ended
        self._tell_changed = changed
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Client] = self._loop.create_future()
        self._fault = ""
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect and shake hands; raises ConnectionError that says what went wrong."""
        self._task = self._loop.create_task(self._hold())
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.cut(f"it did not answer within {self._settings.connect_seconds:g} seconds")
            raise ConnectionError(self._fault) from None
        except asyncio.CancelledError:
            self.cut("nobody waits for it any more")
            raise

    @property
    def client(self) -> Client:
        """Of a connection that is open."""
        return self._ready.result()

    @property
    def is_open(self) -> bool:
        return self._ready.done() and not self._ready.exception() and not self._stop.is_set()

    def cut(self, why: str) -> None:
        """Leave it, without waiting for the end."""
        self._fault = self._fault or why
        self._stop.set()
        if not self._ready.done() and self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """End it and wait until nothing of it is left."""
        self._closing = True
        self.cut("it was closed")
        if self._task is not None:
            _, running = await asyncio.wait([self._task], timeout=_ENDING_SECONDS)
            for task in running:
                task.cancel()
                await asyncio.wait([task], timeout=_ENDING_SECONDS)

    @property
    def described(self) -> tuple[str, str]:
        """The revision that is spoken, and what the server says that it is."""
        info = self.client.server_info
        return self.client.protocol_version, f"{info.name} {info.version}".strip() if info else ""

    async def tools(self) -> tuple[list[Offered], float]:
        """All tools by name, and for how many seconds the server says that the list is good; 0.0 where it does not.

        Raises ConnectionError.
        """
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                found, good_for = await self._listed()
        except TimeoutError:
            seconds = self._settings.connect_seconds
            raise ConnectionError(f"it did not list its tools within {seconds:g} seconds") from None
        except Exception as error:  # noqa: BLE001 - a server may answer anything
            raise ConnectionError(f"its list of tools cannot be read: {self._fault or why(error)}") from None
        policy = self._settings.policy
        return [
            Offered(one.name, one.description or one.title or "", one.input_schema, hints_of(one.annotations, policy))
            for one in sorted_tools(found)
        ], good_for

    async def _listed(self) -> tuple[list[types.Tool], float]:
        found: list[types.Tool] = []
        cursor: str | None = None
        good_for = 0.0
        for _ in range(_MOST_PAGES):
            page = await self.client.list_tools(cursor=cursor, cache_mode="refresh")
            found += page.tools
            if self.client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                good_for = (page.ttl_ms or 0) / 1000
            cursor = page.next_cursor
            if cursor is None or len(found) >= _MOST_TOOLS:
                break
        return found[:_MOST_TOOLS], good_for

    async def call(self, tool: str, arguments: Mapping[str, Any], meta: Mapping[str, Any]) -> ToolResult:
        """One call; raises Refused. Who gives it up has it cancelled on the server."""
        given: Any = dict(meta) or None
        try:
            return result_of(await self.client.call_tool(tool, dict(arguments), meta=given))
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise Broken(self.fault or error.message) from None
            if error.code == INVALID_REQUEST and error.message == _SESSION_GONE:
                raise SessionGone(error.message) from None
            told = redact(error.message).strip().splitlines() or [""]
            raise Refused(f"{told[0][:500]} ({error.code})") from None

    @property
    def fault(self) -> str:
        """Why it is over, where that is known."""
        return (self.child.fault if self.child else "") or self._fault

    async def _hold(self) -> None:
        reason = ""
        try:
            async with self._client() as client:
                self._ready.set_result(client)
                listening = self._loop.create_task(self._listen(client))
                try:
                    await self._stop.wait()
                finally:
                    listening.cancel()
                    await asyncio.wait([listening])
        except asyncio.CancelledError:
            reason = "it was given up"
        except Exception as error:  # noqa: BLE001 - whatever a server does must end here
            reason = why(error)
        reason = self.fault or reason or "it ended"
        self._stop.set()
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(reason))
            self._ready.exception()  # who waited may have left
        elif not self._closing:
            self._tell_ended(self, reason)

    def _client(self) -> Client:
        # elicitation is declared to the server only where something answers it
        return Client(
            _Watched(self.child.open() if self.child else self._over_http(), self._stop.set),
            mode=self._settings.protocol,
            client_info=types.Implementation(name="headgate", version=__version__),
            message_handler=self._noticed,
            elicitation_callback=_defaults if self._settings.elicitation == "defaults" else None,
            cache=None,
        )

    def _over_http(self) -> AbstractAsyncContextManager[TransportStreams]:
        return open_http(self._settings, self._faulted, self._auth)

    def _faulted(self, why: str) -> None:
        """The wire failed; no answer will come over it."""
        self._fault = self._fault or redact(why)
        if self._ready.done():
            self._stop.set()

    async def _noticed(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._tell_changed()

    async def _listen(self, client: Client) -> None:
        """Notices of servers that send them only where they are asked for."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tools and tools.list_changed):
            return
        while True:
            try:
                async with client.listen(tools_list_changed=True) as notices:
                    async for _ in notices:
                        self._tell_changed()
            except ListenNotSupportedError:
                return
            except (MCPError, SubscriptionLost, TimeoutError):
                self._tell_changed()  # something may have been missed
            await asyncio.sleep(_LISTEN_AGAIN)


async def _defaults(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Nobody can be asked: agree to what the tool itself proposes, and to nothing that it does not."""
    schema = getattr(params, "requested_schema", None)
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    required = schema.get("required", ()) if isinstance(schema, dict) else ()
    content = {name: one["default"] for name, one in properties.items() if isinstance(one, dict) and "default" in one}
    if schema is None or any(name not in content for name in required):
        return types.ElicitResult(action="decline")
    return types.ElicitResult(action="accept", content=content)


class _Watched:
    """A transport that tells when the other side closed it; the session itself tells only those who wait."""

    def __init__(self, inner: AbstractAsyncContextManager[TransportStreams], closed: Callable[[], None]) -> None:
        self._inner = inner
        self._closed = closed

    async def __aenter__(self) -> TransportStreams:
        read, write = await self._inner.__aenter__()
        return _WatchedRead(read, self._closed), write

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)


class _WatchedRead:
    """A read stream that tells of its end."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception], closed: Callable[[], None]) -> None:
        self._inner = inner
        self._closed = closed

    async def receive(self) -> SessionMessage | Exception:
        return await self._watched(self._inner.receive())

    async def __anext__(self) -> SessionMessage | Exception:
        return await self._watched(self._inner.__anext__())

    async def _watched(self, coming: Awaitable[SessionMessage | Exception]) -> SessionMessage | Exception:
        try:
            return await coming
        except (StopAsyncIteration, anyio.EndOfStream, anyio.ClosedResourceError):
            self._closed()
            raise

    def __aiter__(self) -> "_WatchedRead":
        return self

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
