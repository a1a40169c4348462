"""JSON answers of the routes that do not call a model."""

from typing import Any

import orjson
from starlette.responses import Response

from headgate.telemetry.redact import redact


def json_answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def without_secrets(value: Any) -> Any:
    """A value that an operator wrote, without keys that got into it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: without_secrets(one) for name, one in value.items()}
    return [without_secrets(one) for one in value] if isinstance(value, list | tuple | set) else value
