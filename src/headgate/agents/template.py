r"""Calls of tools and variables within an agent's prompt: `{{current_time(timezone="UTC")}}`, `{{team}}`.

A grammar and nothing more: no expressions, no loops, no attributes. What calls give back is put in as it is and never
read again. `\{{` stands for a plain `{{`, and so does a `{{` that no name follows.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

_OPEN, _CLOSE = "{{", "}}"
_START = re.compile(r"\\\{\{|\{\{(?=\s*[A-Za-z_])")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![A-Za-z0-9_.])")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "/": "/", '"': '"', "'": "'"}
_HEX = re.compile(r"[0-9A-Fa-f]{4}")
_DEEPEST = 32
_MOST_DIGITS = 300


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that is called when the prompt is made. `line` counts from 1 within the prompt."""

    name: str
    arguments: Mapping[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    line: int


Piece = str | ToolCall | Variable


class Faulty(ValueError):
    """A text that is no template. `line` counts from 1 within it."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Template:
    """A text in pieces."""

    pieces: tuple[Piece, ...]

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(piece for piece in self.pieces if isinstance(piece, ToolCall))

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(piece for piece in self.pieces if isinstance(piece, Variable))

    def filled(self, results: Iterator[str], variables: Mapping[str, Any]) -> str:
        """The text with the results of its calls, in their order."""
        texts = []
        for piece in self.pieces:
            if isinstance(piece, str):
                texts.append(piece)
            else:
                texts.append(next(results) if isinstance(piece, ToolCall) else str(variables[piece.name]))
        return "".join(texts)


def parse(text: str) -> Template:
    """Raises Faulty, which tells the first mistake."""
    pieces: list[Piece] = []
    at = 0
    while (found := _START.search(text, at)) is not None:
        pieces.append(text[at : found.start()])
        if found[0] != _OPEN:
            pieces.append(_OPEN)
            at = found.end()
            continue
        reader = _Reader(text, found.end())
        pieces.append(reader.placeholder(found.start()))
        at = reader.at
    pieces.append(text[at:])
    return Template(tuple(piece for piece in pieces if piece != ""))


class _Reader:
    """Reads one placeholder; `at` is where it stands."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def placeholder(self, start: int) -> Piece:
        line = self.text.count("\n", 0, start) + 1
        self._space()
        name = self._name("the name of a tool or a variable")
        self._space()
        if not self._took("("):
            self._end()
            return Variable(name, line)
        arguments: dict[str, Any] = {}
        self._space()
        while not self._took(")"):
            key = self._name("the name of an argument, or ')'")
            if key in arguments:
                raise self._faulty(f"The argument '{key}' is given twice")
            self._space()
            self._expect("=", f"'=' after '{key}'")
            arguments[key] = self._value(0)
            self._space()
            if not self._took(","):
                self._expect(")", "',' or ')'")
                break
            self._space()
        self._space()
        self._end()
        return ToolCall(name, arguments, line)

    def _value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self._faulty("The value is nested too deeply")
        self._space()
        here = self.text[self.at : self.at + 1]
        if here in ('"', "'"):
            return self._string()
        if here == "[":
            return self._list(depth)
        if here == "{":
            return self._object(depth)
        return self._plain()

    def _plain(self) -> Any:
        if number := _NUMBER.match(self.text, self.at):
            value = float(number[0]) if number[1] or number[2] or len(number[0]) > _MOST_DIGITS else int(number[0])
            if not isfinite(value):
                raise self._faulty("The number is too large")
            self.at = number.end()
            return value
        word = _WORD.match(self.text, self.at)
        if word is not None and word[0] in _WORDS:
            self.at = word.end()
            return _WORDS[word[0]]
        given = f", not '{word[0]}'" if word else ""
        raise self._faulty(f"Expected a text in quotes, a number, true, false, null, a list or an object{given}")

    def _string(self) -> str:
        quote = self.text[self.at]
        start = self.at
        self.at += 1
        made: list[str] = []
        while True:
            here = self.text[self.at : self.at + 1]
            if not here:
                self.at = start
                raise self._faulty("The text in quotes does not end")
            self.at += 1
            if here == quote:
                return "".join(made)
            made.append(self._escaped() if here == "\\" else here)

    def _escaped(self) -> str:
        here = self.text[self.at : self.at + 1]
        self.at += 1
        if here == "u" and (digits := _HEX.match(self.text, self.at)):
            self.at = digits.end()
            return chr(int(digits[0], 16))
        if here not in _ESCAPES:
            raise self._faulty(f"'\\{here}' is no escape; write '\\\\' for a backslash")
        return _ESCAPES[here]

    def _list(self, depth: int) -> list[Any]:
        self.at += 1
        made: list[Any] = []
        self._space()
        while not self._took("]"):
            made.append(self._value(depth + 1))
            self._space()
            if not self._took(","):
                self._expect("]", "',' or ']'")
                break
            self._space()
        return made

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        made: dict[str, Any] = {}
        self._space()
        while not self._took("}"):
            if self.text[self.at : self.at + 1] not in ('"', "'"):
                raise self._faulty("Expected a name in quotes, or '}'")
            key = self._string()
            self._space()
            self._expect(":", f"':' after '{key}'")
            made[key] = self._value(depth + 1)
            self._space()
            if not self._took(","):
                self._expect("}", "',' or '}'")
                break
            self._space()
        return made

    def _name(self, what: str) -> str:
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise self._faulty(f"Expected {what}")
        self.at = found.end()
        return found[0]

    def _space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _took(self, sign: str) -> bool:
        if self.text.startswith(sign, self.at):
            self.at += len(sign)
            return True
        return False

    def _expect(self, sign: str, what: str) -> None:
        if not self._took(sign):
            raise self._faulty(f"Expected {what}")

    def _end(self) -> None:
        self._expect(_CLOSE, "'}}'")

    def _faulty(self, message: str) -> Faulty:
        line = self.text.count("\n", 0, self.at) + 1
        near = self.text[self.at : self.at + 20].partition("\n")[0]
        where = f"before '{near}'" if near else "at the end of the line" if self.at < len(self.text) else "at the end"
        return Faulty(f"{message}, {where}.", line)
