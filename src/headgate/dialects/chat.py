"""A run in the words of OpenAI's Chat Completions, streamed or whole, and what the engine says to models in them.

Pure: knows no socket, no upstream and no caller. https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from headgate.core import sse
from headgate.core.chat import (
    NONE,
    Answer,
    Asking,
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Other,
    Refusal,
    Retrieved,
    Sealed,
    Step,
    Text,
    Thought,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.core.chat_request import Thinking
from headgate.core.tokens import Tokens
from headgate.dialects.chat_messages import thinking_block
from headgate.dialects.types import Occasion

_OURS = frozenset(("role", "content", "reasoning_content", "refusal"))
_TOP = frozenset(("id", "object", "created", "model", "choices", "usage", "stop_sequence"))


class _Thoughts:
    """What was thought since the last seal."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open = ""

    def add(self, text: str) -> None:
        self._open += text

    def seal(self, seal: Sealed) -> list[dict[str, Any]]:
        """The thoughts that are complete now, as members of `thinking_blocks`; none where nothing proves them."""
        if not (seal.signature or seal.sealed):
            return []
        text, self._open = self._open, ""
        return [thinking_block(Thinking(text, seal.signature, seal.sealed))]

    def rest(self) -> list[dict[str, Any]]:
        return [thinking_block(Thinking(self._open))] if self._open else []


class StreamWriter:
    """A run as a stream of chunks. Callers that gave `functions` and no `tools` are told of one `function_call`."""

    def __init__(self, occasion: Occasion) -> None:
        self._base = {**_head(occasion), "object": "chat.completion.chunk"}
        self._usage = occasion.usage
        self._extensions = occasion.extensions
        self._knows_functions = _knows_functions(occasion.fields)
        self._thoughts = _Thoughts()
        self._began = False
        self._called = 0
        self._places: dict[int, int] = {}
        self._counts: dict[str, int] = {}

    def feed(self, event: ChatEvent) -> bytes:
        match event:
            case Text(text, beside):
                return self._delta({"content": text}, beside=beside)
            case Thought(text):
                self._thoughts.add(text)
                return self._delta({"reasoning_content": text})
            case Sealed():
                blocks = self._thoughts.seal(event)
                return self._delta(self._numbered({"thinking_blocks": blocks})) if blocks else b""
            case Refusal(text):
                return self._delta({"refusal": text})
            case Call(id_, name, arguments):
                return self._call(self._place(), arguments, id_, name)
            case CallBegun(number, id_, name):
                self._places[number] = self._place()
                return self._call(self._places[number], "", id_, name)
            case CallPiece(number, text):
                return self._call(self._places[number], text)
            case Ended():
                return self._end(event)
            case _:
                return self._aside(event)

    def _aside(self, event: ChatEvent) -> bytes:
        if isinstance(event, Other):
            known = _foreign(event.fields)
            return self._delta(self._numbered(known)) if known else b""
        if not self._extensions:
            return b""
        return self._delta({"reasoning_event": step_of(event)}) if isinstance(event, Step) else self._status(event)

    def _numbered(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Official clients put lists in deltas together by the `index` of their members, and fail where one has none.
        Of one name and index, texts are joined; so pictures are numbered anew, for each batch of tools begins at 0.
        """
        numbered = {**fields}
        for name, value in fields.items():
            if name == "tool_calls" or not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
                continue
            first = self._counts.get(name, 0)
            self._counts[name] = first + len(value)
            if name == "images":
                numbered[name] = [{**one, "index": first + at} for at, one in enumerate(value)]
            else:
                numbered[name] = [{"index": first + at, **one} for at, one in enumerate(value)]
        return numbered

    def _place(self) -> int:
        self._called += 1
        return self._called - 1

    def _call(self, place: int, arguments: str, id_: str = "", name: str = "") -> bytes:
        function = {"name": name, "arguments": arguments} if id_ else {"arguments": arguments}
        if self._knows_functions:
            return b"" if place else self._delta({"function_call": function})
        head = {"index": place, "id": id_, "type": "function"} if id_ else {"index": place}
        return self._delta({"tool_calls": [{**head, "function": function}]})

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
        choice = {**self._choice({}), **_end_of(ended, self._knows_functions)}
        more = _foreign(ended.beside, _TOP)
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

    def __init__(self, occasion: Occasion) -> None:
        self._base = {**_head(occasion), "object": "chat.completion"}
        self._extensions = occasion.extensions
        self._knows_functions = _knows_functions(occasion.fields)
        self._thoughts = _Thoughts()
        self._blocks: list[dict[str, Any]] = []
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._calls: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}
        self._steps: list[dict[str, Any]] = []
        self._held: list[dict[str, Any]] = []
        self._retrieved: dict[str, Any] | None = None
        self._beside: dict[str, Any] = {}
        self._ended: Ended | None = None

    def feed(self, event: ChatEvent) -> bytes:
        match event:
            case Text(text, beside):
                self._say("content", text)
                if beside:
                    self._beside = joined(self._beside, beside)
            case Thought(text):
                self._thoughts.add(text)
                self._say("reasoning_content", text)
            case Sealed():
                self._blocks += self._thoughts.seal(event)
            case Refusal(text):
                self._say("refusal", text)
            case Call():
                self._calls.append(call_of(event))
            case CallBegun(number, id_, name):
                self._places[number] = len(self._calls)
                self._calls.append(call_of(Call(id_, name, "")))
            case CallPiece(number, text):
                self._calls[self._places[number]]["function"]["arguments"] += text
            case _:
                self._note(event)
        return b""

    def _note(self, event: ChatEvent) -> None:
        match event:
            case Other(fields):
                self._message = joined(self._message, _foreign(fields))
            case Step():
                self._steps.append(step_of(event))
            case ToolHeld():
                self._held.append(approval_of(event))
            case Retrieved():
                self._retrieved = retrieval_of(event)
            case Ended():
                self._ended = event

    def _say(self, name: str, text: str) -> None:
        self._message[name] = (self._message.get(name) or "") + text

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)

    def end(self) -> bytes:
        ended, message = self._ended, self._message
        assert ended is not None
        if self._calls and self._knows_functions:
            message["function_call"] = self._calls[0]["function"]
        elif self._calls:
            message["tool_calls"] = self._calls
        if self._blocks:
            message["thinking_blocks"] = [*self._blocks, *self._thoughts.rest()]
        if self._steps and self._extensions:
            message["reasoning_events"] = self._steps
        end = _end_of(ended, self._knows_functions)
        choice = {"index": 0, "message": message, "logprobs": None, **self._beside, **end}
        more: dict[str, Any] = {"usage": usage_of(ended.tokens)} if ended.tokens is not None else {}
        if ended.stop and self._extensions:
            more["proxy_status"] = {"type": "stopped", "status": ended.stop}
        if self._held and self._extensions:
            more["approvals_required"] = self._held
        if self._retrieved is not None and self._extensions:
            more["retrieval"] = self._retrieved
        return orjson.dumps({**self._base, "choices": [choice], **_foreign(ended.beside, _TOP), **more})


def _head(occasion: Occasion) -> dict[str, Any]:
    return {"id": f"chatcmpl-{occasion.run_id}", "object": "", "created": occasion.created, "model": occasion.model}


def _knows_functions(fields: Mapping[str, Any]) -> bool:
    """Whether the caller speaks as clients did before there were tools."""
    return bool(fields.get("functions")) and not fields.get("tools")


def _foreign(fields: Mapping[str, Any], ours: frozenset[str] = _OURS) -> dict[str, Any]:
    """Fields that nobody here knows, without such as would stand in the place of our own."""
    return {name: value for name, value in fields.items() if name not in ours}


def _end_of(ended: Ended, knows_functions: bool) -> dict[str, Any]:
    """Why the model stopped; the sequence that stopped it stands where vLLM has it."""
    finish = "function_call" if knows_functions and ended.finish == "tool_calls" else ended.finish
    sequence = ended.beside.get("stop_sequence")
    return {"finish_reason": finish, **({"stop_reason": sequence} if sequence else {})}


def joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that came in pieces, put together: lists are joined, in objects too; of anything else the later holds."""
    both = {**first}
    for name, value in second.items():
        before = both.get(name)
        if isinstance(before, list) and isinstance(value, list):
            both[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            both[name] = joined(before, value)
        else:
            both[name] = value
    return both


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


def pictures_of(images: Iterable[tuple[str, str]], first: int = 0) -> list[dict[str, Any]]:
    """Pictures (base64, MIME type) for the caller, as members of `images` of a message, numbered from `first`."""
    return [
        {"type": "image_url", "index": number, "image_url": {"url": f"data:{mime_type};base64,{data}"}}
        for number, (data, mime_type) in enumerate(images, first)
    ]


def status_of(event: ChatEvent) -> dict[str, Any]:
    """What the tool loop is doing, in four words."""
    match event:
        case Asking(turn):
            return {"type": "tool_execution", "status": "calling_llm" if turn == 1 else "processing_results"}
        case ToolStarted(call):
            return {"type": "tool_execution", "status": "executing_tool", "tool_name": call.name}
        case ToolHeld():
            return {"type": "tool_execution", "status": "approval_required", **approval_of(event)}
        case ToolEnded(call):
            status = {"type": "tool_execution", "status": "tool_completed", "tool_name": call.name}
            return {**status, "success": not event.failed, "duration_ms": round(event.seconds * 1000)}
        case Retrieved():
            return {"type": "retrieval", **retrieval_of(event)}
    raise TypeError(event)


def approval_of(held: ToolHeld) -> dict[str, Any]:
    """A call that waits for somebody to approve it."""
    call, action = held.call, {"action_id": held.action} if held.action else {}
    return {"tool_name": call.name, "tool_call_id": call.id, "arguments": call.arguments, **action}


def retrieval_of(retrieved: Retrieved) -> dict[str, Any]:
    """Which passages the model was told, and which indices could not be asked."""
    return {"passages": [asdict(one) for one in retrieved.passages], "failed": dict(retrieved.failed)}


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
        written = {"cache_write_tokens": tokens.cache_write} if tokens.cache_write else {}
        usage["prompt_tokens_details"] = {"cached_tokens": tokens.cached, **written}
    if tokens.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
    return usage
