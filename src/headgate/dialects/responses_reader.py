"""What a model answered in the words of OpenAI's Responses API, read as events: from its stream, or whole.

Pure: knows no socket and no upstream.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from headgate.core import sse
from headgate.core.chat import Answer, Call, CallBegun, CallPiece, ChatEvent, Other, Refusal, Sealed, Text, Thought
from headgate.core.errors import UpstreamFault, UpstreamGarbled
from headgate.dialects.call_ids import CallIds
from headgate.dialects.responses_items import SIGNED

_RESOURCE = frozenset(
    (
        *("id", "object", "created_at", "completed_at", "status", "background", "error", "incomplete_details"),
        *("instructions", "max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls"),
        *("previous_response_id", "presence_penalty", "frequency_penalty", "prompt_cache_key", "reasoning"),
        *("safety_identifier", "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p"),
        *("truncation", "usage", "user", "metadata", "prompt_cache_retention", "conversation", "prompt", "billing"),
        *("output_text", "moderation"),
    )
)
"""What a response tells beside its output, and what says nothing that the caller's own API would tell."""
_PARTS = ("text", "refusal")


class Reader:
    """One answer. `streams_calls`: calls are told while they are made."""

    def __init__(self, streams_calls: bool = False) -> None:
        self.answer = Answer()
        self._streams_calls = streams_calls
        self._calls: dict[str, tuple[int, list[str]]] = {}
        """By the id of the item: the number of the call; its id, its name and the pieces of its arguments."""
        self._told: set[str] = set()
        """Ids of the items of which deltas came."""
        self._done_keys: set[str] = set()
        self._ids = CallIds()

    def feed(self, frames: bytes) -> Iterable[ChatEvent]:
        for event in sse.events(frames):
            data = sse.data_of(event)
            if data is not None and data.strip() != b"[DONE]":
                yield from self._event(_object(data))

    def whole(self, body: bytes) -> Iterable[ChatEvent]:
        response = _object(body)
        output = response.get("output")
        if not isinstance(output, list):
            if response.get("error"):
                raise _fault(response)
            raise UpstreamGarbled("The provider's answer holds no output.")
        for number, item in enumerate(output):
            yield from self._done({"item": item, "output_index": number})
        self._end(response)

    def finish(self) -> Iterable[ChatEvent]:
        answer = self.answer
        answer.calls = tuple(
            Call(call[0], call[1], "".join(call[2:])) for _, call in sorted(self._calls.values(), key=_number)
        )
        if answer.calls and answer.finish == "stop":
            answer.finish = "tool_calls"
        return ()

    def _event(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        handler = _HANDLERS.get(_string(event, "type"))
        return handler(self, event) if handler is not None else ()

    def _text(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if piece := _string(event, "delta"):
            self._told.add(_key(event))
            self.answer.text += piece
            probabilities = event.get("logprobs")
            yield Text(piece, {"logprobs": {"content": probabilities}}) if probabilities else Text(piece)

    def _refusal(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if piece := _string(event, "delta"):
            self._told.add(_key(event))
            self.answer.refusal += piece
            yield Refusal(piece)

    def _thought(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if piece := _string(event, "delta"):
            self._told.add(_key(event))
            self.answer.thought += piece
            yield Thought(piece)

    def _next_thought(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        """Parts of a summary are paragraphs."""
        if event.get("summary_index"):
            yield Thought("\n\n")

    def _annotation(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if isinstance(annotation := event.get("annotation"), dict):
            yield Other({"annotations": [_nested(annotation)]})

    def _added(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        item = event.get("item")
        if isinstance(item, dict) and item.get("type") == "function_call" and _string(item, "name"):
            yield from self._begin(_key(event, item), item)

    def _begin(self, key: str, item: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if key in self._calls:
            return
        number = len(self._calls)
        id_, name = _string(item, "call_id") or _string(item, "id"), _string(item, "name")
        if not (id_ and name):
            raise UpstreamGarbled("The provider sent a tool call without an id or a name.")
        id_ = self._ids.own(id_)
        self._calls[key] = number, [id_, name]
        if self._streams_calls:
            yield CallBegun(number, id_, name)

    def _piece(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        call, piece = self._calls.get(_key(event)), _string(event, "delta")
        if call is not None and piece:
            call[1].append(piece)
            if self._streams_calls:
                yield CallPiece(call[0], piece)

    def _done(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        """An item is complete; gives what no delta told of it."""
        item = event.get("item")
        if not isinstance(item, dict):
            return
        key, kind = _key(event, item), item.get("type")
        if key in self._done_keys:
            return
        self._done_keys.add(key)
        if kind == "function_call":
            yield from self._call_done(key, item)
        elif kind == "reasoning":
            yield from self._reasoning_done(key, item)
        elif kind == "message":
            if key not in self._told:
                yield from self._message_done(item)
        elif not _string(item, "type"):
            raise UpstreamGarbled("The provider sent an item without a type.")
        else:
            yield Other({"output_item": item})

    def _call_done(self, key: str, item: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if key not in self._calls:
            yield from self._begin(key, item)
        number, call = self._calls[key]
        arguments = item.get("arguments")
        if len(call) == 2 and arguments:
            call.append(arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode())
            if self._streams_calls:
                yield CallPiece(number, call[2])

    def _reasoning_done(self, key: str, item: Mapping[str, Any]) -> Iterable[ChatEvent]:
        if key not in self._told:
            thought = _joined(item.get("content")) or _joined(item.get("summary"))
            if thought:
                self.answer.thought += thought
                yield Thought(thought)
        if sealed := _string(item, "encrypted_content"):
            id_ = _string(item, "id")
            signed = sealed.startswith(SIGNED)
            yield Sealed(sealed.removeprefix(SIGNED), "", id_) if signed else Sealed("", sealed, id_)

    def _message_done(self, item: Mapping[str, Any]) -> Iterable[ChatEvent]:
        for part in _objects(item.get("content")):
            if refusal := _string(part, "refusal"):
                self.answer.refusal += refusal
                yield Refusal(refusal)
            elif text := _string(part, "text"):
                self.answer.text += text
                probabilities = part.get("logprobs")
                yield Text(text, {"logprobs": {"content": probabilities}}) if probabilities else Text(text)
            if annotations := _objects(part.get("annotations")):
                yield Other({"annotations": [_nested(one) for one in annotations]})

    def _ended(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        response = event.get("response")
        self._end(response if isinstance(response, dict) else {})
        return ()

    def _failed(self, event: Mapping[str, Any]) -> Iterable[ChatEvent]:
        response = event.get("response")
        raise _fault(response if isinstance(response, dict) else event)

    def _end(self, response: Mapping[str, Any]) -> None:
        if response.get("status") == "failed":
            raise _fault(response)
        if response.get("status") == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else ""
            self.answer.finish = "content_filter" if reason == "content_filter" else "length"
        self.answer.beside = {
            name: value for name, value in response.items() if name not in _RESOURCE and value is not None
        }


_Handler = Callable[[Reader, Mapping[str, Any]], Iterable[ChatEvent]]
_HANDLERS: dict[str, _Handler] = {
    "response.output_text.delta": Reader._text,
    "response.refusal.delta": Reader._refusal,
    "response.reasoning_summary_text.delta": Reader._thought,
    "response.reasoning_text.delta": Reader._thought,
    "response.reasoning.delta": Reader._thought,
    "response.reasoning_summary_part.added": Reader._next_thought,
    "response.output_text.annotation.added": Reader._annotation,
    "response.output_item.added": Reader._added,
    "response.function_call_arguments.delta": Reader._piece,
    "response.output_item.done": Reader._done,
    "response.completed": Reader._ended,
    "response.incomplete": Reader._ended,
    "response.failed": Reader._failed,
    "error": Reader._failed,
}
"""What stands in no row repeats what deltas told, or tells how far a tool of the provider's is."""


def _key(event: Mapping[str, Any], item: Mapping[str, Any] | None = None) -> str:
    """What tells the items of an answer apart: their place, which all servers tell, or else their id."""
    at = event.get("output_index")
    if type(at) is int:
        return f"{at}"
    return str(event.get("item_id") or (item or {}).get("id") or "")


def _number(call: tuple[int, list[str]]) -> int:
    return call[0]


def _joined(parts: object) -> str:
    return "\n\n".join(_string(part, "text") for part in _objects(parts))


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list; nothing of anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _string(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _nested(annotation: Any) -> Any:
    """As chat completions have it: what belongs to a kind of annotation one level deeper."""
    if not isinstance(annotation, dict) or annotation.get("type") != "url_citation":
        return annotation
    return {"type": "url_citation", "url_citation": {key: one for key, one in annotation.items() if key != "type"}}


def _fault(told: Mapping[str, Any]) -> UpstreamFault:
    error = told.get("error")
    message = error.get("message") if isinstance(error, dict) else told.get("message")
    return UpstreamFault(f"The provider failed: {message}" if isinstance(message, str) else "The provider failed.")


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise UpstreamGarbled("The provider's answer is not JSON.") from None
    if not isinstance(found, dict):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    return found
