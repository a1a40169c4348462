"""Requests of Ollama's native API, `/api/chat` and `/api/generate`, as values. Callers speak it; no upstream does.

Pure: knows no socket and no upstream. https://docs.ollama.com/api
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

import orjson

from headgate.core.chat_request import (
    ChatRequest,
    Effort,
    ForeignTool,
    Format,
    Function,
    ImagePart,
    Item,
    Message,
    Role,
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.core.errors import InvalidField
from headgate.dialects.effort import known_effort
from headgate.dialects.fields import array, fail, given, mapping, number, text, whole

Fields = Mapping[str, Any]
_ROLES = frozenset(get_args(Role))
_SHARED = frozenset(("seed", "presence_penalty", "frequency_penalty"))
"""Options that the other APIs have too, at the top and under the same name."""
_PICTURES = {"iVBOR": "png", "/9j/": "jpeg", "R0lG": "gif", "UklG": "webp", "Qk": "bmp"}
"""By how their base64 begins."""


def parse_chat(fields: Fields) -> ChatRequest:
    """The body of `/api/chat`; raises InvalidField."""
    rest = given(fields)
    messages = array(rest.pop("messages", []), "messages")
    return _request(rest, tuple(_Conversation().items(messages)))


def parse_generate(fields: Fields) -> ChatRequest:
    """The body of `/api/generate`: its system text and its prompt are a conversation of two messages."""
    rest = given(fields)
    if rest.pop("raw", False):
        raise InvalidField("Prompts that are templated already go to /v1/completions: leave 'raw' out.", param="raw")
    if rest.pop("suffix", ""):
        raise InvalidField("A text with a gap goes to /v1/completions: leave 'suffix' out.", param="suffix")
    items: list[Item] = []
    if system := text(rest.pop("system", ""), "system"):
        items.append(Message("system", (TextPart(system),)))
    prompt = text(rest.pop("prompt", ""), "prompt")
    items.append(Message("user", (TextPart(prompt), *_images(rest.pop("images", []), "images"))))
    return _request(rest, tuple(items))


def streams(fields: Fields) -> bool:
    """Whether the answer is to be streamed, as it is unless the caller says no."""
    return fields.get("stream") is not False


def _request(rest: dict[str, Any], items: tuple[Item, ...]) -> ChatRequest:
    """`rest` are the fields that were not read yet."""
    stream = streams(rest)
    rest.pop("stream", None)
    options = given(mapping(rest.pop("options", {}), "options"))
    effort = _effort(rest.pop("think", ""))
    return ChatRequest(
        dialect="ollama",
        model=text(rest.pop("model", ""), "model"),
        items=items,
        stream=stream,
        tools=tuple(_tool(one, f"tools[{at}]") for at, one in enumerate(array(rest.pop("tools", []), "tools"))),
        max_tokens=_longest(options),
        temperature=number(options.pop("temperature"), "options.temperature") if "temperature" in options else None,
        top_p=number(options.pop("top_p"), "options.top_p") if "top_p" in options else None,
        top_k=whole(options.pop("top_k"), "options.top_k") if "top_k" in options else None,
        stop=_stop(options.pop("stop", [])),
        effort=effort,
        thinks=0 if effort == "none" else None,
        format=_format(rest.pop("format", "")),
        beside={**rest, **{name if name in _SHARED else f"options.{name}": value for name, value in options.items()}},
    )


def _longest(options: dict[str, Any]) -> int | None:
    """A negative number means no bound."""
    number = options.pop("num_predict", None)
    return number if number is not None and whole(number, "options.num_predict") >= 0 else None


def _stop(stop: Any) -> tuple[str, ...]:
    listed = [stop] if isinstance(stop, str) else array(stop, "options.stop")
    return tuple(text(one, f"options.stop[{at}]") for at, one in enumerate(listed))


class _Conversation:
    """Messages to items. Calls need no id in this API, and results may name their tool alone, or nothing: each result
    belongs to the call it names, or to the first one of its tool that has none yet, or to the first one of all.
    """

    def __init__(self) -> None:
        self._made = 0
        self._open: deque[ToolCall] = deque()

    def items(self, messages: list[Any]) -> Iterable[Item]:
        for at, message in enumerate(messages):
            where = f"messages[{at}]"
            rest = given(mapping(message, where))
            role = text(rest.pop("role", ""), f"{where}.role")
            if role == "tool":
                yield self._result(rest, where)
            elif role in _ROLES:
                yield from self._said(cast("Role", role), rest, where)
            else:
                fail(f"{where}.role", "'system', 'user', 'assistant' or 'tool'")

    def _said(self, role: Role, rest: dict[str, Any], where: str) -> Iterable[Item]:
        if thought := text(rest.pop("thinking", ""), f"{where}.thinking"):
            yield Thinking(thought)
        calls = array(rest.pop("tool_calls", []), f"{where}.tool_calls")
        parts = _parts(rest, where)
        if parts or rest or not (calls or thought):
            yield Message(role, parts, beside=rest)
        for place, call in enumerate(calls):
            yield self._call(call, f"{where}.tool_calls[{place}]")

    def _call(self, call: Any, where: str) -> ToolCall:
        rest = given(mapping(call, where))
        rest.pop("type", None)
        function = given(mapping(rest.pop("function", None), f"{where}.function"))
        name = text(function.get("name"), f"{where}.function.name")
        arguments = function.get("arguments", {})
        written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        made = ToolCall(text(rest.pop("id", ""), f"{where}.id") or f"call_{self._made}", name, written, rest)
        self._made += 1
        self._open.append(made)
        return made

    def _result(self, rest: dict[str, Any], where: str) -> ToolResult:
        id_ = text(rest.pop("tool_call_id", ""), f"{where}.tool_call_id")
        name = text(rest.pop("tool_name", rest.pop("name", "")), f"{where}.tool_name")
        meant = next((one for one in self._open if one.id == id_ or (not id_ and name in ("", one.name))), None)
        if meant is not None:
            self._open.remove(meant)
        elif not id_:
            tool = f" of '{name}'" if name else ""
            raise InvalidField(f"There is no open tool call{tool} that this could be the result of.", param=where)
        return ToolResult(meant.id if meant else id_, _parts(rest, where), beside=rest)


def _parts(rest: dict[str, Any], where: str) -> tuple[TextPart | ImagePart, ...]:
    said = text(rest.pop("content", ""), f"{where}.content")
    pictures = _images(rest.pop("images", []), f"{where}.images")
    return ((TextPart(said),) if said else ()) + pictures


def _images(listed: Any, where: str) -> tuple[ImagePart, ...]:
    """Pictures are base64 without a word on their kind."""
    found = []
    for at, one in enumerate(array(listed, where)):
        data = text(one, f"{where}[{at}]")
        kind = next((kind for start, kind in _PICTURES.items() if data.startswith(start)), "png")
        found.append(ImagePart(data if data.startswith("data:") else f"data:image/{kind};base64,{data}"))
    return tuple(found)


def _effort(think: Any) -> Effort | None:
    """`true` asks for as much as the model sees fit, which the other APIs call medium."""
    if think == "":
        return None
    if isinstance(think, bool):
        return "medium" if think else "none"
    return known_effort(think) or fail("think", "true, false, 'low', 'medium' or 'high'")


def _format(form: Any) -> Format | None:
    if form == "":
        return None
    return Format() if form == "json" else Format(mapping(form, "format"), "answer")


def _tool(tool: Any, where: str) -> Function | ForeignTool:
    rest = given(mapping(tool, where))
    kind = rest.pop("type", "function")
    if kind != "function":
        return ForeignTool({"type": kind, **rest})
    function = given(mapping(rest.pop("function", None), f"{where}.function"))
    return Function(
        text(function.pop("name", None), f"{where}.function.name"),
        text(function.pop("description", ""), f"{where}.function.description"),
        mapping(function.pop("parameters"), f"{where}.function.parameters") if "parameters" in function else None,
        function.pop("strict", None),
        {**rest, **function},
    )
