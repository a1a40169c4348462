"""A setting of a tenant: a typed key, the levels that may set it, and what it may be narrowed to. Values are JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from headgate.core.errors import InvalidField

_MOST_BYTES = 32_768
Level = Literal["builtin", "process", "yaml", "db"]
Source = Literal["builtin", "process", "yaml", "operator", "db"]
"""A level, or `operator`: `/admin/tenants`, which takes the file's place for tenants that are not in the file."""
EVERYWHERE: tuple[Level, ...] = ("builtin", "process", "yaml", "db")
BY_TENANT: tuple[Level, ...] = ("builtin", "yaml", "db")
AT_RUN_TIME: tuple[Level, ...] = ("builtin", "db")
BY_OPERATOR: tuple[Level, ...] = ("builtin", "process", "yaml")
IN_FILE: tuple[Level, ...] = ("builtin", "yaml")
FIXED: tuple[Level, ...] = ("builtin",)


class Narrowing(NamedTuple):
    """How a value of the lowest level meets the one from above it: `meet(above, own)` is what holds.

    `complaint(above, own)` says in words what is looser than it may be, empty if nothing is.
    """

    meet: Callable[[Any, Any], Any]
    complaint: Callable[[Any, Any], str]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the registry.

    `kind` is a type that pydantic checks. `path` leads to the value that holds for all tenants in the tree of settings.
    `of_record`: what the file or `/admin/tenants` says stands in the tenant's own fields, not under its `settings`.
    `ceiling` leads to a number in the tree that the tenant may not pass.
    """

    key: str
    kind: Any
    meaning: str
    default: Any = None
    levels: tuple[Level, ...] = EVERYWHERE
    path: str = ""
    of_record: bool = False
    narrowing: Narrowing | None = None
    ceiling: str = ""

    @property
    def is_writable(self) -> bool:
        return "db" in self.levels

    def checked(self, value: Any) -> Any:
        """The value as JSON data; raises InvalidField, which names the key and tells what is wrong."""
        adapter = _adapter(self.kind)
        try:
            found = adapter.dump_python(adapter.validate_python(value), mode="json")
        except ValidationError as error:
            told = error.errors(include_url=False, include_input=False)[0]
            at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in told["loc"])
            message = f"The setting '{self.key}' is wrong{f' at {at}' if at else ''}: {told['msg']}. {self.meaning}"
            raise InvalidField(message, param=self.key) from None
        if len(orjson.dumps(found)) > _MOST_BYTES:
            raise InvalidField(f"The setting '{self.key}' holds more than {_MOST_BYTES} bytes.", param=self.key)
        return found


@lru_cache(256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the operator set for one tenant: where, and the values by key."""

    source: Source = "yaml"
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A setting for one tenant: what holds, where that was set, and what each level says that says anything."""

    setting: Setting
    value: Any
    source: Source
    given: Mapping[Source, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A tenant's own value as it is kept. `value` is None for one that was taken away."""

    tenant: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Read:
    """Rows that changed up to `revision`; `is_all`: there are no others."""

    revision: int
    rows: tuple[Row, ...]
    is_all: bool = False
