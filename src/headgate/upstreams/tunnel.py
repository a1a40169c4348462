"""Connections through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), then whatever the caller speaks."""

import asyncio
import base64
from urllib.parse import SplitResult, unquote

_LARGEST_HEAD = 16 << 10


class TunnelRefused(OSError):
    """The proxy did not open the tunnel."""


class _Opening(asyncio.Protocol):
    """Collects the proxy's answer up to its empty line."""

    def __init__(self, opened: "asyncio.Future[bytes]") -> None:
        self._opened = opened
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._opened.done() and (b"\r\n\r\n" in self._head or len(self._head) > _LARGEST_HEAD):
            self._opened.set_result(self._head)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(TunnelRefused("the proxy closed the connection"))


async def open_tunnel(proxy: SplitResult, host: str, port: int) -> asyncio.Transport:
    """A transport to host and port through the proxy; raises OSError, TunnelRefused when the proxy says no."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Opening(opened), proxy.hostname or "", proxy.port or 80)
    shown_host = f"[{host}]" if ":" in host else host
    lines = [f"CONNECT {shown_host}:{port} HTTP/1.1", f"host: {shown_host}:{port}"]
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"proxy-authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        status = (await opened).partition(b" ")[2][:3]
        if status != b"200":
            raise TunnelRefused(f"the proxy answered with {status.decode('latin-1', 'replace') or 'no status'}")
    except BaseException:
        transport.abort()
        raise
    return transport
