"""JSON answers of the routes that do not call a model."""

from typing import Any

import orjson
from starlette.responses import Response


def json_answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
