"""Streams of stored runs, cut in whatever way: the doors that have them, and a client that puts the parts together."""

import asyncio
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import httpx

from tests.harness.gateway import KEY
from tests.harness.stub import BOUND

HELPER = "augmented/helper"


class Served(Protocol):
    """A gateway, in this process or in others; `http` sends the key."""

    port: int
    http: httpx.AsyncClient


class Door(NamedTuple):
    """How a stored stream is asked for. `inside`: its events tell their number themselves."""

    name: str
    path: str
    body: dict[str, Any]
    headers: Mapping[str, str] = MappingProxyType({})
    inside: bool = False

    async def ready(self, http: httpx.AsyncClient) -> "Door":
        """The same with a session of its own, where it needs one."""
        if "{session}" not in self.path:
            return self
        made = await http.post(f"/a1/agents/{HELPER}/sessions", json={})
        return self._replace(path=self.path.replace("{session}", made.json()["id"]))

    async def whole(self, http: httpx.AsyncClient) -> "Part":
        """The uncut stream."""
        answer = await http.post(self.path, json={**self.body, "stream": True}, headers=dict(self.headers))
        assert answer.status_code == 200, answer.text
        return taken(answer.headers["x-headgate-run"], answer.content, self)

    def request(self) -> bytes:
        """The call as it goes over the socket."""
        body = json.dumps({**self.body, "stream": True}).encode()
        lines = [f"POST {self.path} HTTP/1.1", "host: x", f"authorization: Bearer {KEY}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


_MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT = Door("chat", "/v1/chat/completions", {"model": "small", "messages": _MESSAGES}, {"x-conversation-id": ""})
C1 = Door("c1", "/c1/chat", {"model": "small", "message": "Hi"})
A1 = Door("a1", f"/a1/agents/{HELPER}/sessions/{{session}}/messages", {"message": "Hi"})
MESSAGES = Door(
    "messages",
    "/v1/messages",
    {"model": "small", "max_tokens": 50, "messages": _MESSAGES},
    {"x-conversation-id": ""},
)
RESPONSES = Door("responses", "/v1/responses", {"model": "small", "input": "Hi"}, inside=True)
BACKGROUND = Door("background", "/v1/responses", {**RESPONSES.body, "background": True}, inside=True)
DOORS = (CHAT, C1, A1, MESSAGES, RESPONSES, BACKGROUND)


class Part(NamedTuple):
    """What came of a stream until it was cut: its complete events, the run's id, and the last one's number."""

    run: str
    whole: bytes
    last: int


def taken(run: str, got: bytes, door: Door) -> Part:
    """What a client has of the bytes that came."""
    whole = got[: got.rfind(b"\n\n") + 2] if b"\n\n" in got else b""
    pattern = rb'"sequence_number": ?(\d+)' if door.inside else rb"^id: \S+:(\d+)$"
    numbers = re.findall(pattern, whole, re.MULTILINE)
    return Part(run, whole, int(numbers[-1]) if numbers else -1)


async def cut(gateway: Served, door: Door, most: int = 1 << 30, until: bytes = b"") -> Part:
    """Ask, take so many bytes of the stream, or all until some come, and break the connection without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(door.request())
    try:
        async with asyncio.timeout(BOUND):
            head = await reader.readuntil(b"\r\n\r\n")
            run = re.search(rb"x-headgate-run: (\S+)", head)
            assert run is not None, head
            got = b""
            while len(got) < most and not (until and until in got) and (size := int(await reader.readline(), 16)):
                got += (await reader.readexactly(size + 2))[:-2]
    finally:
        writer.transport.abort()
    return taken(run[1].decode(), got[:most], door)


async def rest(gateway: Served, door: Door, part: Part, way: int = 0) -> bytes:
    """What comes behind a cut, asked for in one of the ways that there are."""
    seen = {"last-event-id": f"{part.run}:{part.last}"} if part.last >= 0 else {}
    if door.inside and way % 2:
        place = f"&starting_after={part.last}" if part.last >= 0 else ""
        answer = await gateway.http.get(f"/v1/responses/{part.run}?stream=true{place}")
    elif seen and not door.inside and way % 2:
        answer = await gateway.http.post(door.path, json={}, headers=seen)
    else:
        answer = await gateway.http.get(f"/v1/runs/{part.run}/events", headers=seen)
    assert answer.status_code == 200, answer.text
    return answer.content


def text_of(stream: bytes) -> str:
    """The text that a stream says, by whatever door."""
    said = []
    for line in stream.splitlines():
        if not line.startswith(b"data: {"):
            continue
        told = json.loads(line[6:])
        said += [choice["delta"].get("content") or "" for choice in told.get("choices", ())]
        if told.get("type") == "response.output_text.delta":
            said.append(told["delta"])
        elif told.get("type") == "content_block_delta":
            said.append(told["delta"].get("text", ""))
    return "".join(said)


def is_whole(stream: bytes, door: Door) -> bool:
    """Whether it tells its end, once."""
    ends = {"messages": b"event: message_stop\n", "responses": b"event: response.completed\n"}
    dialect = "responses" if door.inside else door.name
    return stream.count(ends.get(dialect, b"data: [DONE]\n")) == 1


def boundaries(stream: bytes) -> list[int]:
    """Where each event ends."""
    return [match.end() for match in re.finditer(b"\n\n", stream)]
