"""Relays the stream of a provider that speaks OpenAI: the caller gets the provider's bytes, with the model renamed.

Frames are looked at by byte scan only; one is parsed as JSON when it may hold the first token, usage or an error, or
when its model name stands differently from the frame before.
"""

import re
import sys
from typing import Any, NamedTuple

import orjson

from headgate.core import splice, sse
from headgate.core.errors import UpstreamBroke, UpstreamError, UpstreamGarbled
from headgate.core.money import usd
from headgate.core.request import ModelRequest
from headgate.core.run import Attempt, now
from headgate.core.tokens import reported
from headgate.upstreams.refusals import told_inside

_NULL_USAGE = b',"usage":null'
_QUOTE = ord('"')
"""Bytes look for a number at once, for a text only after they found that it is no number."""
_CONTENT = b'"content":"'
_MOST_PATTERNS = 3
_TEXT = re.compile(rb'"(?:content|arguments|reasoning_content|reasoning|text)": ?"((?:[^"\\]|\\.)*+)"')
_TOKEN_FIELDS = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "refusal", "audio")


class _Pattern(NamedTuple):
    """An event that was looked at, but for the text it carries: what stands before and behind, old and new.

    The seam is what stands between the texts of two such events in a row.
    """

    before: bytes
    behind: bytes
    seam: bytes
    new_before: bytes
    new_behind: bytes
    new_seam: bytes
    text_from: int
    text_to: int
    """Counted from the end, so below zero."""


def _pattern(before: bytes, behind: bytes, new_before: bytes, new_behind: bytes) -> _Pattern:
    seam, new_seam = behind + before, new_behind + new_before
    return _Pattern(before, behind, seam, new_before, new_behind, new_seam, len(before), -len(behind))


# Fits nothing, for no event is that long.
_NO_PATTERN = _pattern(b"\0", b"\0", b"", b"")._replace(text_from=sys.maxsize)


class FrameRelay:
    """One stream. `feed` takes what the provider sent and gives what the caller gets."""

    __slots__ = (
        "_attempt",
        "_hides_usage",
        "_name",
        "_pattern",
        "_patterns_left",
        "_plain",
        "_renamed",
        "_spelled",
        "_splitter",
        "done",
        "failure",
        "finished",
    )

    def __init__(self, request: ModelRequest, attempt: Attempt, *, hides_usage: bool) -> None:
        self._attempt = attempt
        self._hides_usage = hides_usage
        self._name = request.model
        self._plain = not request.surface.ends_with_done
        self._splitter = sse.Splitter()
        self._spelled = b""
        self._renamed = b""
        self._pattern = _NO_PATTERN
        self._patterns_left = _MOST_PATTERNS
        self.failure: UpstreamError | None = None
        self.done = False
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        """The complete frames to pass on; raises UpstreamBroke for an error frame, UpstreamGarbled for no JSON."""
        if self.failure:
            raise self.failure
        before, behind, seam, new_before, new_behind, new_seam, start, end = self._pattern
        if data.startswith(before) and data.endswith(behind) and not self._splitter.rest:
            # The event that was learned, with another text, or several in a row as they come when there is much to do.
            # Texts without quotes cannot end early and hide anything.
            texts = relayed = data[start:end]
            if _QUOTE in texts:
                texts, relayed = texts.replace(seam, b""), texts.replace(seam, new_seam)
            if texts and _QUOTE not in texts:
                attempt = self._attempt
                attempt.chunks += 1
                attempt.text_bytes += len(texts)
                return new_before + relayed + new_behind
        try:
            block = self._splitter.feed(data)
        except sse.EventTooLong:
            raise UpstreamGarbled("The provider sent an event longer than 32 MiB.") from None
        if not block:
            return b""
        if self._attempt.first_token and self._is_ordinary(block):
            return self._relay_ordinary(block)
        return self._relay_events(block)

    def _relay_ordinary(self, block: bytes) -> bytes:
        self._attempt.chunks += 1
        self._attempt.text_bytes += _text_in(block)
        if b'"finish_reason":"' in block or b'"finish_reason": "' in block:
            self.finished = True
        elif self._patterns_left:
            self._learn(block)
        return self._changed(block)

    def _changed(self, block: bytes) -> bytes:
        if self._hides_usage:
            block = block.replace(_NULL_USAGE, b"")
        return block.replace(self._spelled, self._renamed) if self._spelled else block

    def _learn(self, block: bytes) -> None:
        """Most events of a stream differ in their text alone; the next ones are compared with this one."""
        start = block.find(_CONTENT) + len(_CONTENT)
        if start < len(_CONTENT) or block.find(b"\n\n") != len(block) - 2:
            return
        try:
            end = splice.end_of_string(block, start - 1) - 1
        except ValueError:  # it is not JSON; whoever reads it will say so
            return
        before, behind = block[:start], block[end:]
        self._patterns_left -= 1
        self._pattern = _pattern(before, behind, self._changed(before), self._changed(behind))

    def end(self) -> bytes:
        """What is still to be sent when the provider ended in good order; raises UpstreamBroke if it ended too soon."""
        if self.failure:
            raise self.failure
        if self.done:
            return b""
        rest = bytes(self._splitter.rest).strip()
        if sse.data_of(rest) == b"[DONE]":  # without the blank line behind it
            return sse.DONE
        if rest or not (self.finished or self._plain):
            raise UpstreamBroke("The provider ended its stream in the middle of the answer.")
        return b"" if self._plain else sse.DONE

    @property
    def began(self) -> bool:
        """Whether anything but comments has come."""
        return self._attempt.chunks > 0

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

    def _is_ordinary(self, block: bytes) -> bool:
        """No usage, no error, no end, and one model per event, spelled as in the frame that was parsed last."""
        if b'"error"' in block or b"[DONE]" in block:
            return False
        if b'"usage"' in block and block.count(b'"usage"') != block.count(b'"usage":null'):
            return False
        if self._plain:
            return True
        named = block.count(b'"model"')
        if not self._spelled or not named:
            return not named
        return named == block.count(self._spelled) == (block.count(b"\n\n") or block.count(b"\n\r\n"))

    def _relay_event(self, event: bytes) -> bytes:
        data = sse.data_of(event)
        if data is None or self.done:
            return event if data is None else b""
        if data.strip() == b"[DONE]":
            self._attempt.chunks += 1
            self.done = True
            return event
        chunk = _parsed(data)
        self._attempt.text_bytes += _text_in(data)
        if chunk.get("error") or chunk.get("object") == "error":
            raise told_inside(chunk, UpstreamBroke)
        self._attempt.chunks += 1
        choices = chunk.get("choices")
        self._note(chunk, choices)
        if self._hides_usage and choices == [] and chunk.get("usage"):
            return b""
        if data not in event:
            event, data = in_one_line(event, data)
        if self._hides_usage:
            event, data = event.replace(_NULL_USAGE, b""), data.replace(_NULL_USAGE, b"")
        if self._attempt.cost_of is not None and self._attempt.tokens is not None and chunk.get("usage"):
            event, data = self._with_cost(event, data)
        if chunk.get("model") is None or self._plain:
            return event
        return self._rename(event, data)

    def _with_cost(self, event: bytes, data: bytes) -> tuple[bytes, bytes]:
        """USD as a further member of `usage`, as LiteLLM's proxy tells it; nothing where no price is known."""
        attempt, place = self._attempt, splice.locate(data, "usage")
        assert attempt.cost_of is not None
        assert attempt.tokens is not None
        cost = attempt.cost_of(attempt, attempt.tokens)
        if cost is None or place is None:
            return event, data
        end = place[1] - 1
        told = b'%b,"cost":%b%b' % (data[:end].rstrip(), orjson.dumps(float(usd(cost))), data[end:])
        return event.replace(data, told), told

    def _rename(self, event: bytes, data: bytes) -> bytes:
        offset = event.index(data)
        at = splice.locate(data, "model")
        if at is None:
            return event
        start, end = offset + at[0], offset + at[1]
        key = event.rindex(b'"', 0, event.rindex(b'"', 0, start))
        name = orjson.dumps(self._name)
        self._spelled = event[key:end]
        self._renamed = event[key:start] + name
        return event[:start] + name + event[end:]

    def _note(self, chunk: dict[str, Any], choices: object) -> None:
        attempt = self._attempt
        if tokens := reported(chunk.get("usage")):
            attempt.tokens = tokens
        if not isinstance(choices, list):
            choices = []
        for choice in choices:
            if not isinstance(choice, dict):
                raise UpstreamGarbled("The provider sent a choice that is no object.")
            if choice.get("finish_reason"):
                self.finished = True
            if not attempt.first_token and _has_token(choice):
                attempt.first_token = now()
        if self._plain and not attempt.first_token:
            attempt.first_token = now()


def _text_in(block: bytes) -> int:
    """Bytes of the answer's text in events, for what has to be estimated when no usage comes."""
    return sum(map(len, _TEXT.findall(block)))


def in_one_line(event: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The event with its data in one line; a line end between JSON tokens means nothing."""
    others = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    flat = data.replace(b"\n", b" ")
    return b"\n".join([*others, b"data: " + flat, b"", b""]), flat


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        chunk = None
    if not isinstance(chunk, dict):
        raise UpstreamGarbled("The provider sent an event that is no JSON object.")
    return chunk


def _has_token(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(delta.get(field) for field in _TOKEN_FIELDS)
    return bool(choice.get("text"))
