"""A question to the user. It is never run: it waits, as an action, for the answer that becomes its result."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headgate.tools.builtin.function import FunctionTool, builtin, schema, text
from headgate.tools.types import Caller, ToolResult

_OPTIONS = {"type": "array", "items": {"type": "string"}, "maxItems": 20, "description": "Answers to choose from."}


def _nobody(_arguments: Mapping[str, Any], _caller: Caller) -> ToolResult:
    raise ValueError("nobody can be asked here: questions need a stored conversation")


ASK_USER = FunctionTool(
    replace(
        builtin(
            "ask_user",
            "Ask the user a question and wait for the answer. Only for what you cannot find out or decide yourself.",
            schema("options", question=text("The question.", maxLength=4000), options=_OPTIONS),
            "question",
        ),
        asks=True,
    ),
    _nobody,
)
