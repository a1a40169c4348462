"""What a model answered in the words of Anthropic's Messages API, as events. Pure: knows no socket and no caller.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from headgate.core import sse
from headgate.core.chat import (
    Answer,
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Finish,
    Other,
    Sealed,
    Text,
    Thought,
)
from headgate.core.errors import UpstreamBroke, UpstreamGarbled
from headgate.dialects.call_ids import CallIds

_FINISHES: Mapping[object, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_PLAIN_STOPS = frozenset(("end_turn", "max_tokens", "tool_use", "refusal"))
"""What other dialects have a word for; any other reason to stop is told beside."""
_MESSAGE = frozenset(("id", "type", "role", "model", "content", "usage", "stop_reason", "stop_sequence"))
Fields = Mapping[str, Any]


class Reader:
    """One answer, from its stream or whole; `answer` fills up meanwhile.

    Blocks that only this dialect knows, such as a search of the provider's, come whole as `content_blocks`.
    """

    def __init__(self, streams_calls: bool = False) -> None:
        self.answer = Answer()
        self._streams_calls = streams_calls
        self._calls: dict[int, list[str]] = {}
        self._numbers: dict[int, int] = {}
        self._ids = CallIds()
        self._blocks: dict[int, dict[str, Any]] = {}
        self._events: Mapping[object, Callable[[Fields], Iterable[ChatEvent]]] = {
            "message_start": self._started,
            "content_block_start": self._block_began,
            "content_block_delta": self._block_went_on,
            "content_block_stop": self._block_ended,
            "message_delta": self._ended,
            "error": _failed,
        }
        self._deltas: Mapping[object, Callable[[int, Fields], Iterable[ChatEvent]]] = {
            "text_delta": self._text,
            "thinking_delta": self._thought,
            "signature_delta": self._signature,
            "input_json_delta": self._input,
            "citations_delta": self._cited,
        }

    def feed(self, frames: bytes) -> Iterator[ChatEvent]:
        """Complete server-sent events; gives what they say. Unknown ones say nothing that could be told."""
        for event in sse.events(frames):
            data = sse.data_of(event)
            if data is not None:
                told = _object(data)
                read = self._events.get(_string(told.get("type")))
                if read is not None:
                    yield from read(told)

    def whole(self, body: bytes) -> Iterator[ChatEvent]:
        """A complete answer; raises UpstreamGarbled when it holds none."""
        message = _object(body)
        if message.get("type") == "error":
            yield from _failed(message)
        content = message.get("content")
        if not isinstance(content, list):
            raise UpstreamGarbled("The provider's answer holds no content.")
        for number, block in enumerate(content):
            at = {"index": number}
            yield from self._block_began({**at, "content_block": _mapping(block)})
            yield from self._block_ended(at)
        yield from self._started({"message": message})
        yield from self._ended({"delta": {name: message.get(name) for name in ("stop_reason", "stop_sequence")}})

    def finish(self) -> Iterator[ChatEvent]:
        """The answer is over; gives what was held back until now."""
        for number in tuple(self._blocks):  # a stream may end without closing them
            yield from self._block_ended({"index": number})
        answer = self.answer
        answer.calls = tuple(Call(*self._calls[number]) for number in sorted(self._calls))
        if answer.calls and answer.finish == "stop":
            answer.finish = "tool_calls"
        elif answer.finish == "tool_calls" and not answer.calls:
            answer.finish = "stop"

    def _started(self, told: Fields) -> Iterable[ChatEvent]:
        message = _mapping(told.get("message"))
        tier = _mapping(message.get("usage") or {}).get("service_tier")
        more = {name: message[name] for name in message.keys() - _MESSAGE}
        self._keep({**more, "service_tier": "default" if tier == "standard" else tier})
        return ()

    def _block_began(self, told: Fields) -> Iterator[ChatEvent]:
        number, block = _index(told), dict(_mapping(told.get("content_block")))
        if number in self._blocks or number in self._calls or not _string(block.get("type")):
            raise UpstreamGarbled("The provider began a block twice, or one without a type.")
        self._blocks[number] = block
        match block.get("type"):
            case "text":
                block["_from"] = len(self.answer.text)
                cited = block.get("citations")
                block["_cited"] = list(cited) if isinstance(cited, list) else []
                yield from self._text(number, block)
            case "thinking":
                yield from self._thought(number, block)
            case "tool_use":
                yield from self._call(number, block)

    def _block_went_on(self, told: Fields) -> Iterator[ChatEvent]:
        delta = _mapping(told.get("delta"))
        read = self._deltas.get(_string(delta.get("type")))
        if read is not None:
            yield from read(_index(told), delta)
        else:
            yield Other({"content_deltas": [dict(delta)]})

    def _block_ended(self, told: Fields) -> Iterator[ChatEvent]:
        number = _index(told)
        block = self._blocks.pop(number, None)
        match block:
            case None:
                return
            case {"type": "text"}:
                for citation in block["_cited"]:
                    yield _source(citation, block["_from"], len(self.answer.text))
            case {"type": "tool_use"}:
                if not self._calls[number][2]:
                    yield from self._input(number, {"partial_json": "{}"})
            case {"type": "thinking"}:
                if signature := block.get("signature"):
                    yield Sealed(str(signature))
            case {"type": "redacted_thinking"}:
                yield Sealed(sealed=str(block.get("data", "")))
            case _:
                block.pop("_cited", None)
                if typed := block.pop("_typed", ""):
                    block["input"] = _json(typed)
                yield Other({"content_blocks": [block]})

    def _ended(self, told: Fields) -> Iterable[ChatEvent]:
        """Why it stopped, and whatever else the end of the message tells."""
        delta = _mapping(told.get("delta"))
        reason = delta.get("stop_reason")
        self.answer.finish = _FINISHES.get(_string(reason), self.answer.finish)
        more = {name: delta[name] for name in delta.keys() - {"stop_reason"}}
        if isinstance(reason, str) and reason not in _PLAIN_STOPS:
            more["stop_reason"] = reason
        if "context_management" in told:
            more["context_management"] = told["context_management"]
        self._keep(more)
        return ()

    def _keep(self, more: Fields) -> None:
        """What the answer tells besides, without what is null."""
        if told := {name: value for name, value in more.items() if value is not None}:
            self.answer.beside = {**self.answer.beside, **told}

    def _text(self, _: int, delta: Fields) -> Iterator[ChatEvent]:
        if text := _string(delta.get("text")):
            self.answer.text += text
            yield Text(text)

    def _thought(self, _: int, delta: Fields) -> Iterator[ChatEvent]:
        if thought := _string(delta.get("thinking")):
            self.answer.thought += thought
            yield Thought(thought)

    def _signature(self, number: int, delta: Fields) -> Iterable[ChatEvent]:
        if block := self._blocks.get(number):
            block["signature"] = _string(block.get("signature")) + _string(delta.get("signature"))
        return ()

    def _cited(self, number: int, delta: Fields) -> Iterable[ChatEvent]:
        """Told when the text is complete that it belongs to."""
        block = self._blocks.get(number)
        if block is not None:
            block.setdefault("_cited", []).append(delta.get("citation"))
        return ()

    def _call(self, number: int, block: Fields) -> Iterator[ChatEvent]:
        """A call begins; some servers give its whole input with it."""
        begun = block.get("input")
        arguments = orjson.dumps(begun).decode() if begun else ""
        id_, name = _string(block.get("id")), _string(block.get("name"))
        if not (id_ and name):
            raise UpstreamGarbled("The provider sent a tool call without an id or a name.")
        call = self._calls[number] = [self._ids.own(id_), name, ""]
        ordinal = self._numbers[number] = len(self._calls) - 1
        if self._streams_calls:
            yield CallBegun(ordinal, call[0], call[1])
        if arguments:
            yield from self._input(number, {"partial_json": arguments})

    def _input(self, number: int, delta: Fields) -> Iterator[ChatEvent]:
        piece = _string(delta.get("partial_json"))
        call = self._calls.get(number)
        if call is not None and piece:
            call[2] += piece
            if self._streams_calls:
                yield CallPiece(self._numbers[number], piece)
        elif piece and (block := self._blocks.get(number)):
            block["_typed"] = block.get("_typed", "") + piece


def _source(citation: object, start: int, end: int) -> Other:
    """A source of a piece of the text. Pages of the web are told as OpenAI's API tells them, too."""
    source = dict(_mapping(citation))
    told: dict[str, Any] = {"citations": [source]}
    if isinstance(url := source.get("url"), str):
        page = {"url": url, "title": source.get("title") or "", "start_index": start, "end_index": end}
        told["annotations"] = [{"type": "url_citation", "url_citation": page}]
    return Other(told)


def _failed(told: Fields) -> Iterable[ChatEvent]:
    error = _mapping(told.get("error"))
    raise UpstreamBroke(str(error.get("message") or "The provider reported an error inside its answer."), told=error)


def _index(told: Fields) -> int:
    number = told.get("index")
    if type(number) is not int:
        raise UpstreamGarbled("The provider sent a piece of a block without its index.")
    return number


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"arguments": text}


def _mapping(value: object) -> Fields:
    if not isinstance(value, dict):
        raise UpstreamGarbled("The provider's answer has something else where an object belongs.")
    return value


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    return found
