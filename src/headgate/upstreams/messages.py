"""What an upstream that speaks Anthropic's Messages API needs besides: its headers, and the relay of its streams.

https://platform.claude.com/docs/en/api/messages-streaming. Events are looked at by byte scan only; one is parsed as
JSON when it begins or ends the message, tells usage or an error, or is the first to hold text.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from headgate.core import splice, sse
from headgate.core.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFault,
    UpstreamForbidden,
    UpstreamGarbled,
    UpstreamKeyRefused,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from headgate.core.request import ModelRequest
from headgate.core.run import Attempt, now
from headgate.core.tokens import reported
from headgate.dialects.messages_signed import signed
from headgate.upstreams.frames import in_one_line
from headgate.upstreams.refusals import told_inside

VERSION = b"anthropic-version"
_USUAL_VERSION = b"2023-06-01"
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TEXT = re.compile(rb'"(?:text|thinking|partial_json)": ?"((?:[^"\\]|\\.)*+)"')
_MARKS = (b'"message_', b'"error"', b'"ping"')
"""What stands in events that are more than a piece of a block. Inside a text their quotes would be escaped."""
_FAULTS: Mapping[object, type[UpstreamError]] = {
    "invalid_request_error": UpstreamRejected,
    "authentication_error": UpstreamKeyRefused,
    "permission_error": UpstreamForbidden,
    "not_found_error": UpstreamNotFound,
    "rate_limit_error": UpstreamRateLimited,
    "timeout_error": UpstreamTimeout,
    "overloaded_error": UpstreamUnavailable,
    "api_error": UpstreamFault,
}


def key_headers(key: str, *, is_anthropic: bool) -> dict[str, str]:
    """Anthropic itself refuses a key that comes in two ways; other servers look in the one place or in the other."""
    return {"x-api-key": key} if is_anthropic else {"x-api-key": key, "authorization": f"Bearer {key}"}


def version_line(fixed: bytes, forwarded: bytes) -> bytes:
    """The version of the API, where neither the caller nor the upstream's settings name one."""
    return b"" if VERSION in fixed or VERSION in forwarded else b"%b: %b\r\n" % (VERSION, _USUAL_VERSION)


def only_signed(body: bytes, attempt: Attempt) -> bytes:
    """A request without thoughts that Anthropic would refuse; the attempt is told."""
    put, lost = signed(orjson.loads(body))
    attempt.dropped += lost
    return splice.rewrite(body, {name: orjson.dumps(value) for name, value in put.items()}, ()) if put else body


class MessagesRelay:
    """One stream. `feed` takes what the provider sent and gives what the caller gets: the same, with our model name."""

    __slots__ = ("_attempt", "_is_closing", "_name", "_splitter", "_usage", "done", "failure")

    def __init__(self, request: ModelRequest, attempt: Attempt) -> None:
        self._attempt = attempt
        self._name = request.model
        self._splitter = sse.Splitter()
        self._usage: dict[str, Any] = {}
        self._is_closing = False
        self.failure: UpstreamError | None = None
        self.done = False

    @property
    def began(self) -> bool:
        """Whether anything but comments and pings has come."""
        return self._attempt.chunks > 0

    def feed(self, data: bytes) -> bytes:
        """The complete events to pass on; raises what an error event means, UpstreamGarbled for no JSON."""
        if self.failure:
            raise self.failure
        try:
            block = self._splitter.feed(data)
        except sse.EventTooLong:
            raise UpstreamGarbled("The provider sent an event longer than 32 MiB.") from None
        if not block:
            return b""
        if self._attempt.first_token and not any(mark in block for mark in _MARKS):
            self._attempt.chunks += block.count(b"\n\n") or 1
            self._attempt.text_bytes += sum(map(len, _TEXT.findall(block)))
            return block
        return self._relay_events(block)

    def end(self) -> bytes:
        """What is still to be sent when the provider ended in good order; raises UpstreamBroke if it ended too soon."""
        if self.failure:
            raise self.failure
        if self.done:
            return b""
        if b"message_stop" in self._splitter.rest:  # without the blank line behind it
            self.done = True
            return _STOP
        if self._splitter.rest.strip() or not self._is_closing:
            raise UpstreamBroke("The provider ended its stream in the middle of the answer.")
        return _STOP

    def _relay_events(self, block: bytes) -> bytes:
        """Event by event. A fault behind good events is kept until they were passed on."""
        relayed: list[bytes] = []
        try:
            for event in sse.events(block):
                relayed.append(self._relay_event(event))  # noqa: PERF401 - what stands before a fault is kept
        except UpstreamError as fault:
            self.failure = fault
            if not any(relayed):
                raise
        return b"".join(relayed)

    def _relay_event(self, event: bytes) -> bytes:
        data = sse.data_of(event)
        if data is None or self.done:
            return event if data is None else b""
        told = _parsed(data)
        kind = told.get("type")
        if kind == "ping":
            return event
        if kind == "error" or "error" in told:
            raise _fault(told)
        attempt = self._attempt
        attempt.chunks += 1
        attempt.text_bytes += sum(map(len, _TEXT.findall(data)))
        if kind == "message_start":
            return self._start(event, data, told)
        if kind == "message_delta":
            self._note_end(told)
        elif kind == "message_stop":
            self.done = True
        elif not attempt.first_token and kind == "content_block_delta":
            attempt.first_token = now()
        return event

    def _start(self, event: bytes, data: bytes, told: Mapping[str, Any]) -> bytes:
        """The message begins: it has the model's name, and what the prompt took."""
        message = told.get("message")
        if not isinstance(message, dict):
            raise UpstreamGarbled("The provider began a message that is no object.")
        self._note_usage(message.get("usage"))
        if message.get("model") is None:
            return event
        if data not in event:
            event, data = in_one_line(event, data)
        outer = splice.locate(data, "message")
        inner = splice.locate(data[slice(*outer)], "model") if outer else None
        if outer is None or inner is None:
            return event
        start = event.index(data) + outer[0]
        return splice.apply(event, [(start + inner[0], start + inner[1], orjson.dumps(self._name))])

    def _note_end(self, told: Mapping[str, Any]) -> None:
        """Its counts are of the whole answer, so that only now there is something to charge for."""
        self._note_usage(told.get("usage"))
        if tokens := reported(self._usage):
            self._attempt.tokens = tokens
        delta = told.get("delta")
        if isinstance(delta, dict) and delta.get("stop_reason"):
            self._is_closing = True

    def _note_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}


def _fault(told: Mapping[str, Any]) -> UpstreamError:
    error = told.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return told_inside(told, _FAULTS.get(str(kind), UpstreamBroke))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise UpstreamGarbled("The provider sent an event that is no JSON object.")
    return told
