"""What an MCP tool gave back, as a result of ours: text, pictures, structured content; nothing goes missing unsaid."""

import json
from collections.abc import Iterable
from typing import Any

import mcp_types as types

from headgate.tools.types import Hints, Image, Policy, ToolResult

_HINTS = {"always_allow": Hints(read_only=False, destructive=False), "always_ask": Hints(False, destructive=True)}


def result_of(given: types.CallToolResult) -> ToolResult:
    """Texts in order, with a note where something of another kind stood."""
    images: list[Image] = []
    texts = [text for one in given.content if (text := _text_of(one, images)) is not None]
    structured: Any = given.structured_content
    if structured is not None and not texts:
        texts.append(json.dumps(structured, ensure_ascii=False))
    text = "\n".join(texts) or ("[a picture, shown below]" if images else "[no text]")
    is_failed = bool(given.is_error)
    if is_failed and not text.startswith("Error"):
        text = f"Error: {text}"
    return ToolResult(text, is_failed, tuple(images), structured if isinstance(structured, dict) else None)


def _text_of(content: object, images: list[Image]) -> str | None:
    match content:
        case types.TextContent():
            return content.text
        case types.ImageContent():
            images.append(Image(content.data, content.mime_type))
            return None
        case types.AudioContent():
            return f"[sound left out: {content.mime_type}, {_bytes(content.data)} bytes]"
        case types.ResourceLink():
            return f"[{content.name}: {content.uri}]"
        case types.EmbeddedResource():
            return _resource(content.resource, images)
    return f"[left out: {type(content).__name__}]"


def _resource(resource: object, images: list[Image]) -> str | None:
    if isinstance(resource, types.TextResourceContents):
        return f"[{resource.uri}]\n{resource.text}"
    if isinstance(resource, types.BlobResourceContents):
        kind = resource.mime_type or "application/octet-stream"
        if kind.startswith("image/"):
            images.append(Image(resource.blob, kind))
            return None
        return f"[{resource.uri} left out: {kind}, {_bytes(resource.blob)} bytes]"
    return "[a resource left out]"


def _bytes(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4


def hints_of(annotations: types.ToolAnnotations | None, policy: Policy) -> Hints:
    """What a tool says of itself, unless its operator knows better."""
    if policy != "auto":
        return _HINTS[policy]
    if annotations is None:
        return Hints()
    return Hints(
        annotations.read_only_hint,
        annotations.destructive_hint,
        annotations.idempotent_hint,
        annotations.open_world_hint,
    )


def sorted_tools(found: Iterable[types.Tool]) -> list[types.Tool]:
    """By name, each once: a stable order keeps the prompts of agents, and with them caches, as they were."""
    return [one for _, one in sorted({tool.name: tool for tool in found}.items())]
