"""The items of a Responses request as those of a chat, and back. Pure: knows nothing of tools and answers.

https://platform.openai.com/docs/api-reference/responses/create, https://www.openresponses.org/specification
"""

import mimetypes
from collections.abc import Iterable, Mapping
from typing import Any

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
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.core.errors import InvalidField
from headgate.dialects.fields import Losses, fail
from headgate.dialects.responses_tools import flat_name

SIGNED = "signed:"
"""What begins the `encrypted_content` of a thought that its provider signed and did not seal."""
COMPACTED = "summary:"
"""What begins the `encrypted_content` of a compaction that was made here; what follows is its text."""
_EARLIER = "Summary of the conversation until now:\n\n"
_ROLES = ("system", "developer", "user", "assistant")
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_SHOWN: dict[str, Any] = {"annotations": [], "logprobs": []}


def parse_items(told: object, before: Iterable[Item] = ()) -> tuple[Item, ...]:
    """The conversation, or what follows `before`.

    Raises InvalidField naming the item, or the part of one, that cannot be read.
    """
    if isinstance(told, str):
        return (Message("user", (TextPart(told),)),)
    if told is None:
        return ()
    if type(told) is not list:
        fail("input", "a string or an array of items")
    items = stored_items(told)
    _refuse_orphans(items, before)
    return items


def stored_items(told: Iterable[object]) -> tuple[Item, ...]:
    """The same of items that were read before, or a part of them."""
    return tuple(_item(f"input[{number}]", item) for number, item in enumerate(told))


def _item(where: str, item: object) -> Item:
    if type(item) is not dict:
        fail(where, "an object")
    fields: dict[str, Any] = item
    kind = fields.get("type")
    if kind == "message" or (kind is None and "role" in fields):
        return _message(where, fields)
    if kind == "function_call":
        return _call(where, fields)
    if kind == "function_call_output":
        parts = _parts(f"{where}.output", fields.get("output"))
        beside = _beside(fields, "type", "call_id", "output")
        return ToolResult(_text(where, fields, "call_id"), parts, beside=beside)
    if kind == "reasoning":
        return _reasoning(where, fields)
    if kind == "compaction" and str(fields.get("encrypted_content")).startswith(COMPACTED):
        summary = str(fields["encrypted_content"]).removeprefix(COMPACTED)
        return Message("user", (TextPart(_EARLIER + summary),))
    if kind == "item_reference":
        raise InvalidField(
            f"The field '{where}' refers to an item, and this call reaches no stored ones: send the item itself.",
            param=where,
        )
    if type(kind) is not str or not kind:
        fail(f"{where}.type", "a string such as 'message'")
    return ForeignItem(fields, "user" if str(kind).endswith(("_output", "_response")) else "assistant")


def _message(where: str, fields: dict[str, Any]) -> Message:
    role: Any = fields.get("role")
    if str(role) not in _ROLES:
        fail(f"{where}.role", "'user', 'assistant', 'system' or 'developer'")
    parts = _parts(f"{where}.content", fields.get("content"))
    return Message(role, parts, beside=_beside(fields, "type", "role", "content"))


def _call(where: str, fields: dict[str, Any]) -> ToolCall:
    name, home = _text(where, fields, "name"), fields.get("namespace")
    arguments = fields.get("arguments")
    if arguments is not None and type(arguments) is not str:
        fail(f"{where}.arguments", "a string that holds JSON")
    return ToolCall(
        _text(where, fields, "call_id"),
        flat_name(home, name) if isinstance(home, str) and home else name,
        arguments or "",
        _beside(fields, "type", "call_id", "name", "arguments", "namespace"),
    )


def _reasoning(where: str, fields: dict[str, Any]) -> Thinking:
    """Its own words if they are there, else their summary."""
    content, summary = _joined(f"{where}.content", fields), _joined(f"{where}.summary", fields)
    sealed = fields.get("encrypted_content") or ""
    if type(sealed) is not str:
        fail(f"{where}.encrypted_content", "a string")
    beside = _beside(fields, "type", "summary", "content", "encrypted_content")
    if content and summary:
        beside["summary"] = fields["summary"]
    if sealed.startswith(SIGNED):
        return Thinking(content or summary, sealed.removeprefix(SIGNED), "", beside)
    return Thinking(content or summary, "", sealed, beside)


def _joined(where: str, fields: Mapping[str, Any]) -> str:
    parts = fields.get(where.rpartition(".")[2])
    if parts is None:
        return ""
    if type(parts) is not list or not all(isinstance(part, dict) for part in parts):
        fail(where, "an array of parts with a 'text'")
    return "\n\n".join(str(part.get("text") or "") for part in parts)


def _parts(where: str, content: object) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    if type(content) is not list:
        fail(where, "a string or an array of parts")
    return tuple(_part(f"{where}[{number}]", part) for number, part in enumerate(content))


def _part(where: str, part: object) -> Part:
    if type(part) is not dict:
        fail(where, "an object with a 'type'")
    fields: dict[str, Any] = part
    kind = fields.get("type")
    if str(kind) in _TEXTS:
        beside = {name: value for name, value in _beside(fields, "type", "text").items() if value != []}
        return TextPart(_text(where, fields, "text", empty=True), beside)
    if kind == "input_image":
        return _image(where, fields)
    if kind == "input_file":
        return _file(fields)
    if kind == "input_audio":
        sound: Any = fields.get("input_audio")
        if type(sound) is not dict:
            fail(f"{where}.input_audio", "an object with 'data' and 'format'")
        at = f"{where}.input_audio"
        return AudioPart(_text(at, sound, "data"), _text(at, sound, "format"), _beside(fields, "type", "input_audio"))
    if kind == "refusal":
        return RefusalPart(_text(where, fields, "refusal", empty=True))
    if type(kind) is not str or not kind:
        fail(f"{where}.type", "a string such as 'input_text'")
    return ForeignPart(fields)


def _image(where: str, fields: dict[str, Any]) -> Part:
    """A picture that the provider keeps has no address, so no other API can show it."""
    url = fields.get("image_url")
    if isinstance(url, dict):
        url = url.get("url")
    if not url and fields.get("file_id"):
        return ForeignPart(fields)
    if type(url) is not str or not url:
        fail(f"{where}.image_url", "an address, or the picture as data:TYPE;base64,…")
    return ImagePart(str(url), str(fields.get("detail") or ""), _beside(fields, "type", "image_url", "detail"))


def _file(fields: dict[str, Any]) -> FilePart:
    name, data = str(fields.get("filename") or ""), str(fields.get("file_data") or "")
    if data and not data.startswith("data:"):
        data = f"data:{mimetypes.guess_type(name)[0] or 'application/octet-stream'};base64,{data}"
    url = data or str(fields.get("file_url") or "")
    beside = _beside(fields, "type", "filename", "file_data", "file_url", "file_id")
    return FilePart(url, str(fields.get("file_id") or ""), name, beside)


def _refuse_orphans(items: Iterable[Item], before: Iterable[Item]) -> None:
    """A result without its call: no provider takes it."""
    called: set[Any] = {one.id for one in before if isinstance(one, ToolCall)}
    called |= {one.fields.get("call_id") for one in before if isinstance(one, ForeignItem)}
    for number, item in enumerate(items):
        match item:
            case ToolCall(id_):
                called.add(id_)
            case ForeignItem(fields):
                called.add(str(fields.get("call_id")))
            case ToolResult(call) if call not in called:
                at = f"input[{number}].call_id"
                raise InvalidField(f"There is no function call '{call}' before its output in '{at}'.", param=at)


def render_items(items: Iterable[Item], own: bool, lost: Losses) -> list[dict[str, Any]]:
    """`own`: they come from this API, so that what only it knows is written back."""
    rendered = []
    for item in items:
        fields = _rendered("messages[]", item, own, lost)  # what is lost has the names of those who send messages
        if fields is not None:
            rendered.append(fields)
    return rendered


def _rendered(where: str, item: Item, own: bool, lost: Losses) -> dict[str, Any] | None:
    match item:
        case Message(role, parts, name, beside):
            if name:
                lost.add(f"{where}.name")
            content = _content(f"{where}.content", parts, own, lost, shown=role == "assistant")
            return {"type": "message", "role": role, "content": content, **_back(where, beside, own, lost)}
        case Thinking():
            return _thought(where, item, own, lost)
        case ToolCall(id_, name, arguments, beside):
            call = {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments}
            return {**call, **_back(where, beside, own, lost)}
        case ToolResult(call_id, parts, failed, beside):
            if failed:
                lost.add(f"{where}.is_error")
            output = _output(f"{where}.output", parts, own, lost)
            result = {"type": "function_call_output", "call_id": call_id, "output": output}
            return {**result, **_back(where, beside, own, lost)}
        case ForeignItem(fields):
            if own:
                return dict(fields)
            lost.add(f"{where}.{fields.get('type') or fields.get('role', 'type')}")
    return None


def _thought(where: str, item: Thinking, own: bool, lost: Losses) -> dict[str, Any] | None:
    """A signature is of use to the provider that made it alone, and no provider of this API signs."""
    if item.signature and not own:
        lost.add(f"{where}.signature")
    summary = [{"type": "summary_text", "text": item.text}] if item.text else []
    fields: dict[str, Any] = {"type": "reasoning", "summary": summary}
    beside = _back(where, item.beside, own, lost)
    if "summary" in beside:
        fields["content"] = [{"type": "reasoning_text", "text": item.text}]
    if item.sealed:
        fields["encrypted_content"] = item.sealed
    elif item.signature and own:
        fields["encrypted_content"] = SIGNED + item.signature
    return {**fields, **beside}


def _content(where: str, parts: Iterable[Part], own: bool, lost: Losses, *, shown: bool) -> list[dict[str, Any]]:
    """The parts of a message. `shown`: the assistant's, which have words of their own."""
    rendered: list[dict[str, Any]] = []
    at = f"{where}[]"
    for part in parts:
        match part:
            case TextPart(text, beside) if shown:
                rendered.append({"type": "output_text", "text": text, **_SHOWN, **_back(at, beside, own, lost)})
            case TextPart(text, beside):
                rendered.append({"type": "input_text", "text": text, **_back(at, beside, own, lost)})
            case ImagePart(url, detail, beside):
                image = {"type": "input_image", "image_url": url, **({"detail": detail} if detail else {})}
                rendered.append({**image, **_back(at, beside, own, lost)})
            case FilePart():
                rendered.append({**_file_fields(part), **_back(at, part.beside, own, lost)})
            case AudioPart(data, form, beside):
                sound = {"type": "input_audio", "input_audio": {"data": data, "format": form}}
                rendered.append({**sound, **_back(at, beside, own, lost)})
            case RefusalPart(text):
                rendered.append({"type": "refusal", "refusal": text})
            case ForeignPart(fields):
                if own:
                    rendered.append(dict(fields))
                else:
                    lost.add(f"{at}.{fields.get('type', 'type')}")
    return rendered


def _file_fields(part: FilePart) -> dict[str, Any]:
    fields = {"type": "input_file"}
    if part.name:
        fields["filename"] = part.name
    if part.url:
        fields["file_data" if part.url.startswith("data:") else "file_url"] = part.url
    if part.id:
        fields["file_id"] = part.id
    return fields


def _output(where: str, parts: tuple[Part, ...], own: bool, lost: Losses) -> str | list[dict[str, Any]]:
    """Text alone as a string, which every server takes."""
    if all(isinstance(part, TextPart) and not part.beside for part in parts) and len(parts) < 2:
        return "".join(part.text for part in parts if isinstance(part, TextPart))
    return _content(where, parts, own, lost, shown=False)


def _back(where: str, beside: Mapping[str, Any], own: bool, lost: Losses) -> dict[str, Any]:
    """What stands beside, for its own API; for any other one it is lost."""
    if not own:
        lost.beside(beside, f"{where}.")
        return {}
    return dict(beside)


def _beside(fields: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """What else there is; `completed` is what all items are."""
    return {
        name: value
        for name, value in fields.items()
        if name not in known and value is not None and not (name == "status" and value == "completed")
    }


def _text(where: str, fields: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = fields.get(name)
    if type(value) is not str or not (value or empty):
        fail(f"{where}.{name}", "a string" if empty else "a string that is not empty")
    return str(value)
