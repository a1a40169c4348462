"""Which model a request means, and whether that model can take it."""

from typing import Any

from headgate.core.errors import ImageUrlNotSupported
from headgate.core.request import ModelRequest
from headgate.pipeline.context import Deps, Plan


async def resolve(request: ModelRequest, deps: Deps) -> Plan:
    """Raises ModelNotFound, or ImageUrlNotSupported when the model's constraints forbid what was sent."""
    model = deps.catalog.configured(request.model) or await deps.catalog.find(request.model)
    if not model.accepts_image_url and (where := _first_image(request.fields.get("messages"))):
        raise ImageUrlNotSupported(f"The model '{model.name}' does not take images.", param=where)
    return Plan(model)


def _first_image(messages: Any) -> str | None:
    """Where the first image part stands. A form may hold a text field of that name."""
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") == "image_url":
                return f"messages[{at}].content[{number}]"
    return None
