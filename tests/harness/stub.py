"""A scripted upstream on a real socket: it records what it gets and answers, delays, cuts and breaks as told."""

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

BOUND = 10.0
"""Seconds that any wait in a test may take."""


@dataclass
class Answer:
    """What to do with one request.

    `pieces` are written one by one with `gap` seconds between, the first after `delay`; `framing` is length, chunked or
    close. `cut_after`: break the connection after so many bytes of the body. `hang`: never end.
    `raw`: these bytes instead of any HTTP; `hang` keeps the connection open behind them, `reset` breaks it instead of
    closing it. `release`: wait for this event before each piece but the first.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json"
    pieces: list[bytes] | None = None
    framing: str = "length"
    delay: float = 0.0
    gap: float = 0.0
    cut_after: int | None = None
    hang: bool = False
    raw: bytes | None = None
    reset: bool = False
    release: asyncio.Event | None = None


@dataclass
class Recorded:
    """One request as it came. `left` is set when the caller closed the connection while we were at work on it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def chat(text: str = "Hello there.", model: str = "stub-small", **more: Any) -> Answer:
    """A chat completion as OpenAI sends it."""
    return Answer(
        body=json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1750000000,
                "model": model,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
                **more,
            }
        ).encode()
    )


def chunk(
    delta: dict[str, Any] | None = None, finish: str | None = None, model: str = "stub-small", **more: Any
) -> bytes:
    """One event of a chat stream."""
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1750000000,
        "model": model,
        "choices": [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        **more,
    }
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def stream_pieces(
    words: Iterable[str] = ("Hello", " there", "."), *, usage: bool = False, model: str = "stub-small"
) -> list[bytes]:
    """The events of a whole chat stream."""
    pieces = [chunk({"role": "assistant", "content": ""}, model=model)]
    pieces += [chunk({"content": word}, model=model) for word in words]
    pieces.append(chunk({}, "stop", model=model))
    if usage:
        pieces.append(chunk(model=model, usage=USAGE))
    return [*pieces, DONE]


def stream(pieces: list[bytes] | None = None, **more: Any) -> Answer:
    """A chat stream."""
    more = {"framing": "chunked", "content_type": "text/event-stream", **more}
    return Answer(pieces=stream_pieces() if pieces is None else pieces, **more)


def usual(request: Recorded) -> Answer:
    """What a well-behaved provider answers."""
    if request.path.partition("?")[0].endswith("/models"):
        return Answer(
            body=json.dumps({"object": "list", "data": [{"id": "stub-small"}, {"id": "stub-large"}]}).encode()
        )
    asked = request.json if request.headers.get("content-type", "").startswith("application/json") else {}
    if request.path.endswith("/embeddings"):
        return Answer(
            body=b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-0.2,0.3]}],'
            b'"model":"stub-small","usage":{"prompt_tokens":4,"total_tokens":4}}'
        )
    if asked.get("stream"):
        wants = (asked.get("stream_options") or {}).get("include_usage")
        return stream(stream_pieces(usage=bool(wants)))
    return chat()


class Stub:
    """Answers `script` first, in order, then with `otherwise`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.script: deque[Answer] = deque()
        self.otherwise: Callable[[Recorded], Answer] = usual
        self.requests: list[Recorded] = []
        self.connections = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._arrival = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self) -> None:
        """Listen; after a stop on the same port again."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 26, backlog=1024, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the listening socket and all connections: the provider is gone."""
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    def answer(self, *answers: Answer) -> None:
        """Answer the next requests so."""
        self.script.extend(answers)

    @property
    def last(self) -> Recorded:
        return self.requests[-1]

    @property
    def calls(self) -> list[Recorded]:
        """The requests that called a model."""
        return [request for request in self.requests if request.method == "POST"]

    async def wait_for_calls(self, count: int) -> None:
        """Until so many requests have come; bounded."""
        async with asyncio.timeout(BOUND):
            while len(self.calls) < count:
                self._arrival.clear()
                await self._arrival.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._open.add(writer)
        try:
            while (request := await _read_request(reader, number)) is not None:
                self.requests.append(request)
                self._arrival.set()
                answer = self.script.popleft() if self.script and request.method == "POST" else self.otherwise(request)
                if not await _give(answer, request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Recorded | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Recorded(method, path, headers, body, connection)


async def _give(answer: Answer, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send an answer; returns whether the connection can serve another request."""
    takes_time = answer.delay or answer.gap or answer.hang or answer.release
    watch = asyncio.get_running_loop().create_task(_note_leaving(request, reader)) if takes_time else None
    try:
        await asyncio.sleep(answer.delay)
        if writer.transport.is_closing():
            raise ConnectionResetError
        if answer.raw is not None:
            writer.write(answer.raw)
            await writer.drain()
            if answer.hang:
                await asyncio.wait_for(request.left.wait(), BOUND)
            if answer.reset:
                _reset(writer)
            return False
        pieces = answer.pieces if answer.pieces is not None else [answer.body]
        writer.write(_head(answer, sum(map(len, pieces))))
        await writer.drain()
        whole = await _send_pieces(answer, pieces, writer)
        if answer.hang:
            await asyncio.wait_for(request.left.wait(), BOUND)
            return False
        if not whole:
            writer.transport.abort()
            return False
        if answer.framing == "chunked":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return answer.framing != "close"
    except ConnectionError:
        request.left.set()
        raise
    finally:
        if watch is not None:
            watch.cancel()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _head(answer: Answer, length: int) -> bytes:
    headers = {**({"content-type": answer.content_type} if answer.content_type else {}), **answer.headers}
    if answer.framing == "chunked":
        headers["transfer-encoding"] = "chunked"
    elif answer.framing == "length":
        headers["content-length"] = str(length)
    else:
        headers["connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Scripted\r\n{lines}\r\n".encode("latin-1")


async def _send_pieces(answer: Answer, pieces: list[bytes], writer: asyncio.StreamWriter) -> bool:
    left = answer.cut_after
    for number, piece in enumerate(pieces):
        if number:
            if answer.release:
                await asyncio.wait_for(answer.release.wait(), BOUND)
            await asyncio.sleep(answer.gap)
        part = piece if left is None else piece[:left]
        if part:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if answer.framing == "chunked" else part)
            await writer.drain()
        if left is not None:
            left -= len(part)
            if left <= 0:
                return False
    return True


async def _note_leaving(request: Recorded, reader: asyncio.StreamReader) -> None:
    """Set `left` when the caller closes; requests that follow on the connection are not touched."""
    while not reader.at_eof():
        await asyncio.sleep(0.01)
        if reader.exception() is not None:
            break
    request.left.set()
