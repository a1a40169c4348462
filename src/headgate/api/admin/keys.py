"""`/admin/keys`: keys for operators. The text of a key is in the answer that made it, and in no other."""

from time import time
from typing import Any, cast, get_args

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.shapes import key_shape
from headgate.api.answers import json_answer
from headgate.api.fields import read_as, read_fields, valid, who_asks, whole_number
from headgate.api.gate import Gate
from headgate.core.errors import DatabaseUnavailable, InvalidField
from headgate.identity.service import Issued, Keys
from headgate.identity.types import Duration, KeyChange, KeyQuery, KeyRecord, NewKey, State, seconds_of

_MOST_LISTED = 1000
_STATES = get_args(State)


class Rotation(BaseModel):
    """How long the old text of a rotated key is still good."""

    model_config = ConfigDict(extra="forbid")

    grace: Duration = "1h"


async def list_all(request: Request, gate: Gate) -> Response:
    """Keys in the order in which they were made; `after` is the last id of the page before."""
    asked = request.query_params
    state = asked.get("state")
    if state is not None and state not in _STATES:
        raise InvalidField(f"The parameter 'state' must be one of: {', '.join(_STATES)}.", param="state")
    limit = whole_number(request, "limit", 100, _MOST_LISTED)
    query = KeyQuery(
        tenant=asked.get("tenant"),
        user=asked.get("user"),
        alias=asked.get("alias"),
        state=cast("State | None", state),
        after=asked.get("after", ""),
        limit=limit,
    )
    page = await _keys(gate).list(query, who_asks(request))
    data = [_shape(one) for one in page.records]
    last = data[-1]["id"] if data else None
    return json_answer({"object": "list", "data": data, "has_more": page.has_more, "last_id": last})


async def create(request: Request, gate: Gate) -> Response:
    """Make a key. The answer holds its text, which is told this once."""
    wanted = await read_as(request, NewKey)
    return _issued(await _keys(gate).create(wanted, who_asks(request)), 201)


async def get(request: Request, gate: Gate) -> Response:
    """One key."""
    return _told(await _keys(gate).get(_id(request), who_asks(request)))


async def update(request: Request, gate: Gate) -> Response:
    """Change the fields that are given; null takes a limit away."""
    change = await read_as(request, KeyChange)
    return _told(await _keys(gate).update(_id(request), change, who_asks(request)))


async def delete(request: Request, gate: Gate) -> Response:
    """Forget a key; it opens nothing any more."""
    record = await _keys(gate).delete(_id(request), who_asks(request))
    return json_answer({"id": record.id, "object": "key", "deleted": True})


async def rotate(request: Request, gate: Gate) -> Response:
    """Give a key a new text; the old one is good for `grace`, an hour if not told."""
    rotation = valid(Rotation, await read_fields(request, empty=True))
    grace = seconds_of(rotation.grace)
    return _issued(await _keys(gate).rotate(_id(request), who_asks(request), grace), 200)


async def block(request: Request, gate: Gate) -> Response:
    """Shut a key out until it is unblocked."""
    return _told(await _keys(gate).block(_id(request), who_asks(request)))


async def unblock(request: Request, gate: Gate) -> Response:
    """Let a blocked key in again."""
    return _told(await _keys(gate).block(_id(request), who_asks(request), blocked=False))


async def revoke(request: Request, gate: Gate) -> Response:
    """End a key for good; what is known of it stays to be read."""
    return _told(await _keys(gate).revoke(_id(request), who_asks(request)))


def _shape(record: KeyRecord) -> dict[str, Any]:
    return key_shape(record, time())


def _told(record: KeyRecord) -> Response:
    return json_answer(_shape(record))


def _issued(issued: Issued, status: int) -> Response:
    answer = json_answer({**_shape(issued.record), "key": issued.text}, status)
    answer.headers["cache-control"] = "no-store"
    return answer


def _keys(gate: Gate) -> Keys:
    if gate.identity is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.identity.keys


def _id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found
