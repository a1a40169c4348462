"""Relays the stream of a provider that speaks OpenAI's Responses API: the caller gets the provider's bytes, with the
model renamed where a response is told.

Most events are deltas, which are told by a byte scan; one is parsed when it may tell a response or an error.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from headgate.core import splice, sse
from headgate.core.errors import UpstreamBroke, UpstreamError, UpstreamFault, UpstreamGarbled
from headgate.core.money import usd
from headgate.core.request import ModelRequest
from headgate.core.run import Attempt, now
from headgate.core.tokens import reported
from headgate.dialects.responses_writer import broken
from headgate.upstreams.refusals import told_inside

_TEXT = re.compile(rb'"delta": ?"((?:[^"\\]|\\.)*+)"')
_NUMBER = re.compile(rb'"sequence_number": ?(\d{1,15})')
_BEGINNINGS = frozenset(("response.created", "response.queued", "response.in_progress"))
_ENDS = frozenset(("response.completed", "response.incomplete"))
_FAILURES = frozenset(("response.failed", "response.cancelled", "error"))


class ResponsesRelay:
    """One stream; see FrameRelay, whose place it takes. A failure that the provider tells of is passed on as it is, and
    then raised.
    """

    __slots__ = ("_attempt", "_has_failed", "_last", "_name", "_splitter", "began", "done", "failure")

    def __init__(self, request: ModelRequest, attempt: Attempt) -> None:
        self._attempt = attempt
        self._name = request.model
        self._splitter = sse.Splitter()
        self._last = b""
        self._has_failed = False
        self.began = False
        """Whether the model has begun; until then, another one can still be asked."""
        self.failure: UpstreamError | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        if self.failure:
            raise self.failure
        try:
            block = self._splitter.feed(data)
        except sse.EventTooLong:
            raise UpstreamGarbled("The provider sent an event longer than 32 MiB.") from None
        if not block:
            return b""
        self._last = block
        attempt = self._attempt
        attempt.text_bytes += sum(map(len, _TEXT.findall(block)))
        if attempt.first_token and b'"response"' not in block and b'"error"' not in block and b"[DONE]" not in block:
            attempt.chunks += 1
            return block
        relayed: list[bytes] = []
        try:
            for event in sse.events(block):
                relayed.append(self._relay_event(event))  # noqa: PERF401 - what stands before a fault is kept
        except UpstreamError as fault:
            self.failure = fault
            if not any(relayed):
                raise
        return b"".join(relayed)

    def end(self) -> bytes:
        """Raises what broke the stream, also that it ended too soon."""
        if self.failure:
            raise self.failure
        if not self.done:
            raise UpstreamBroke("The provider ended its stream in the middle of the answer.")
        return b""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        """The event that ends the stream; nothing where the provider told the failure itself."""
        if self._has_failed:
            return b""
        numbers = _NUMBER.findall(self._last)
        return broken(status, error, int(numbers[-1]) + 1 if numbers else 0)

    def _relay_event(self, event: bytes) -> bytes:
        data = sse.data_of(event)
        if data is None:
            return b"" if self._is_over else event
        if self._is_over or data.strip() == b"[DONE]":
            return b""
        told = _parsed(data)
        kind = str(told.get("type"))
        self._attempt.chunks += 1
        if kind in _FAILURES:
            return self._fail(event, data, told)
        if kind not in _BEGINNINGS:
            self.began = True
            if not self._attempt.first_token and (kind in _ENDS or told.get("delta") or "item" in told):
                self._attempt.first_token = now()
        response = told.get("response")
        if not isinstance(response, dict):
            return event
        if kind in _ENDS:
            self._attempt.tokens = reported(response.get("usage"))
            self.done = True
        return self._with_response(event, data, response)

    @property
    def _is_over(self) -> bool:
        return self.done or self._has_failed

    def _fail(self, event: bytes, data: bytes, told: Mapping[str, Any]) -> bytes:
        """Before the model began nothing is passed on, for another one may answer."""
        response = told.get("response")
        inner = response if isinstance(response, dict) else told
        error = inner.get("error")
        self.failure = told_inside(inner if error else {"error": {**told, "type": None}}, UpstreamFault)
        self._attempt.tokens = reported(inner.get("usage")) or self._attempt.tokens
        if not self.began:
            raise self.failure
        self._has_failed = True
        return self._with_response(event, data, response) if isinstance(response, dict) else event

    def _with_response(self, event: bytes, data: bytes, response: Mapping[str, Any]) -> bytes:
        """The event with the caller's name for the model, and the cost where that is to be told."""
        place = splice.locate(data, "response")
        if place is None or data not in event:
            return event
        inner = data[place[0] : place[1]]
        edits = []
        if isinstance(response.get("model"), str) and response["model"] != self._name:
            at = splice.locate(inner, "model")
            if at is not None:
                edits.append((*at, orjson.dumps(self._name)))
        if (cost := self._cost(inner, response)) is not None:
            edits.append(cost)
        if not edits:
            return event
        told = data[: place[0]] + splice.apply(inner, edits) + data[place[1] :]
        return event.replace(data, told)

    def _cost(self, inner: bytes, response: Mapping[str, Any]) -> splice.Edit | None:
        """USD as a further member of `usage`; nothing where no price is known."""
        attempt = self._attempt
        if attempt.cost_of is None or attempt.tokens is None or not response.get("usage"):
            return None
        cost, place = attempt.cost_of(attempt, attempt.tokens), splice.locate(inner, "usage")
        if cost is None or place is None:
            return None
        return (place[1] - 1, place[1] - 1, b',"cost":%b' % orjson.dumps(float(usd(cost))))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        raise UpstreamGarbled("The provider sent an event that is no JSON object.")
    return event
