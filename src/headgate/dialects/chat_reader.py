"""A model's answer in OpenAI's Chat Completions, streamed or whole, as events. Bears with the quirks of providers.

Pure: knows no socket and no caller. https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast, get_args

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
    Refusal,
    Sealed,
    Text,
    Thought,
)
from headgate.core.errors import UpstreamBroke, UpstreamGarbled
from headgate.core.ids import new_run_id
from headgate.dialects.call_ids import CallIds
from headgate.dialects.think import ThinkSplitter

_FINISHES = frozenset(get_args(Finish))
_OURS = frozenset(
    ("role", "content", "reasoning_content", "reasoning", "thinking_blocks", "refusal", "tool_calls", "function_call")
)
_TOP = frozenset(("id", "object", "created", "model", "choices", "usage"))
_CHOICE = frozenset(("index", "delta", "message", "finish_reason", "stop_reason"))
_Piece = TypeVar("_Piece", Text, Thought, Text | Thought)


class _Making:
    """A call in the making: what came of it, and how much of that was told."""

    __slots__ = ("arguments", "id", "name", "number", "told")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = ""
        self.number = -1
        self.told = 0


class Reader:
    """One turn of a model, from its stream or its whole answer; `answer` fills up meanwhile.

    `streams_calls`: calls come while they are made, as CallBegun and CallPiece; else `finish` puts them, whole, into
    `answer` alone.
    """

    def __init__(self, streams_calls: bool = False) -> None:
        self.answer = Answer()
        self._streams_calls = streams_calls
        self._think = ThinkSplitter()
        self._calls: list[_Making] = []
        self._at: dict[int, _Making] = {}
        self._begun = 0
        self._unsealed = ""
        self._id = ""
        self._ids = CallIds()
        self._has_custom_calls = False

    def feed(self, frames: bytes) -> Iterable[ChatEvent]:
        """Complete server-sent events; gives what they say."""
        for event in sse.events(frames):
            data = sse.data_of(event)
            if data is not None and data.strip() != b"[DONE]":
                chunk = _object(data)
                self._note(chunk)
                if text := self._text_alone(chunk):
                    yield self._noted(Text(text))
                else:
                    yield from self._choices(chunk)

    def whole(self, body: bytes) -> Iterable[ChatEvent]:
        """A complete answer; raises UpstreamGarbled when it holds none."""
        completion = _object(body)
        choices = completion.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        message = first.get("message")
        if not isinstance(message, dict):
            raise UpstreamGarbled("The provider's answer holds no message.")
        calls = [{**call, "index": number} for number, call in enumerate(_listed(message.get("tool_calls")))]
        choice = {**first, "index": 0, "delta": {**message, "tool_calls": calls}}
        self._note(completion)
        yield from self._choices({"choices": [choice]})

    def finish(self) -> Iterable[ChatEvent]:
        """The turn is over; gives what was held back until now."""
        yield from map(self._noted, self._think.end())
        answer = self.answer
        for call in self._calls:
            yield from self._tell(call, is_over=True)
            if call.number < 0:
                call.id = self._own_id(call)
        answer.calls = tuple(Call(call.id, call.name, call.arguments) for call in self._calls)
        if answer.finish in ("stop", "tool_calls") and not self._has_custom_calls:
            answer.finish = "tool_calls" if answer.calls else "stop"

    def _note(self, chunk: Mapping[str, Any]) -> None:
        """What a chunk tells beside its choices; raises UpstreamBroke for an error."""
        answer = self.answer
        if error := chunk.get("error"):
            told = error.get("message") if isinstance(error, dict) else error
            raise UpstreamBroke(f"The provider broke off: {told}")
        self._id = self._id or str(chunk.get("id") or "")
        if more := _others(chunk, _TOP):
            answer.beside = {**answer.beside, **more}

    def _text_alone(self, chunk: Mapping[str, Any]) -> str:
        """The text of a chunk that says nothing else, as most do; empty for any other."""
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return ""
        for name, value in choices[0].items():
            if value and name != "delta":
                return ""
        delta = choices[0].get("delta")
        text = delta.get("content") if type(delta) is dict and len(delta) == 1 else None
        return text if type(text) is str and text and self._think.passes(text) else ""

    def _choices(self, chunk: Mapping[str, Any]) -> Iterator[ChatEvent]:
        for choice in _listed(chunk.get("choices")):
            if choice.get("index"):
                continue  # of several answers the first one counts
            delta = choice.get("delta") or {}
            if not isinstance(delta, dict):
                raise UpstreamGarbled("The provider sent a delta that is no object.")
            self._note_end(choice)
            yield from self._delta(delta, _others(choice, _CHOICE))

    def _note_end(self, choice: Mapping[str, Any]) -> None:
        finish, sequence = choice.get("finish_reason"), choice.get("stop_reason")
        if finish:
            is_known = isinstance(finish, str) and finish in _FINISHES
            self.answer.finish = cast("Finish", finish) if is_known else "stop"
        if isinstance(sequence, str) and finish == "stop":
            self.answer.beside = {**self.answer.beside, "stop_sequence": sequence}

    def _delta(self, delta: Mapping[str, Any], beside: Mapping[str, Any]) -> Iterator[ChatEvent]:
        answer = self.answer
        yield from self._thoughts(delta)
        for text in self._texts(delta.get("content")):
            if isinstance(text, Thought):
                yield self._noted(text)
                continue
            for told in self._think.feed(text):
                yield self._noted(told._replace(beside=beside) if beside and isinstance(told, Text) else told)
        if refusal := _text(delta, "refusal"):
            answer.refusal += refusal
            yield Refusal(refusal)
        for piece in _listed(delta.get("tool_calls")):
            if "custom" in piece:
                self._has_custom_calls = True
                yield Other({"tool_calls": [piece]})
            else:
                yield from self._piece(piece)
        if isinstance(old := delta.get("function_call"), dict):
            yield from self._piece({"index": 0, "function": old})
        for name in ("annotations", "images"):
            _listed(delta.get(name))
        if unknown := _others(delta, _OURS):
            yield Other(unknown)

    def _thoughts(self, delta: Mapping[str, Any]) -> Iterator[Thought | Sealed]:
        """Where blocks hold text, `reasoning_content` only repeats it; so does a block whose seal comes behind it."""
        blocks = _listed(delta.get("thinking_blocks"))
        texts = [_text(block, "thinking") for block in blocks]
        plain = _text(delta, "reasoning_content") or _text(delta, "reasoning", lenient=True)
        if plain and not any(texts):
            yield self._noted(Thought(plain))
        for block, text in zip(blocks, texts, strict=True):
            seal = Sealed(_text(block, "signature"), _text(block, "data"))
            is_sealed = bool(seal.signature or seal.sealed)
            if text and not (is_sealed and self._unsealed.endswith(text)):
                yield self._noted(Thought(text))
            if is_sealed:
                self._unsealed = ""
                yield seal

    def _texts(self, content: object) -> Iterator[str | Thought]:
        """`content` is a text; Mistral's thinking models send parts."""
        if isinstance(content, str):
            if content:
                yield content
            return
        for part in _listed(content):
            match part:
                case {"type": "thinking", "thinking": list(thoughts)}:
                    yield from (Thought(_text(thought, "text")) for thought in _listed(thoughts) if thought.get("text"))
                case {"text": str(text)}:
                    yield text

    def _noted(self, piece: _Piece) -> _Piece:
        if isinstance(piece, Text):
            self.answer.text += piece.text
        else:
            self.answer.thought += piece.text
            self._unsealed += piece.text
        return piece

    def _piece(self, piece: Mapping[str, Any]) -> Iterator[ChatEvent]:
        function = piece.get("function") or {}
        if not isinstance(function, dict):
            raise UpstreamGarbled("The provider sent a tool call that is no object.")
        id_, name = _text(piece, "id"), _text(function, "name")
        call = self._call_of(piece.get("index"), id_, name)
        call.id = call.id or id_
        call.name = call.name or name
        arguments = function.get("arguments")
        if arguments and not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        call.arguments += arguments or ""
        yield from self._tell(call)

    def _call_of(self, index: object, id_: str, name: str) -> _Making:
        """The call that a piece belongs to. Providers that leave out the index, or send the same for all, send each
        call whole, with an id of its own.
        """
        if not isinstance(index, int):
            index = len(self._calls) if id_ or not self._calls else len(self._calls) - 1
        call = self._at.get(index)
        if call is not None and id_ and name and id_ != call.id and call.arguments and _is_whole(call.arguments):
            call = None
        if call is None:
            call = self._at[index] = _Making()
            self._calls.append(call)
        return call

    def _tell(self, call: _Making, *, is_over: bool = False) -> Iterator[ChatEvent]:
        """What is new of a call. It begins when its name is known, and its id, or at least some of its arguments."""
        if not self._streams_calls:
            return
        if call.number < 0:
            if not is_over and not (call.name and (call.id or call.arguments)):
                return
            if not call.name:
                raise UpstreamGarbled("The provider sent a tool call without a name.")
            call.id = self._own_id(call)
            call.number = self._begun
            self._begun += 1
            yield CallBegun(call.number, call.id, call.name)
        if call.told < len(call.arguments):
            yield CallPiece(call.number, call.arguments[call.told :])
            call.told = len(call.arguments)

    def _own_id(self, call: _Making) -> str:
        """An id is made up for a call whose provider gives none, for others cannot do without."""
        if not call.id:
            self._id = self._id or new_run_id()
            call.id = f"call_{self._id}_{self._calls.index(call)}"
        return self._ids.own(call.id)


def _is_whole(arguments: str) -> bool:
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return False
    return True


def _others(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """What a provider tells that nobody here knows, but for what is null or empty."""
    return {name: value for name, value in fields.items() if value and name not in known}


def _listed(value: object) -> list[dict[str, Any]]:
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UpstreamGarbled("The provider sent something else where a list of objects belongs.")
    return value


def _text(fields: Mapping[str, Any], name: str, *, lenient: bool = False) -> str:
    value = fields.get(name)
    if not value or (lenient and not isinstance(value, str)):
        return ""
    if not isinstance(value, str):
        raise UpstreamGarbled(f"The provider sent something else where the text '{name}' belongs.")
    return value


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise UpstreamGarbled("The provider's answer is not JSON.") from None
    if not isinstance(found, dict):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    return found
