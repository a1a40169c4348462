"""A small HTTP/1.1 client for tools: each hop is judged by the guard, connects to an address that was judged, and is
bounded in time and size while it streams. Knows no proxies, no cookies and no keys but those it is given.

Our own because no general client connects to one address while it speaks to a name, on each redirect anew.
"""

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urljoin

import httptools

from headgate.core.version import __version__
from headgate.tools.guard import Guard, Place

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_LARGEST_HEAD = 64 << 10
_PIECE = 64 << 10
_CONNECT_SECONDS = 10.0


class DownloadFailed(Exception):
    """What came, or did not come, in words for a model."""


@dataclass(slots=True)
class Page:
    """An answer: where it came from at last, and its body, unpacked. `cut`: it was longer."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Client:
    """`size` in bytes of an unpacked body, `seconds` for all hops together."""

    guard: Guard
    size: int = 2 << 20
    seconds: float = 20.0
    redirects: int = 5
    headers: Mapping[str, str] = field(default_factory=lambda: {"user-agent": f"headgate/{__version__}"})

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Page:
        """Raises DownloadFailed, and AddressForbidden for any hop that may not be called."""
        return await self._within("GET", url, headers or {}, b"")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Page:
        """A redirect is not followed: the body is not for others."""
        return await self._within("POST", url, headers, body)

    async def _within(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Page:
        try:
            async with asyncio.timeout(self.seconds):
                return await self._hops(method, url, headers, body)
        except TimeoutError:
            raise DownloadFailed(f"no whole answer came within {self.seconds:g} seconds") from None
        except ssl.SSLError as fault:
            raise DownloadFailed(f"the TLS handshake failed: {fault.reason or 'broken off'}") from None
        except OSError:
            raise DownloadFailed("the host cannot be reached") from None

    async def _hops(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Page:
        for _ in range(self.redirects + 1):
            place = await self.guard.place_of(url)
            page = await self._one(method, url, place, headers, body)
            location = page.headers.get("location")
            if page.status not in _REDIRECTS or not location:
                return page
            if method != "GET":
                raise DownloadFailed("the host redirects, which is not followed here")
            url = urljoin(url, location.strip().replace(" ", "%20"))
            headers = {}  # what was meant for one host is not for the next
        raise DownloadFailed(f"there are more than {self.redirects} redirects")

    async def _one(self, method: str, url: str, place: Place, headers: Mapping[str, str], body: bytes) -> Page:
        reader, writer = await _connected(place)
        try:
            sent = {**self.headers, "accept-encoding": "gzip", **headers, "host": place.authority}
            if body or method == "POST":
                sent["content-length"] = str(len(body))
            lines = [f"{method} {place.target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
            writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1") + body)
            answer = _Answer(self.size)
            while not answer.complete and (data := await reader.read(_PIECE)):
                answer.feed(data)
            return answer.page(url)
        finally:
            writer.transport.abort()


async def _connected(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first judged address that takes the call."""
    tls = _tls() if place.scheme == "https" else None
    failed: OSError | None = None
    for address in place.addresses:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(
                    address, place.port, ssl=tls, server_hostname=place.host if tls else None
                )
        except ssl.SSLError:
            raise
        except (OSError, TimeoutError) as error:
            failed = OSError(str(error))
    raise failed or OSError("no address")


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Answer:
    """Reads one answer; `complete` as soon as no more of it is wanted."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._parser = httptools.HttpResponseParser(self)
        self._head = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._length = 0
        self._inflate: zlib._Decompress | None = None
        self._status = 0
        self._cut = False
        self._failure: DownloadFailed | None = None
        """The parser hides what is raised in it."""
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Raises DownloadFailed."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            raise self._failure or DownloadFailed("the answer is not HTTP") from None
        if not self._status:
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                raise DownloadFailed("the answer's headers are too long")

    def page(self, url: str) -> Page:
        if not self._status:
            raise DownloadFailed("the host closed the connection without an answer")
        is_framed = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "")
        if not self.complete and is_framed:
            raise DownloadFailed("the answer broke off")
        return Page(url, self._status, self._headers, b"".join(self._parts), self._cut)

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._status = status
        encoding = self._headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip"):
            self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        elif encoding != "identity":
            self._failure = DownloadFailed(f"the answer is encoded as '{encoding[:20]}', which was not asked for")
            raise self._failure

    def on_body(self, data: bytes) -> None:
        if self.complete:
            return
        if self._inflate is not None:
            try:
                data = self._inflate.decompress(data, self._size - self._length + 1)
            except zlib.error:
                self._failure = DownloadFailed("the packed answer cannot be read")
                raise self._failure from None
        self._parts.append(data[: self._size - self._length])
        self._length += len(data)
        if self._length > self._size:
            self._cut = self.complete = True

    def on_message_complete(self) -> None:
        self.complete = self.complete or bool(self._status)
