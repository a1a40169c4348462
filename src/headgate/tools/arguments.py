"""Arguments of a call against the tool's JSON Schema. Imported when the first tool is called, for its library is slow.

Schemas of other people's servers are checked with care: nothing is fetched for a reference, a schema that refers to
itself without end gives up, and patterns are left to the tool, for a hostile one could keep us busy forever.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema
import orjson
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

_MOST_REFERENCES = 500
_MOST_REMEMBERED = 1024
_UNCHECKED = ("pattern", "patternProperties", "format")


class _Endless(Exception):
    """Too many references were followed."""


def problem(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    """(field, what is wrong with it), or None. A schema that cannot be used finds nothing wrong."""
    try:
        validator = _validator(orjson.dumps(parameters))
        if validator is None:
            return None
        _left[0] = _MOST_REFERENCES
        error = next(iter(validator.iter_errors(arguments)), None)
    except (Unresolvable, RecursionError, _Endless, TypeError, AttributeError, ValueError):
        return None
    return None if error is None else _told(error)


def _told(error: Any) -> tuple[str, str]:
    path = ".".join(map(str, error.absolute_path))
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [name for name in error.validator_value if name not in error.instance]
        name = ".".join(filter(None, (path, str(missing[0])))) if missing else path
        return name, "it is required"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        extra = [name for name in error.instance if name not in known]
        name = ".".join(filter(None, (path, str(extra[0])[:64]))) if extra else path
        return name, f"there is no such field; known: {', '.join(known) or 'none'}"
    return path or "the whole", error.message[:300]


_left = [0]
"""References that the check under way may still follow; checks do not wait, so there is one at a time."""


def _reference(validator: Any, ref: str, instance: Any, schema: Any) -> Iterator[Any]:
    _left[0] -= 1
    if _left[0] < 0:
        raise _Endless
    yield from validator._validate_reference(ref=ref, instance=instance)


@lru_cache(_MOST_REMEMBERED)
def _validator(schema: bytes) -> Validator | None:
    parsed = orjson.loads(schema)
    kind: Any = validator_for(parsed, default=jsonschema.Draft202012Validator)
    checks = dict.fromkeys(_UNCHECKED, None) | {"$ref": _reference, "$dynamicRef": _reference}
    careful: Any = extend(  # type: ignore[no-untyped-call]
        kind, {name: check or _nothing for name, check in checks.items()}
    )
    try:
        kind.check_schema(parsed)
    except (jsonschema.SchemaError, RecursionError):
        return None
    found: Validator = careful(parsed, registry=Registry())
    return found


def _nothing(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    return iter(())
