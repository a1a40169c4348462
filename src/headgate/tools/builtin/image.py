"""Pictures from the gateway's own image models."""

from collections.abc import Mapping
from typing import Any

from headgate.tools.builtin.function import FunctionTool, builtin, schema, text
from headgate.tools.ports import MakeImage
from headgate.tools.types import Caller, Hints, Image, ToolResult

_MAKES = Hints(read_only=False, destructive=False, idempotent=False, open_world=True)
_TYPES = {"iVBOR": "image/png", "/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}


def image_tool(model: str, make: MakeImage) -> FunctionTool:
    """Pictures go to the caller; the model is told that they were made."""

    async def generate(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        fields = {"model": model, "n": 1, **arguments}
        answer = await make(fields, caller)
        listed = answer.get("data")
        if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
            raise ValueError("the model made no picture")
        images = tuple(Image(one["b64_json"], _type_of(one["b64_json"])) for one in listed if one.get("b64_json"))
        lines = [f"Made, and shown to the user: a picture ({image.mime_type})." for image in images]
        lines += [f"Made: {one['url']}" for one in listed if one.get("url") and not one.get("b64_json")]
        lines += [f"The model drew: {one['revised_prompt']}" for one in listed if one.get("revised_prompt")]
        return ToolResult("\n".join(lines) or "Error: the model made no picture.", failed=not lines, shown=images)

    return FunctionTool(
        builtin(
            "image_generate",
            "Draw a picture of what a text describes; the user sees it.",
            schema(
                *("size", "quality"),
                prompt=text("What the picture shows.", minLength=1, maxLength=32_000),
                size=text("Width and height in pixels, such as 1024x1024.", maxLength=20),
                quality=text("As the model names it, such as high.", maxLength=20),
            ),
            "image",
            _MAKES,
        ),
        generate,
    )


def _type_of(data: str) -> str:
    return next((kind for start, kind in _TYPES.items() if data.startswith(start)), "image/png")
