"""The calculator: arithmetic without `eval`, in which no expression costs more than a few milliseconds."""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from headgate.tools.builtin.function import FunctionTool, builtin, schema, text
from headgate.tools.types import Caller, ToolResult

_LONGEST = 1000
_MOST_BITS = 4096
_MOST_DIGITS = 300
_PLAIN = re.compile(r"[0-9A-Za-z_.,+\-*/%^() \t\n]*")
_GLUED = re.compile(r"(?<![A-Za-z0-9_.])[0-9][0-9_.]*+(?:[eE][+-]?[0-9]+)?+[A-Za-z]")
"""A number that runs into a word, which Python's grammar only half refuses."""
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
}
_NAMES = {"pi": math.pi, "e": math.e, "tau": math.tau}


class _Refused(ValueError):
    """What the calculator does not do."""


def _round(number: Number, digits: Number | None = None) -> Number:
    """Python's own computes ten to the power of the digits, however many."""
    if digits is None:
        return round(number)
    if isinstance(digits, float) or abs(digits) > _MOST_DIGITS:
        raise _Refused(f"round takes a whole number of digits up to {_MOST_DIGITS}")
    return round(number, digits)


_FUNCTIONS.update({"abs": abs, "round": _round, "min": min, "max": max})
_KNOWN = "only numbers, + - * / // % **, and " + ", ".join((*_FUNCTIONS, *_NAMES))


def evaluate(expression: str) -> Number:
    """The value of an arithmetic expression; raises ValueError. Nothing is executed and no result grows forever."""
    if len(expression) > _LONGEST:
        raise _Refused(f"an expression has at most {_LONGEST} characters")
    if not _PLAIN.fullmatch(expression) or _GLUED.search(expression):
        raise _Refused(_KNOWN)
    try:
        return _value(ast.parse(" ".join(expression.split()).replace("^", "**"), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise _Refused("this is not an arithmetic expression") from None
    except ZeroDivisionError:
        raise _Refused("division by zero") from None
    except OverflowError:
        raise _Refused("the result is too large") from None
    except TypeError:
        raise _Refused("a function has too few or too many numbers") from None


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
    raise _Refused(_KNOWN)


def _power(base: Number, exponent: Number) -> Number:
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and (abs(base).bit_length() - 1) * abs(exponent) > _MOST_BITS
    ):
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


CALCULATOR = FunctionTool(
    builtin(
        "calculator",
        "Evaluate an arithmetic expression, such as (2+3)*sqrt(16). ^ and ** are powers.",
        schema(expression=text("The expression.")),
        "compute",
    ),
    _calculator,
)
