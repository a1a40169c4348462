"""A provider that answers the same words to every chat, without any network: for trying out clients and load."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from headgate.core import sse, surfaces
from headgate.core.errors import UpstreamNotFound
from headgate.core.events import Room, Sink, Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.run import Attempt, now
from headgate.core.tokens import reported
from headgate.upstreams.types import UpstreamSettings

_USUAL = "This is a mock answer."
_BYTES_PER_TOKEN = 4
_END = sse.event(b"[DONE]")


class MockUpstream:
    """Options: `answer`, the text; `delay`, seconds before it."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.name = settings.name
        self.speaks = frozenset((surfaces.CHAT.dialect,))
        self._answer = str(settings.options.get("answer", _USUAL))
        self._delay = float(settings.options.get("delay", 0))

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        request = call.request
        if request.surface is not surfaces.CHAT:
            raise UpstreamNotFound(f"The mock provider answers chats only, not {request.surface.name}.")
        await asyncio.sleep(self._delay)
        attempt.first_byte = attempt.first_token = now()
        prompt, completion = request.size // _BYTES_PER_TOKEN, max(1, len(self._answer) // _BYTES_PER_TOKEN)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        attempt.tokens = reported(usage)
        head = {"id": f"chatcmpl-{call.run_id}", "created": int(time.time()), "model": request.model}
        if request.stream:
            return MockStream(iter(_events(head, self._answer, usage if request.wants_usage else None)), attempt)
        message = {"role": "assistant", "content": self._answer}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return Whole(orjson.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}))

    async def models(self) -> list[str]:
        return []

    async def check(self) -> Health:
        return Health("up", 0.0)

    async def close(self) -> None:
        """There is nothing to give back."""


class MockStream:
    """The answer word by word."""

    content_type = b"text/event-stream; charset=utf-8"
    events = True

    def __init__(self, frames: Iterator[bytes], attempt: Attempt) -> None:
        self.before_end: Callable[[], None] | None = None
        self._frames = frames
        self._attempt = attempt

    async def next(self) -> bytes:
        self._attempt.chunks += 1
        piece = next(self._frames, b"")
        if piece == _END and self.before_end is not None:
            self.before_end()
        return piece

    async def pour(self, sink: Sink, room: Room) -> None:
        """Push nothing: all of it is here at once."""

    def close(self) -> None:
        """There is nothing to cut."""


def _events(head: dict[str, Any], answer: str, usage: dict[str, int] | None) -> Iterator[bytes]:
    head = {**head, "object": "chat.completion.chunk"}
    words = answer.split(" ")
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word if number == 0 else f" {word}"} for number, word in enumerate(words)]
    for delta in deltas:
        yield sse.event(orjson.dumps({**head, "choices": [_choice(delta, None)]}))
    yield sse.event(orjson.dumps({**head, "choices": [_choice({}, "stop")]}))
    if usage:
        yield sse.event(orjson.dumps({**head, "choices": [], "usage": usage}))
    yield _END


def _choice(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
