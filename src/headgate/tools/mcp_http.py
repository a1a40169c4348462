"""An MCP server behind an address: server-sent events or streamable HTTP, each answer bounded, no other host reached.

Knows no session and no tool.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from headgate.tools.mcp_types import McpServerSettings

_SILENCE_SECONDS = 3600.0
"""How long a stream of notices may say nothing."""
Tell = Callable[[str], None]


def open_http(
    settings: McpServerSettings, tell: Tell, auth: httpx2.Auth | None = None
) -> AbstractAsyncContextManager[TransportStreams]:
    """The streams of a server's address. `tell` is given each fault of the connection."""
    if settings.transport == "sse":
        return sse_client(
            settings.url or "",
            headers=dict(settings.headers),
            timeout=settings.connect_seconds,
            sse_read_timeout=_SILENCE_SECONDS,
            httpx_client_factory=lambda headers=None, timeout=None, auth=None: _client(
                settings, tell, auth, headers=headers, timeout=timeout
            ),
            auth=auth,
        )
    return _streamable(settings, tell, auth)


@asynccontextmanager
async def _streamable(
    settings: McpServerSettings, tell: Tell, auth: httpx2.Auth | None
) -> AsyncIterator[TransportStreams]:
    timeout = httpx2.Timeout(settings.connect_seconds, read=_SILENCE_SECONDS)
    async with (
        _client(settings, tell, auth, headers=dict(settings.headers), timeout=timeout) as client,
        streamable_http_client(
            settings.url or "", http_client=client, max_sse_event_size=settings.largest_message
        ) as streams,
    ):
        yield streams


def _client(settings: McpServerSettings, tell: Tell, auth: httpx2.Auth | None, **more: Any) -> httpx2.AsyncClient:
    """`accept-encoding: identity`: a small answer that unpacks to a large one is none that we asked for."""
    transport = _Bounded(settings, tell)
    headers = {"accept-encoding": "identity", **(more.pop("headers", None) or {})}
    return httpx2.AsyncClient(transport=transport, auth=auth, headers=headers, **more)


class _Bounded(httpx2.AsyncBaseTransport):
    """Counts what an answer holds; streams of events are counted one by one where they are read."""

    def __init__(self, settings: McpServerSettings, tell: Tell) -> None:
        self._inner = httpx2.AsyncHTTPTransport(proxy=settings.proxy)
        self._most = settings.largest_message
        self._is_sse = settings.transport == "sse"
        self._tell = tell

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            self._tell(f"{type(error).__name__}: {error}".rstrip(": "))
            raise
        if self._is_sse and response.status_code >= 400:
            self._tell(f"it answered with status {response.status_code}")  # no message will ever tell of it
        if response.headers.get("content-encoding", "identity") != "identity":
            self._tell("its answer is packed, which was not asked for")
            await response.aclose()
            raise httpx2.DecodingError("the answer is packed, which was not asked for", request=request)
        is_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Counted(response.stream, 0 if is_stream else self._most, self._tell)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    """`most`: bytes that may come; 0 for no bound."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int, tell: Tell) -> None:
        self._inner = inner
        self._most = most
        self._tell = tell

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        try:
            async for piece in self._inner:
                count += len(piece)
                if self._most and count > self._most:
                    raise httpx2.StreamError(f"it sent a message of more than {self._most} bytes")
                yield piece
        except httpx2.TransportError as error:
            self._tell(f"{type(error).__name__}: {error}".rstrip(": "))
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()
