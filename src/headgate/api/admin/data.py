"""`/admin/data`: all that is kept of a tenant or of one of its users, handed out as JSON lines and taken away."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headgate.api.answers import json_answer
from headgate.api.fields import who_asks
from headgate.api.gate import Gate
from headgate.core.errors import DatabaseUnavailable, UserNotFound
from headgate.core.ports import Whose
from headgate.identity.people import People

_PIECE = 65_536
_LONGEST_USER = 256


async def export(request: Request, gate: Gate) -> Response:
    """A thing in each line, with its `type`; the last line is of the type `end` and tells how many there are."""
    lines = await _people(gate).export(_whose(request), who_asks(request))
    headers = {"content-disposition": 'attachment; filename="data.jsonl"'}
    return StreamingResponse(_pieces(lines), media_type="application/x-ndjson", headers=headers)


async def erase(request: Request, gate: Gate) -> Response:
    """Tells how much of each kind there was; of the ledger, how many attempts go by another name now."""
    whose = _whose(request)
    name, counts = await _people(gate).erase(whose, who_asks(request))
    told = {"object": "data.erased", "tenant": whose.tenant, "user": whose.user, "now": name, "counts": counts}
    return json_answer(told)


async def _pieces(lines: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    piece = bytearray()
    async for line in lines:
        piece += orjson.dumps(line, default=str) + b"\n"
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _whose(request: Request) -> Whose:
    """Whom the path names. Calls without a user have no end user to speak of, so an empty one is nobody."""
    tenant, user = request.path_params["tenant"], request.path_params.get("user")
    if user is not None and (not user or len(user) > _LONGEST_USER or not user.isprintable()):
        raise UserNotFound("There is no such user.")
    return Whose(tenant, user)


def _people(gate: Gate) -> People:
    if gate.people is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.people
