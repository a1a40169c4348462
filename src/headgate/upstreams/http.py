"""HTTP/1.1 to providers: pooled connections, TLS, proxies. Knows no JSON and no provider.

Our own because this is the hot path: beside general clients it halves what a relayed request or chunk costs
(docs/decisions/0002-http-client.md has the measurements).
"""

import asyncio
import socket
import ssl
import zlib
from collections import deque
from urllib.parse import SplitResult, urlsplit

from headgate.core.errors import UpstreamBroke, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from headgate.core.events import Room, Sink
from headgate.upstreams.connection import Connection
from headgate.upstreams.tunnel import TunnelRefused, open_tunnel
from headgate.upstreams.types import TimeoutSettings

_LARGEST_WHOLE = 256 << 20
_MOST_COPIED = 64 << 10
_IDLE_SECONDS = 30.0
_LOOK_SECONDS = 0.25
_STALL_SECONDS = 0.2
"""Timers are served before sockets: after a stop of the whole machine, answers that had come would count as silence."""
_ABANDONED = UpstreamBroke("The call was given up.")


class Response:
    """An answer whose headers have come. Header names are in lower case."""

    __slots__ = ("_connection", "_inflate", "_origin", "content_type", "headers", "status")

    def __init__(self, connection: Connection, origin: "Origin") -> None:
        self._connection = connection
        self._origin = origin
        self.status = connection.status
        self.headers = headers = connection.headers
        self.content_type = headers.get(b"content-type", b"").lower()
        encoding = headers.get(b"content-encoding")
        self._inflate = None if encoding is None else _inflater(encoding.lower())

    @property
    def ended(self) -> bool:
        """Whether all of the body has come and was taken."""
        return self._connection.drained

    async def piece(self) -> bytes:
        """The next bytes of the body, empty at its end; raises UpstreamError when it breaks off."""
        if self._inflate is None:
            return await self._connection.piece()
        while data := await self._connection.piece():
            try:
                if plain := self._inflate.decompress(data):
                    return plain
            except zlib.error:
                raise UpstreamGarbled("The provider's compressed answer could not be read.") from None
        return b""

    async def pour(self, sink: Sink, room: Room) -> None:
        """Push pieces instead of having them pulled; see Connection.pour. A compressed body can only be pulled."""
        if self._inflate is None:
            await self._connection.pour(sink, room)

    def stop_pouring(self) -> None:
        self._connection.stop_pouring()

    async def read(self, limit: int = _LARGEST_WHOLE) -> bytes:
        """The whole body; raises UpstreamError."""
        connection = self._connection
        if connection.complete and self._inflate is None:
            return connection.take()
        body = await self.piece()
        if connection.drained and self._inflate is None:
            return body
        parts = [body]
        size = len(body)
        while part := await self.piece():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise UpstreamGarbled(f"The provider's answer is larger than {limit} bytes.")
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else cut it."""
        self._origin.give_back(self._connection)


class Origin:
    """One scheme, host and port, and its connections."""

    def __init__(self, base_url: str, wire: "Wire", proxy: str | None = None) -> None:
        parts = urlsplit(base_url)
        self._wire = wire
        self._proxy = urlsplit(proxy) if proxy else None
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._idle: deque[Connection] = deque()
        self.authority = parts.netloc.rpartition("@")[2]
        self.path = parts.path.rstrip("/")

    async def send(self, head: bytes, body: bytes, timeouts: TimeoutSettings) -> Response:
        """Send a request, `head` without its last empty line; raises UpstreamUnreachable, -Timeout or -Garbled."""
        connection = self._take() or await self._connect(timeouts.connect)
        self._wire.watch(connection)
        try:
            await connection.call(_request(head, body), timeouts)
            return Response(connection, self)
        except BaseException:
            self.give_back(connection)
            raise

    def _take(self) -> Connection | None:
        """The idle connection used last; those that idled too long are closed."""
        now = self._wire.loop.time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and now < connection.idle_until:
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, seconds: float) -> Connection:
        loop = self._wire.loop
        try:
            async with asyncio.timeout(seconds):
                return await (self._connect_directly(loop) if self._proxy is None else self._tunnel(loop, self._proxy))
        except TimeoutError:
            raise UpstreamTimeout("The connection to the provider was not made in time.") from None
        except ssl.SSLError as fault:
            raise UpstreamUnreachable(
                f"The TLS handshake with the provider failed: {fault.reason or 'broken off'}."
            ) from None
        except socket.gaierror:
            raise UpstreamUnreachable("The provider's address could not be resolved.") from None
        except TunnelRefused as refused:
            raise UpstreamUnreachable(f"The proxy did not connect to the provider: {refused}.") from None
        except OSError:
            refuser = "provider" if self._proxy is None else "proxy"
            raise UpstreamUnreachable(f"The {refuser} refused the connection.") from None

    async def _connect_directly(self, loop: asyncio.AbstractEventLoop) -> Connection:
        _, connection = await loop.create_connection(
            lambda: Connection(loop),
            self._host,
            self._port,
            ssl=self._wire.tls() if self._tls else None,
            server_hostname=self._host if self._tls else None,
        )
        return connection

    async def _tunnel(self, loop: asyncio.AbstractEventLoop, proxy: SplitResult) -> Connection:
        transport: asyncio.Transport | None = await open_tunnel(proxy, self._host, self._port)
        connection = Connection(loop)
        assert transport is not None
        transport.set_protocol(connection)
        if self._tls:
            tls = self._wire.tls()
            transport = await loop.start_tls(transport, connection, tls, server_hostname=self._host)
            if transport is None:
                raise TunnelRefused("the connection was lost")
        connection.connection_made(transport)
        return connection

    def give_back(self, connection: Connection) -> None:
        self._wire.running.discard(connection)
        if not connection.reusable:
            connection.transport.abort()
            return
        hint = connection.headers.get(b"keep-alive")
        connection.idle_until = self._wire.loop.time() + (_IDLE_SECONDS if hint is None else _announced_idle(hint))
        self._idle.append(connection)
        if len(self._idle) > 1:
            self._drop_old()

    def _drop_old(self) -> None:
        oldest = self._idle[0]
        if oldest.lost or self._wire.loop.time() > oldest.idle_until:
            self._idle.popleft().transport.abort()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().transport.abort()


class Wire:
    """What all origins share: the TLS settings, and one clock hand that looks at every running call's deadlines."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.running: set[Connection] = set()
        self._hand: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._tls: ssl.SSLContext | None = None

    def tls(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def watch(self, connection: Connection) -> None:
        self.running.add(connection)
        if self._hand is None:
            self._look_later()

    def _look_later(self) -> None:
        self._due = self.loop.time() + _LOOK_SECONDS
        self._hand = self.loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Check every running call; having stood still ourselves, only the next time, for what came is still unread."""
        now = self.loop.time()
        if now - self._due < _STALL_SECONDS:
            for connection in list(self.running):
                connection.check_deadlines(now)
        if self.running:
            self._look_later()
        else:
            self._hand = None

    def close(self) -> None:
        if self._hand is not None:
            self._hand.cancel()
        for connection in list(self.running):
            connection.fail(_ABANDONED)


def _request(head: bytes, body: bytes) -> tuple[bytes, ...]:
    """What is sent; in one piece unless copying costs more than a second piece does."""
    if not body:
        return (head, b"\r\n")
    if len(body) > _MOST_COPIED:
        return (b"%bcontent-length: %d\r\n\r\n" % (head, len(body)), body)
    return (b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body),)


def _inflater(encoding: bytes) -> "zlib._Decompress | None":
    if encoding == b"identity":
        return None
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise UpstreamGarbled(
            f"The provider's answer is encoded as {encoding.decode('latin-1')}, which was not asked for."
        )
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)


def _announced_idle(hint: bytes) -> float:
    """How long the provider keeps idle connections, a second less, from `keep-alive: timeout=5`."""
    _, found, seconds = hint.partition(b"timeout=")
    seconds = seconds.partition(b",")[0].strip()
    return min(_IDLE_SECONDS, max(0.0, float(seconds) - 1.0)) if found and seconds.isdigit() else _IDLE_SECONDS
