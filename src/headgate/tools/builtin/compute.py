"""Tools that compute: arithmetic and the time of day."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headgate.tools.builtin.function import FunctionTool
from headgate.tools.types import Caller, Hints, ToolInfo, ToolResult

_LONGEST = 1000
_MOST_BITS = 4096
_PURE = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
Number = int | float
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Number]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    name: getattr(math, name)
    for name in ("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "floor", "ceil")
} | {"abs": abs, "round": round, "min": min, "max": max}
_NAMES = {"pi": math.pi, "e": math.e, "tau": math.tau}


class _Refused(ValueError):
    """What the calculator does not do."""


def evaluate(expression: str) -> Number:
    """The value of an arithmetic expression; raises ValueError. Nothing is executed and no result grows forever."""
    if len(expression) > _LONGEST:
        raise _Refused(f"an expression has at most {_LONGEST} characters")
    try:
        return _value(ast.parse(expression.strip().replace("^", "**"), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise _Refused("this is not an arithmetic expression") from None
    except ZeroDivisionError:
        raise _Refused("division by zero") from None
    except (OverflowError, TypeError) as error:
        raise _Refused(str(error)) from None


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*map(_value, args)))
    raise _Refused("only numbers, + - * / // % **, and " + ", ".join((*_FUNCTIONS, *_NAMES)))


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base).bit_length() * abs(exponent) > _MOST_BITS:
        raise _Refused("the result is too large")
    value = base**exponent
    if isinstance(value, complex):
        raise _Refused("the result is not a real number")
    return _bounded(value)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise _Refused("the result is too large")
    return value


def _calculator(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
    try:
        return ToolResult(str(evaluate(str(arguments.get("expression", "")))))
    except ValueError as error:
        return ToolResult(f"Error: {error}.", failed=True)


def _current_time(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
    name = str(arguments.get("timezone") or "UTC")
    try:
        zone = UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ToolResult(f"Error: there is no time zone '{name[:64]}'. Use a name such as Europe/Berlin.", failed=True)
    moment = datetime.now(zone)
    return ToolResult(f"{moment.isoformat(timespec='seconds')} ({name}, {moment:%A})")


def _schema(**properties: Any) -> dict[str, Any]:
    required = [name for name, schema in properties.items() if not schema.pop("optional", False)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


COMPUTE = (
    FunctionTool(
        ToolInfo(
            "calculator",
            "Evaluate an arithmetic expression, such as (2+3)*sqrt(16).",
            _schema(expression={"type": "string", "description": "The expression."}),
            "builtin",
            "compute",
            _PURE,
        ),
        _calculator,
    ),
    FunctionTool(
        ToolInfo(
            "get_current_time",
            "The current date and time in a time zone.",
            _schema(timezone={"type": "string", "description": "Such as UTC or Europe/Berlin.", "optional": True}),
            "builtin",
            "compute",
            _PURE,
        ),
        _current_time,
    ),
)
