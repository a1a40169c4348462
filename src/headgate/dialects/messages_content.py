"""The content of Anthropic's messages as items of a conversation, and back.

One assistant message is a run of items: thoughts, what was said, calls. Results of calls stand in user messages. Ids of
calls that Anthropic would not take are spelled in a way that can be read back.
"""

import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
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

_TAKEN = re.compile(r"[a-zA-Z0-9_-]+")
_SPELLED = "hgid_"
_OF_OPENAI = "gAAAA"
"""How OpenAI's encrypted reasoning begins, which Anthropic cannot read."""
_CACHE = "cache_control"


def id_for(id_: str) -> str:
    """The id of a call in letters that Anthropic takes."""
    return id_ if _TAKEN.fullmatch(id_) else _SPELLED + urlsafe_b64encode(id_.encode()).decode().rstrip("=")


def id_from(id_: str) -> str:
    """The id that `id_for` spelled."""
    if not id_.startswith(_SPELLED):
        return id_
    spelled = id_[len(_SPELLED) :]
    try:
        return urlsafe_b64decode(spelled + "=" * (-len(spelled) % 4)).decode()
    except ValueError:
        return id_


def input_of(arguments: str) -> dict[str, Any]:
    """The arguments of a call as the object that the API wants; what is none stands in it as a member."""
    try:
        found = orjson.loads(arguments) if arguments.strip() else {}
    except orjson.JSONDecodeError:
        found = arguments
    return found if isinstance(found, dict) else {"arguments": found}


def items_of(system: object, messages: object) -> Iterator[Item]:
    """The conversation; raises InvalidField naming what cannot be read."""
    if system:
        yield Message("system", _parts(system, "system"))
    for number, message in enumerate(array(messages, "messages")):
        where = f"messages[{number}]"
        rest = given(mapping(message, where))
        role = text(rest.pop("role", None), f"{where}.role")
        content = rest.pop("content", "")
        if role == "assistant":
            yield from _said(_blocks(content, f"{where}.content"), rest)
        elif role == "user":
            yield from _asked(_blocks(content, f"{where}.content"), rest)
        elif role in ("system", "developer"):
            yield Message(cast("Role", role), _parts(content, f"{where}.content"), beside=rest)
        else:
            yield ForeignItem({"role": role, "content": content, **rest}, "user")


Block = tuple[str, dict[str, Any], str]
"""A block's type, its other members, and its path."""


def _blocks(content: object, where: str) -> list[Block]:
    if type(content) is str:
        return [("text", {"text": content}, where)] if content else []
    blocks = []
    for number, block in enumerate(array(content, where)):
        at = f"{where}[{number}]"
        rest = {"text": block} if type(block) is str else given(mapping(block, at))
        blocks.append((text(rest.pop("type", "text"), f"{at}.type"), rest, at))
    return blocks


def _said(blocks: list[Block], beside: dict[str, Any]) -> Iterator[Item]:
    """What the assistant said. What stands beside the blocks goes with the first of its messages."""
    parts: list[Part] = []
    for kind, rest, where in blocks:
        if kind == "text":
            parts.append(_part(kind, rest, where))
            continue
        if parts or beside:
            yield Message("assistant", tuple(parts), beside=beside)
            parts, beside = [], {}
        if kind == "thinking":
            words = text(rest.pop("thinking", ""), f"{where}.thinking")
            yield Thinking(words, text(rest.pop("signature", ""), f"{where}.signature"), beside=rest)
        elif kind == "redacted_thinking":
            yield Thinking(sealed=text(rest.pop("data", None), f"{where}.data"), beside=rest)
        elif kind == "tool_use":
            id_ = id_from(text(rest.pop("id", None), f"{where}.id"))
            name = text(rest.pop("name", None), f"{where}.name")
            arguments = orjson.dumps(mapping(rest.pop("input", {}), f"{where}.input")).decode()
            yield ToolCall(id_, name, arguments, rest)
        else:
            yield ForeignItem({"type": kind, **rest})
    if parts or beside or not blocks:
        yield Message("assistant", tuple(parts), beside=beside)


def _asked(blocks: list[Block], beside: dict[str, Any]) -> Iterator[Item]:
    parts: list[Part] = []
    for kind, rest, where in blocks:
        if kind != "tool_result":
            parts.append(_part(kind, rest, where))
            continue
        if parts or beside:
            yield Message("user", tuple(parts), beside=beside)
            parts, beside = [], {}
        call = id_from(text(rest.pop("tool_use_id", None), f"{where}.tool_use_id"))
        failed = rest.pop("is_error", False) is True
        yield ToolResult(call, _parts(rest.pop("content", ""), f"{where}.content"), failed, rest)
    if parts or beside or not blocks:
        yield Message("user", tuple(parts), beside=beside)


def _parts(content: object, where: str) -> tuple[Part, ...]:
    return tuple(_part(*block) for block in _blocks(content, where))


def _part(kind: str, rest: dict[str, Any], where: str) -> Part:
    if kind == "text":
        return TextPart(text(rest.pop("text", None), f"{where}.text"), rest)
    source = rest.get("source")
    if kind in ("image", "document") and isinstance(source, dict):
        address = _address(source)
        if kind == "image" and address:
            del rest["source"]
            return ImagePart(address, beside=rest)
        id_ = source.get("file_id")
        if kind == "document" and (address or type(id_) is str):
            del rest["source"]
            title = text(rest.pop("title", ""), f"{where}.title")
            return FilePart(address, "" if address else str(id_), title, rest)
    if kind in ("image", "document"):
        mapping(source, f"{where}.source")
    return ForeignPart({"type": kind, **rest})


def _address(source: Mapping[str, Any]) -> str:
    """Where the bytes of a picture or a document are; empty where only this API knows."""
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return f"data:{kind};base64,{data}"
        case {"type": "url", "url": str(url)}:
            return url
        case {"type": "text", "data": str(words)}:
            return f"data:text/plain;base64,{b64encode(words.encode()).decode()}"
    return ""


class Conversation:
    """Items as messages. `own`: they were read from this dialect, and what stands beside them is written back.

    `said` begins the paths of what is lost.
    """

    def __init__(self, own: bool, said: str, losses: Losses) -> None:
        self._own = own
        self._said = said
        self._losses = losses
        self._last: Item | None = None
        self.system: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []

    def add(self, items: Iterable[Item]) -> None:
        for item in items:
            self._add(item)
            self._last = item
        if not self._own:
            self.messages = [message for message in self.messages if message["content"]]
            for message in self.messages:
                message["content"].sort(key=_results_first)

    def _add(self, item: Item) -> None:
        match item:
            case Message(role, parts, name, beside):
                self._message(role, parts, beside)
                if name:
                    self._lose("name")
            case Thinking():
                self._thinking(item)
            case ToolCall(id_, name, arguments, beside):
                block = {"type": "tool_use", "id": id_for(id_), "name": name, "input": input_of(arguments)}
                self._turn("assistant").append(self._with(block, beside))
            case ToolResult():
                self._result(item)
            case ForeignItem(fields, role) if self._own:
                if "role" in fields:
                    self.messages.append(dict(fields))
                else:
                    self._turn("assistant" if role == "assistant" else "user").append(dict(fields))
            case ForeignItem(fields):
                self._lose(str(fields.get("type") or fields.get("role")))

    def _message(self, role: Role, parts: tuple[Part, ...], beside: Mapping[str, Any]) -> None:
        blocks = list(self._content(parts))
        if role in ("system", "developer"):
            if self._own and (self._last is not None or role == "developer"):
                self.messages.append({"role": role, "content": _shortest(blocks), **beside})
                return
            self.system += _marked(blocks, beside)
            self._tell(beside)
            return
        if type(self._last) is Message and self._last.role == role:
            self._begin(role)
        turn = self._turn(role)
        if self._own:
            self.messages[-1].update(beside)
            turn += blocks
        else:
            turn += _marked(blocks, beside)
            self._tell(beside)

    def _thinking(self, thought: Thinking) -> None:
        if thought.sealed and (self._own or not thought.sealed.startswith(_OF_OPENAI)):
            block = {"type": "redacted_thinking", "data": thought.sealed}
        elif self._own or thought.signature:
            block = {"type": "thinking", "thinking": thought.text, "signature": thought.signature}
        else:
            self._lose("reasoning")
            return
        self._turn("assistant").append(self._with(block, thought.beside))

    def _result(self, result: ToolResult) -> None:
        content = list(self._content(result.parts))
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": id_for(result.call)}
        if content or not self._own:
            block["content"] = _shortest(content) if content else ""
        if result.failed:
            block["is_error"] = True
        self._turn("user").append(self._with(block, result.beside))

    def _content(self, parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
        for part in parts:
            if (block := self._block(part)) is not None:
                yield block

    def _block(self, part: Part) -> dict[str, Any] | None:
        match part:
            case TextPart(words, beside):
                if not self._own and not words.strip():
                    return None  # the API refuses it
                return self._with({"type": "text", "text": words}, beside)
            case RefusalPart(words):
                return {"type": "text", "text": words} if words.strip() else None
            case ImagePart(url, detail, beside):
                if detail in ("low", "high"):
                    self._lose("content[].image_url.detail")
                return self._with({"type": "image", "source": _source(url)}, beside)
            case FilePart(url, id_, name, beside) if url or self._own:
                source = _source(url) if url else {"type": "file", "file_id": id_}
                block = {"type": "document", "source": source, **({"title": name} if name else {})}
                return self._with(block, beside)
            case ForeignPart(fields) if self._own:
                return dict(fields)
            case _:
                self._lose(f"content[].{_kind(part)}")
                return None

    def _with(self, block: dict[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
        """The block with what stood beside it; of another dialect's, only the mark of a cached beginning."""
        if self._own:
            block.update(beside)
        elif beside:
            _marked([block], beside)
            self._tell(beside)
        return block

    def _tell(self, beside: Mapping[str, Any]) -> None:
        self._losses.beside(beside, f"{self._said}.", (_CACHE,))

    def _lose(self, what: str) -> None:
        self._losses.add(f"{self._said}.{what}")

    def _turn(self, role: Role) -> list[dict[str, Any]]:
        """The content of the message that the next block belongs to."""
        if not self.messages or self.messages[-1]["role"] != role or type(self.messages[-1]["content"]) is str:
            self._begin(role)
        content: list[dict[str, Any]] = self.messages[-1]["content"]
        return content

    def _begin(self, role: Role) -> None:
        self.messages.append({"role": role, "content": []})


def _marked(blocks: list[dict[str, Any]], beside: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Callers of other dialects put the mark of a cached beginning on messages and parts alike."""
    if blocks and (mark := beside.get(_CACHE)):
        blocks[-1][_CACHE] = mark
    return blocks


def _results_first(block: Mapping[str, Any]) -> bool:
    return bool(block["type"] != "tool_result")


def _kind(part: Part) -> object:
    """What chat calls a part that has no counterpart here."""
    if isinstance(part, ForeignPart):
        return part.fields.get("type")
    return "input_audio" if isinstance(part, AudioPart) else "file"


def _shortest(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """One plain text as a string."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return cast("str", blocks[0]["text"])
    return blocks


def _source(url: str) -> dict[str, str]:
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:"):
        return {"type": "url", "url": url}
    kind = head[5:].partition(";")[0]
    if kind.startswith("text/") and (words := _words(data)) is not None:
        return {"type": "text", "media_type": "text/plain", "data": words}
    return {"type": "base64", "media_type": "image/jpeg" if kind == "image/jpg" else kind, "data": data}


def _words(data: str) -> str | None:
    """The text in base64; None if it is none."""
    try:
        return b64decode(data, validate=True).decode()
    except ValueError:
        return None
