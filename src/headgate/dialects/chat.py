"""OpenAI's Chat Completions as events, both ways: what a model answered is read, what a run said is written.

Pure: knows no socket, no upstream and no caller. https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

import orjson

from headgate.core import sse
from headgate.core.chat import (
    NONE,
    Answer,
    Asking,
    Call,
    ChatEvent,
    Ended,
    Finish,
    Other,
    Refusal,
    Step,
    Text,
    Thought,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.core.errors import UpstreamGarbled
from headgate.core.tokens import Tokens
from headgate.dialects.think import ThinkSplitter
from headgate.dialects.types import Occasion

_FINISHES = frozenset(get_args(Finish))
_OURS = frozenset(("role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"))
_TOP = frozenset(("id", "object", "created", "model", "choices", "usage"))
_CHOICE = frozenset(("index", "delta", "message", "finish_reason"))


class Reader:
    """One turn of a model, from its stream or its whole answer; `answer` fills up meanwhile."""

    def __init__(self, streams_calls: bool = False) -> None:
        self.answer = Answer()
        self._think = ThinkSplitter()
        self._calls: dict[int, list[str]] = {}

    def feed(self, frames: bytes) -> Iterable[ChatEvent]:
        """Complete server-sent events; gives what they say. Calls are given by `finish` only, whole."""
        for event in sse.events(frames):
            data = sse.data_of(event)
            if data is not None and data.strip() != b"[DONE]":
                yield from self._chunk(_object(data))

    def whole(self, body: bytes) -> Iterable[ChatEvent]:
        """A complete answer; raises UpstreamGarbled when it holds none."""
        completion = _object(body)
        choices = completion.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        message = first.get("message")
        if not isinstance(message, dict):
            raise UpstreamGarbled("The provider's answer holds no message.")
        for number, call in enumerate(message.get("tool_calls") or ()):
            self._piece({"index": number, **call})
        yield from self._chunk({**completion, "choices": [{**first, "delta": {**message, "tool_calls": None}}]})

    def finish(self) -> Iterable[ChatEvent]:
        """The turn is over; gives what was held back until now."""
        yield from map(self._noted, self._think.end())
        answer = self.answer
        answer.calls = tuple(Call(*self._calls[index]) for index in sorted(self._calls))
        if answer.calls:
            answer.finish = "tool_calls"
        elif answer.finish == "tool_calls":
            answer.finish = "stop"

    def _chunk(self, chunk: Mapping[str, Any]) -> Iterable[ChatEvent]:
        answer = self.answer
        if chunk.keys() - _TOP:
            answer.beside = {**answer.beside, **{name: chunk[name] for name in chunk.keys() - _TOP}}
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            finish = choice.get("finish_reason")
            if finish:
                answer.finish = cast("Finish", finish) if finish in _FINISHES else "stop"
            yield from self._delta(delta, {name: choice[name] for name in choice.keys() - _CHOICE if choice[name]})

    def _delta(self, delta: Mapping[str, Any], beside: Mapping[str, Any]) -> Iterable[ChatEvent]:
        answer = self.answer
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            yield self._noted(Thought(thought))
        if text := delta.get("content"):
            for piece in self._think.feed(text):
                yield self._noted(piece._replace(beside=beside) if beside and isinstance(piece, Text) else piece)
        if refusal := delta.get("refusal"):
            answer.refusal += refusal
            yield Refusal(refusal)
        for piece in delta.get("tool_calls") or ():
            self._piece(piece)
        unknown = {name: delta[name] for name in delta.keys() - _OURS if delta[name]}
        if unknown:
            yield Other(unknown)

    def _noted(self, piece: Text | Thought) -> Text | Thought:
        if isinstance(piece, Text):
            self.answer.text += piece.text
        else:
            self.answer.thought += piece.text
        return piece

    def _piece(self, piece: Mapping[str, Any]) -> None:
        """Providers that leave out the index send each call whole, with an id of its own."""
        index = piece.get("index")
        if index is None:
            index = len(self._calls) if piece.get("id") or not self._calls else len(self._calls) - 1
        call = self._calls.setdefault(index, ["", "", ""])
        function = piece.get("function") or {}
        call[0] = piece.get("id") or call[0]
        call[1] = call[1] or function.get("name") or ""
        arguments = function.get("arguments")
        call[2] += arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode() if arguments else ""


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise UpstreamGarbled("The provider's answer is not JSON.") from None
    if not isinstance(found, dict):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    return found


class StreamWriter:
    """A run as a stream of chunks. `extensions`: also say what the gateway does, in fields of its own."""

    def __init__(self, id_: str, model: str, created: int, *, usage: bool, extensions: bool) -> None:
        self._base = {"id": id_, "object": "chat.completion.chunk", "created": created, "model": model}
        self._usage = usage
        self._extensions = extensions
        self._began = False
        self._called = 0

    def feed(self, event: ChatEvent) -> bytes:
        match event:
            case Text(text, beside):
                return self._delta({"content": text}, beside=beside)
            case Thought(text):
                return self._delta({"reasoning_content": text})
            case Refusal(text):
                return self._delta({"refusal": text})
            case Other(fields):
                return self._delta(fields)
            case Call():
                self._called += 1
                return self._delta({"tool_calls": [{"index": self._called - 1, **call_of(event)}]})
            case Ended():
                return self._end(event)
            case Step():
                return self._delta({"reasoning_event": step_of(event)}) if self._extensions else b""
            case _:
                return self._status(event) if self._extensions else b""

    def end(self) -> bytes:
        return b""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)

    def _status(self, event: ChatEvent) -> bytes:
        return self._chunk([self._choice({})], {"proxy_status": status_of(event)})

    def _delta(self, delta: Mapping[str, Any], beside: Mapping[str, Any] = NONE) -> bytes:
        return self._chunk([self._choice(delta, beside)])

    def _choice(self, delta: Mapping[str, Any], beside: Mapping[str, Any] = NONE) -> dict[str, Any]:
        if not self._began:
            self._began = True
            delta = {"role": "assistant", **({"content": ""} if "content" not in delta else {}), **delta}
        return {"index": 0, "delta": delta, **beside, "finish_reason": None}

    def _end(self, ended: Ended) -> bytes:
        choice = {**self._choice({}), "finish_reason": ended.finish}
        more: dict[str, Any] = {**ended.beside}
        if ended.stop and self._extensions:
            more["proxy_status"] = {"type": "stopped", "status": ended.stop}
        last = self._chunk([choice], more)
        if self._usage and ended.tokens is not None:
            last += self._chunk([], {"usage": usage_of(ended.tokens)})
        return last + sse.DONE

    def _chunk(self, choices: list[dict[str, Any]], more: Mapping[str, Any] = NONE) -> bytes:
        return sse.event(orjson.dumps({**self._base, "choices": choices, **more}))


class WholeWriter:
    """A run as one completion."""

    def __init__(self, id_: str, model: str, created: int, *, extensions: bool) -> None:
        self._base = {"id": id_, "object": "chat.completion", "created": created, "model": model}
        self._extensions = extensions
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._calls: list[dict[str, Any]] = []
        self._steps: list[dict[str, Any]] = []
        self._held: list[dict[str, Any]] = []
        self._beside: dict[str, Any] = {}
        self._ended: Ended | None = None

    def feed(self, event: ChatEvent) -> bytes:
        message = self._message
        match event:
            case Text(text, beside):
                message["content"] = (message["content"] or "") + text
                self._beside = {**self._beside, **beside}
            case Thought(text):
                message["reasoning_content"] = message.get("reasoning_content", "") + text
            case Refusal(text):
                message["refusal"] = message.get("refusal", "") + text
            case Other(fields):
                message.update(fields)
            case Call():
                self._calls.append(call_of(event))
            case Step():
                self._steps.append(step_of(event))
            case ToolHeld(call):
                self._held.append(approval_of(call))
            case Ended():
                self._ended = event
        return b""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)

    def end(self) -> bytes:
        ended, message = self._ended, self._message
        assert ended is not None
        if self._calls:
            message["tool_calls"] = self._calls
        if self._steps and self._extensions:
            message["reasoning_events"] = self._steps
        choice = {"index": 0, "message": message, "logprobs": None, **self._beside, "finish_reason": ended.finish}
        more: dict[str, Any] = {"usage": usage_of(ended.tokens)} if ended.tokens is not None else {}
        if ended.stop and self._extensions:
            more["proxy_status"] = {"type": "stopped", "status": ended.stop}
        if self._held and self._extensions:
            more["approvals_required"] = self._held
        return orjson.dumps({**self._base, "choices": [choice], **ended.beside, **more})


def streamed(occasion: Occasion) -> StreamWriter:
    id_, model, created, _, usage, extensions = occasion
    return StreamWriter(f"chatcmpl-{id_}", model, created, usage=usage, extensions=extensions)


def whole(occasion: Occasion) -> WholeWriter:
    id_, model, created, _, _, extensions = occasion
    return WholeWriter(f"chatcmpl-{id_}", model, created, extensions=extensions)


def refused(_status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is an error."""
    return {"error": error}


def broken(_status: int, error: Mapping[str, Any]) -> bytes:
    """The last event of a stream that breaks off; no end marker follows it."""
    return sse.event(orjson.dumps({"error": error}))


def call_of(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def message_of(answer: Answer, calls: Iterable[Call]) -> dict[str, Any]:
    """A turn of the model as a message of the conversation, with these of its calls."""
    listed = [call_of(call) for call in calls]
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    return {**message, "tool_calls": listed} if listed else message


def result_of(call: Call, result: str) -> dict[str, Any]:
    """What a tool said as a message of the conversation."""
    return {"role": "tool", "tool_call_id": call.id, "content": result}


def images_of(images: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Pictures (base64, MIME type) that tools gave back; the API takes them from the user only."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": "Pictures that the tools gave back:"}]
    for data, mime_type in images:
        parts.append({"type": "image_url", "image_url": {"url": f"data:{mime_type};base64,{data}"}})
    return {"role": "user", "content": parts}


def pictures_of(images: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Pictures (base64, MIME type) for the caller, as members of `images` of a message."""
    return [
        {"type": "image_url", "index": number, "image_url": {"url": f"data:{mime_type};base64,{data}"}}
        for number, (data, mime_type) in enumerate(images)
    ]


def status_of(event: ChatEvent) -> dict[str, Any]:
    """What the tool loop is doing, in four words."""
    match event:
        case Asking(turn):
            return {"type": "tool_execution", "status": "calling_llm" if turn == 1 else "processing_results"}
        case ToolStarted(call):
            return {"type": "tool_execution", "status": "executing_tool", "tool_name": call.name}
        case ToolHeld(call):
            return {"type": "tool_execution", "status": "approval_required", **approval_of(call)}
        case ToolEnded(call):
            status = {"type": "tool_execution", "status": "tool_completed", "tool_name": call.name}
            return {**status, "success": not event.failed, "duration_ms": round(event.seconds * 1000)}
    raise TypeError(event)


def approval_of(call: Call) -> dict[str, Any]:
    """A call that waits for somebody to approve it."""
    return {"tool_name": call.name, "tool_call_id": call.id, "arguments": call.arguments}


def step_of(step: Step) -> dict[str, Any]:
    return {
        "type": step.type,
        "step_iteration": step.iteration,
        "metadata": {**step.metadata, **({"usage": usage_of(step.tokens)} if step.tokens else {})},
        "error": step.error,
    }


def usage_of(tokens: Tokens) -> dict[str, Any]:
    """Counts in the API's words."""
    usage: dict[str, Any] = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
    }
    if tokens.cached or tokens.cache_write:
        usage["prompt_tokens_details"] = {"cached_tokens": tokens.cached}
    if tokens.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
    return usage
