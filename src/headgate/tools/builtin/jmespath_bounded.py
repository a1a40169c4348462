"""JMESPath with bounds on what it computes; its own interpreter would double a list with every eight characters."""

import math
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

_MOST_STEPS = 50_000
_MOST_ELEMENTS = 100_000
_LONGEST_TEXT = 1 << 20
_MOST_COPIES = 64


class _TooMuch(ValueError):
    """The answer would be too large."""


def answer(query: str, data: Any) -> str:
    """What the expression finds, as JSON; raises ValueError."""
    try:
        tree = jmespath.compile(query).parsed
        if _copies(tree) > _MOST_COPIES:
            raise _TooMuch("the query builds lists and objects within each other too often")
        found = _Bounded().visit(tree, data)
        said = orjson.dumps(found, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (JMESPathError, orjson.JSONEncodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the query cannot be answered: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise ValueError("the query is nested too deep") from None
    return said


def _copies(node: dict[str, Any]) -> int:
    """How many times over one value can stand in the answer, at most."""
    children = [child for child in node.get("children", ()) if isinstance(child, dict)]
    copies = math.prod(_copies(child) for child in children)
    return copies * len(children) if node["type"].startswith("multi_select") and children else copies


class _Bounded(TreeInterpreter):  # type: ignore[misc]
    """Counts steps, and looks at the size of what grows."""

    def __init__(self) -> None:
        super().__init__()
        self._left = _MOST_STEPS

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch("the query takes too many steps")
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        return _sized(super().visit_flatten(node, value))

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        if node["value"] == "join" and len(arguments) == 2 and isinstance(arguments[1], list):
            glue, parts = arguments
            size = sum(len(part) for part in parts if isinstance(part, str))
            if isinstance(glue, str) and size + len(glue) * len(parts) > _LONGEST_TEXT:
                raise _TooMuch("the answer would be too large")
        return _sized(self._functions.call_function(node["value"], arguments))


def _sized(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise _TooMuch("the answer would be too large")
    if isinstance(value, list) and len(value) > _MOST_ELEMENTS:
        raise _TooMuch("the answer would be too large")
    return value
