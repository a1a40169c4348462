"""The messages of OpenAI's Chat Completions as items of a conversation, and back.

One assistant message is a run of items here: thoughts, what was said, calls. Thoughts stand in `reasoning_content`,
and with their signatures in `thinking_blocks`, as several gateways and servers have them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import orjson

from headgate.core.chat_request import (
    AudioPart,
    FilePart,
    ForeignItem,
    ForeignPart,
    ImagePart,
    Item,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.fields import Losses, array, given, mapping, text

NOTHING: Mapping[str, Any] = {}
GIVEN_BACK = "Pictures that the tools gave back:"
_BELOW = "The tool gave back what is shown below."
_DOCUMENT_TYPES = {"txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "json": "application/json"}


class Conversation:
    """Reads messages one after another. Calls that name no id get one, and old-style results find theirs by name."""

    def __init__(self) -> None:
        self._foreign_calls: set[str] = set()
        self._unanswered: dict[str, str] = {}

    def items(self, messages: list[Any]) -> Iterator[Item]:
        """The items; raises InvalidField naming what cannot be read."""
        for number, message in enumerate(messages):
            where = f"messages[{number}]"
            rest = given(mapping(message, where))
            role = text(rest.pop("role", None), f"{where}.role")
            if role == "assistant":
                yield from self._assistant(rest, where, number)
            elif role in ("tool", "function"):
                yield self._result(role, rest, where)
            elif role in ("system", "developer", "user"):
                parts = _parts(rest.pop("content", ""), f"{where}.content")
                name = text(rest.pop("name", ""), f"{where}.name")
                yield Message(cast("Role", role), parts, name, rest)
            else:
                yield ForeignItem({"role": role, **rest})

    def _assistant(self, rest: dict[str, Any], where: str, number: int) -> Iterator[Item]:
        thoughts = _thoughts(rest, where)
        parts = _parts(rest.pop("content", ""), f"{where}.content")
        if refusal := text(rest.pop("refusal", ""), f"{where}.refusal"):
            parts = (*parts, RefusalPart(refusal))
        calls = [
            self._call(given(mapping(call, f"{where}.tool_calls[{at}]")), f"{where}.tool_calls[{at}]", f"{number}_{at}")
            for at, call in enumerate(array(rest.pop("tool_calls", []), f"{where}.tool_calls"))
        ]
        if old := rest.pop("function_call", None):
            function = mapping(old, f"{where}.function_call")
            calls.append(self._call({"function": function}, f"{where}.function_call", f"{number}_{len(calls)}"))
        name = text(rest.pop("name", ""), f"{where}.name")
        yield from thoughts
        if parts or name or any(rest.values()) or not (thoughts or calls):
            yield Message("assistant", parts, name, rest)
        yield from calls

    def _call(self, rest: dict[str, Any], where: str, place: str) -> Item:
        id_ = text(rest.pop("id", ""), f"{where}.id") or f"call_{place}"
        kind = rest.pop("type", "function")
        if kind != "function" or "function" not in rest:
            self._foreign_calls.add(id_)
            return ForeignItem({"id": id_, "type": kind, **rest})
        function = given(mapping(rest.pop("function"), f"{where}.function"))
        name = text(function.pop("name", None), f"{where}.function.name")
        arguments = function.pop("arguments", "")
        if type(arguments) is not str:
            arguments = orjson.dumps(arguments).decode()
        self._unanswered[name] = id_
        if function:
            rest["function"] = function
        return ToolCall(id_, name, arguments, rest)

    def _result(self, role: str, rest: dict[str, Any], where: str) -> Item:
        if role == "function":
            name = text(rest.pop("name", None), f"{where}.name")
            id_ = self._unanswered.get(name, f"call_{name}")
        else:
            id_ = text(rest.pop("tool_call_id", None), f"{where}.tool_call_id")
        if id_ in self._foreign_calls:
            return ForeignItem({"role": role, "tool_call_id": id_, **rest})
        return ToolResult(id_, _parts(rest.pop("content", ""), f"{where}.content"), beside=rest)


def _thoughts(rest: dict[str, Any], where: str) -> list[Thinking]:
    """What an assistant message tells of the model's reasoning. `reasoning_content` repeats the text of the blocks."""
    blocks = [
        _thought(given(mapping(block, f"{where}.thinking_blocks[{number}]")), f"{where}.thinking_blocks[{number}]")
        for number, block in enumerate(array(rest.pop("thinking_blocks", []), f"{where}.thinking_blocks"))
    ]
    plain = text(rest.pop("reasoning_content", ""), f"{where}.reasoning_content")
    if type(rest.get("reasoning")) is str:
        plain = plain or rest["reasoning"]
        del rest["reasoning"]
    if plain and not any(block.text for block in blocks):
        blocks.insert(0, Thinking(plain))
    return blocks


def _thought(rest: dict[str, Any], where: str) -> Thinking:
    rest.pop("type", None)
    words = text(rest.pop("thinking", ""), f"{where}.thinking")
    signature = text(rest.pop("signature", ""), f"{where}.signature")
    return Thinking(words, signature, text(rest.pop("data", ""), f"{where}.data"), rest)


def _parts(content: object, where: str) -> tuple[Part, ...]:
    if type(content) is str:
        return (TextPart(content),) if content else ()
    parts = tuple(_part(part, f"{where}[{number}]") for number, part in enumerate(array(content, where)))
    return () if parts == (TextPart(""),) else parts


def _part(part: object, where: str) -> Part:
    if type(part) is str:
        return TextPart(part)
    rest = given(mapping(part, where))
    kind = rest.pop("type", None)
    if kind in ("text", "refusal"):
        words = text(rest.pop(kind, None), f"{where}.{kind}")
        return TextPart(words, rest) if kind == "text" else RefusalPart(words)
    if kind == "image_url":
        address, more = _inner(rest, "image_url", where)
        url = text(address.pop("url", None), f"{where}.image_url.url")
        return ImagePart(url, text(address.pop("detail", ""), f"{where}.image_url.detail"), more())
    if kind == "input_audio":
        sound, more = _inner(rest, "input_audio", where)
        data = text(sound.pop("data", None), f"{where}.input_audio.data")
        return AudioPart(data, text(sound.pop("format", ""), f"{where}.input_audio.format"), more())
    if kind == "file":
        file, more = _inner(rest, "file", where)
        name = text(file.pop("filename", ""), f"{where}.file.filename")
        url = _address(text(file.pop("file_data", ""), f"{where}.file.file_data"), name)
        return FilePart(url, text(file.pop("file_id", ""), f"{where}.file.file_id"), name, more())
    return ForeignPart({"type": kind, **rest} if kind is not None else rest)


def _inner(rest: dict[str, Any], name: str, where: str) -> tuple[dict[str, Any], Any]:
    """The object that holds what a part is about, and what to call for all that was not taken out of it."""
    inner = rest.pop(name, None)
    inner = {"url": inner} if type(inner) is str else given(mapping(inner, f"{where}.{name}"))
    return inner, lambda: {**rest, name: inner} if inner else rest


def _address(data: str, name: str) -> str:
    """Bare base64 becomes an address that names its type."""
    if not data or data.startswith(("data:", "http:", "https:")):
        return data
    kind = _DOCUMENT_TYPES.get(name.rpartition(".")[2].lower(), "application/pdf")
    return f"data:{kind};base64,{data}"


def content_of(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    """Parts as the `content` of a message: a string where they are one text, for servers that know only that."""
    parts = tuple(parts)
    if not parts:
        return ""
    if len(parts) == 1 and type(parts[0]) is TextPart and not parts[0].beside:
        return parts[0].text
    return [part_of(part) for part in parts]


def part_of(part: Part) -> dict[str, Any]:
    match part:
        case TextPart(words, beside):
            return {"type": "text", "text": words, **beside}
        case ImagePart(url, detail, beside):
            return _outer("image_url", {"url": url, **({"detail": detail} if detail else {})}, beside)
        case FilePart(url, id_, name, beside):
            told = {"filename": name, "file_data": url, "file_id": id_}
            return _outer("file", {key: value for key, value in told.items() if value}, beside)
        case AudioPart(data, kind, beside):
            return _outer("input_audio", {"data": data, "format": kind}, beside)
        case RefusalPart(words):
            return {"type": "refusal", "refusal": words}
        case ForeignPart(fields):
            return dict(fields)


def _outer(name: str, inner: dict[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": name, **beside, name: {**inner, **beside.get(name, {})}}


class Messages:
    """Writes items one after another. `own`: they came from this dialect, so what stands beside them is written too.

    `said` begins the paths of what is lost.
    """

    def __init__(self, losses: Losses, *, own: bool, said: str = "messages[]") -> None:
        self.listed: list[dict[str, Any]] = []
        self._losses = losses
        self._own = own
        self._said = said
        self._turn: _Turn | None = None
        self._pictures: list[Part] = []

    def add(self, item: Item) -> None:
        if type(item) is not ToolResult:
            self._show_pictures()
        match item:
            case Message("assistant", parts, name, beside):
                self._turn_for(item).say(self._known(parts), name, self._beside(beside))
            case Thinking(beside=beside):
                self._turn_for(item).thoughts.append((item, self._beside(beside, "thinking_blocks[].")))
            case ToolCall(id_, name, arguments, beside):
                more = self._beside(beside, "tool_calls[].")
                function = {"name": name, "arguments": arguments, **more.get("function", {})}
                call = {"id": id_, "type": "function", **more, "function": function}
                self._turn_for(item).calls.append(call)
            case ForeignItem(fields):
                self._add_foreign(item, fields)
            case Message(role, parts, name, beside):
                self._close()
                role = role if self._own or role != "developer" else "system"
                told = {"role": role, "content": content_of(self._known(parts))}
                self.listed.append({**told, **({"name": name} if name else {}), **self._beside(beside)})
            case ToolResult():
                self._close()
                self._add_result(item)

    def end(self) -> list[dict[str, Any]]:
        self._close()
        self._show_pictures()
        return self.listed

    def _turn_for(self, item: Item) -> "_Turn":
        """The assistant message that an item belongs to. Behind a call no new one may begin before its result came."""
        if self._turn is not None and type(item) in (Message, Thinking) and self._turn.is_said and not self._turn.calls:
            self._close()
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _close(self) -> None:
        if self._turn is not None:
            self.listed.append(self._turn.message())
            self._turn = None

    def _add_foreign(self, item: ForeignItem, fields: Mapping[str, Any]) -> None:
        if not self._own:
            self._losses.add(f"{self._said}.{fields.get('type') or fields.get('role', 'content')}")
        elif "role" in fields:
            self._close()
            self.listed.append(dict(fields))
        else:
            self._turn_for(item).calls.append(dict(fields))

    def _add_result(self, result: ToolResult) -> None:
        """Most servers take text alone from a tool, so what else it gave is shown by the user, behind all results."""
        if result.failed:
            self._losses.add(f"{self._said}.is_error")
        known = self._known(result.parts)
        texts = [part for part in known if type(part) in (TextPart, ForeignPart)]
        shown = [part for part in known if type(part) not in (TextPart, ForeignPart)]
        if shown and not texts:
            texts = [TextPart(_BELOW)]
        self._pictures += shown
        told = {"role": "tool", "tool_call_id": result.call, "content": content_of(texts)}
        self.listed.append({**told, **self._beside(result.beside)})

    def _show_pictures(self) -> None:
        if self._pictures:
            shown = [TextPart(GIVEN_BACK), *self._pictures]
            self._pictures = []
            self.listed.append({"role": "user", "content": [part_of(part) for part in shown]})

    def _beside(self, beside: Mapping[str, Any], place: str = "") -> Mapping[str, Any]:
        if self._own:
            return beside
        if beside:
            self._losses.beside(beside, f"{self._said}.{place}")
        return NOTHING

    def _known(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """The parts that can be said here, each without what only its own dialect knows."""
        if self._own:
            return parts
        return tuple(known for part in parts if (known := self._known_part(part)) is not None)

    def _known_part(self, part: Part) -> Part | None:
        match part:
            case ForeignPart(fields):
                self._losses.add(f"{self._said}.content[].{fields.get('type', 'type')}")
                return None
            case RefusalPart():
                return part
        if not part.beside:
            return part
        self._losses.beside(part.beside, f"{self._said}.content[].")
        return replace(part, beside=NOTHING)


class _Turn:
    """One assistant message in the making."""

    __slots__ = ("_beside", "_name", "_parts", "calls", "is_said", "thoughts")

    def __init__(self) -> None:
        self.thoughts: list[tuple[Thinking, Mapping[str, Any]]] = []
        self.calls: list[dict[str, Any]] = []
        self.is_said = False
        self._parts: list[Part] = []
        self._name = ""
        self._beside: dict[str, Any] = {}

    def say(self, parts: tuple[Part, ...], name: str, beside: Mapping[str, Any]) -> None:
        self.is_said = True
        self._parts += parts
        self._name = name or self._name
        self._beside.update(beside)

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", **_content(self._parts, bool(self.calls))}
        if self.thoughts:
            message.update(_reasoning(self.thoughts))
        if self.calls:
            message["tool_calls"] = self.calls
        if self._name:
            message["name"] = self._name
        return {**message, **self._beside}


def _content(parts: list[Part], calls: bool) -> dict[str, Any]:
    """A refusal that ends a message has a field of its own."""
    said, refused = parts, ""
    if parts and type(parts[-1]) is RefusalPart and not any(type(part) is RefusalPart for part in parts[:-1]):
        said, refused = parts[:-1], parts[-1].text
    content = content_of(said) if said else None if calls or refused else ""
    return {"content": content, "refusal": refused} if refused else {"content": content}


def _reasoning(thoughts: list[tuple[Thinking, Mapping[str, Any]]]) -> dict[str, Any]:
    """In blocks where there is more to them than one text; the text is then said twice, for who knows no blocks."""
    plain = "".join(thought.text for thought, _ in thoughts)
    told: dict[str, Any] = {"reasoning_content": plain} if plain else {}
    if len(thoughts) > 1 or any(thought.signature or thought.sealed or beside for thought, beside in thoughts):
        told["thinking_blocks"] = [{**thinking_block(thought), **beside} for thought, beside in thoughts]
    return told


def thinking_block(thought: Thinking) -> dict[str, Any]:
    """A thought with its seals; `data` beside a readable text is what only the provider can read of it."""
    if thought.sealed and not (thought.text or thought.signature):
        return {"type": "redacted_thinking", "data": thought.sealed}
    block = {"type": "thinking", "thinking": thought.text}
    told = {"signature": thought.signature, "data": thought.sealed}
    return {**block, **{name: value for name, value in told.items() if value}}
