"""A host on loopback that answers as a test scripts it, and names that resolve as a test says."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Self

Response = bytes | Callable[[str], bytes]


def answer(body: bytes, kind: str = "text/html", status: int = 200, **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def redirect(to: str, status: int = 302) -> bytes:
    return answer(b"", status=status, location=to)


class Host:
    """`pages` by path; `requests` are the heads that came, `names` those asked for by TLS.

    `endless`: bytes to write again and again after a head.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.names: list[str | None] = []
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.names.append(name)
        self.pages: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.endless = b""
        self.hangs = False
        self.written = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
            if length:
                self.requests[-1] += (await reader.readexactly(length)).decode()
            path = head.split(" ", 2)[1]
            writer.write(self.pages.get(path, answer(b"<p>not here</p>", status=404)))
            await writer.drain()
            while self.endless:
                writer.write(self.endless)
                self.written += len(self.endless)
                await writer.drain()
            if self.hangs:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def resolving(**names: Sequence[str]) -> Callable[[str, int], "asyncio.Future[Sequence[str]]"]:
    """A look-up by these names, `_` standing for a dot; each further look-up takes the next of several addresses."""
    asked: dict[str, int] = {}

    async def resolve(host: str, port: int) -> Sequence[str]:
        listed = names.get(host.replace(".", "_"))
        if listed is None:
            raise OSError("no such name")
        at = asked.get(host, 0)
        asked[host] = at + 1
        return [listed[min(at, len(listed) - 1)]]

    return resolve  # type: ignore[return-value]
