"""Reads members of a request as what they must be. Each takes the value and its path, which the error names."""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from headgate.core.errors import InvalidField

WORDLESS = frozenset(("id", "status"))
"""Members of items that name what a provider stored: they say nothing to a model, so nobody is told they are gone."""


def fail(path: str, expected: str) -> NoReturn:
    raise InvalidField(f"The field '{path}' must be {expected}.", param=path)


def text(value: object, path: str) -> str:
    return value if type(value) is str else fail(path, "a string")


def mapping(value: object, path: str) -> dict[str, Any]:
    return value if type(value) is dict else fail(path, "an object")


def array(value: object, path: str) -> list[Any]:
    return value if type(value) is list else fail(path, "an array")


def flag(value: object, path: str) -> bool:
    return value if type(value) is bool else fail(path, "true or false")


def whole(value: object, path: str) -> int:
    return value if type(value) is int else fail(path, "a whole number")


def number(value: object, path: str) -> float:
    return value if type(value) in (int, float) else fail(path, "a number")  # type: ignore[return-value]


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy to take members out of, without those that are null: null is the same as not given."""
    return {name: value for name, value in fields.items() if value is not None}


class Losses:
    """Paths of what a request loses on its way into another dialect, each once, in their order."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}

    def add(self, path: str) -> None:
        self._paths[path] = None

    def beside(self, fields: Mapping[str, Any], path: str, known: Iterable[str] = ()) -> None:
        """Members of a `beside`, but those in `known`; what is empty or false asks for nothing."""
        for name, value in fields.items():
            if value and name not in WORDLESS and name not in known:
                self.add(f"{path}{name}")

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._paths)
