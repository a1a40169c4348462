"""Bodies and queries of the routes for operators, read into values; what is wrong is told by the field's name."""

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from headgate.api.body import read_body
from headgate.api.queries import is_true, whole_number
from headgate.core.errors import Invalid, InvalidField, InvalidJson, MissingField
from headgate.core.principal import Principal

__all__ = ["is_true", "read_as", "read_fields", "valid", "who_asks", "whole_number"]

_MOST_BYTES = 1 << 20
_MOST_TOLD = 5
_MOST_METADATA = 16_384
Read = TypeVar("Read", bound=BaseModel)


def who_asks(request: Request) -> Principal:
    """The holder of the key that the request came with."""
    who: Principal = request.scope["who"]
    return who


async def read_fields(request: Request, *, empty: bool = False) -> dict[str, Any]:
    """The body, one JSON object; with `empty`, no body is one without fields."""
    raw = await read_body(request.receive, dict(request.scope["headers"]), _MOST_BYTES)
    if empty and not raw:
        return {}
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The body is not JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise InvalidJson("The body is not a JSON object.")
    return fields


async def read_as(request: Request, kind: type[Read]) -> Read:
    """The body as a value; raises Invalid for its fields."""
    return valid(kind, await read_fields(request))


def valid(kind: type[Read], fields: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Read:
    """Checked fields. `names` are those of the caller, where they differ from ours."""
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and len(orjson.dumps(metadata)) > _MOST_METADATA:
        raise InvalidField(f"The field 'metadata' holds more than {_MOST_METADATA} bytes.", param="metadata")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _told(error, names or {}) from None


def _told(error: ValidationError, names: Mapping[str, str]) -> Invalid:
    """One error that names the first field and tells of all; the values stay untold, for one may be a key."""
    found = [(_path(one["loc"], names), one["type"], one["msg"]) for one in error.errors(include_url=False)]
    path, kind, _ = found[0]
    text = " ".join(_sentence(*one) for one in found[:_MOST_TOLD])
    return MissingField(text, param=path) if kind == "missing" else InvalidField(text, param=path)


def _sentence(path: str, kind: str, message: str) -> str:
    if kind == "missing":
        return f"The field '{path}' is missing."
    if kind == "extra_forbidden":
        return f"There is no field '{path}' here."
    return f"The field '{path}' is wrong: {message}." if path else f"{message.removeprefix('Value error, ')}."


def _path(location: tuple[int | str, ...], names: Mapping[str, str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{names.get(part, part)}"
    return path.removeprefix(".")
