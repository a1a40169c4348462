"""A gateway's address as the benchmark sees it: the measured request, and small requests around the measurement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

PROMPT = "Explain in a few words why the sky is blue and the sea is not always of the same colour. " * 5


@dataclass(frozen=True)
class Words:
    """An API in which a chat is asked for: its path, the fields of a request beside `model`, and those of a stream.

    `answer` stands in every good answer, `end` in the last event of every whole stream.
    """

    path: str
    fields: Mapping[str, object]
    streaming: Mapping[str, object]
    answer: bytes
    end: bytes


CHAT = Words(
    "/v1/chat/completions",
    {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
        "temperature": 0.2,
    },
    {"stream": True, "stream_options": {"include_usage": True}},
    b'"choices"',
    b"data: [DONE]",
)
MESSAGES = Words(
    "/v1/messages",
    {
        "system": "Be brief.",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 1000,
        "temperature": 0.2,
    },
    {"stream": True},
    b'"stop_reason"',
    b"event: message_stop",
)
RESPONSES = Words(
    "/v1/responses",
    {"instructions": "Be brief.", "input": PROMPT, "temperature": 0.2, "store": False},
    {"stream": True},
    b'"output"',
    b"event: response.completed",
)


@dataclass(frozen=True)
class Target:
    """Where to send requests, in which words, and what a gateway needs to accept them."""

    port: int
    model: str = "bench"
    host: str = "127.0.0.1"
    path: str = ""
    """Where it is not that of the words."""
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)
    words: Words = CHAT

    def request(self, *, stream: bool) -> bytes:
        """The bytes of one request, with a body of about 0.6 KB."""
        payload: dict[str, object] = {"model": self.model, **self.words.fields}
        if stream:
            payload |= self.words.streaming
        body = json.dumps(payload | dict(self.fields)).encode()
        return self._head("POST", self.path or self.words.path, len(body)) + body

    async def exchange(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One small request outside the measurement, such as the stub's own controls: the raw answer."""
        return await self.raw(self._head(method, path, len(body)) + body)

    async def raw(self, request: bytes, limit_seconds: float = 5) -> bytes:
        """Sends bytes on a new connection; returns what comes back, up to a JSON body's closing brace or the end."""
        answer = b""
        async with asyncio.timeout(limit_seconds):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                writer.write(request)
                while (data := await reader.read(65536)) and not (answer := answer + data).rstrip().endswith(b"}"):
                    continue
            finally:
                writer.close()
        return answer

    def _head(self, method: str, path: str, length: int) -> bytes:
        headers = {"host": f"{self.host}:{self.port}", "content-type": "application/json", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n".encode()
