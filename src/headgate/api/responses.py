"""Responses as objects: what OpenAI's API keeps, and the gateway does not."""

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.gate import Gate
from headgate.core.state_errors import ResponseNotFound


async def not_stored(request: Request, _gate: Gate) -> Response:
    raise ResponseNotFound(
        f"There is no response '{request.path_params['id']}': responses are not stored here, "
        "so keep what POST /v1/responses answers.",
        param="id",
    )
