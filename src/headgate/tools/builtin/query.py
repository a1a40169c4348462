"""Questions to JSON in JMESPath. The library grows what it answers without bound, so its interpreter is watched."""

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any

import orjson

from headgate.tools.builtin.function import FunctionTool, builtin, schema, text
from headgate.tools.types import Caller, ToolResult

_LONGEST_QUERY = 1000
_LARGEST = 256 << 10


async def _json_query(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
    given, query = arguments["json"], arguments["query"]
    if len(query) > _LONGEST_QUERY:
        raise ValueError(f"a query has at most {_LONGEST_QUERY} characters")
    try:
        raw = given.encode() if isinstance(given, str) else orjson.dumps(given)
        if len(raw) > _LARGEST:
            raise ValueError(f"the JSON has at most {_LARGEST} bytes")
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the JSON cannot be read: {error}") from None
    bounded = importlib.import_module("headgate.tools.builtin.jmespath_bounded")
    return ToolResult(await asyncio.to_thread(bounded.answer, query, data))


JSON_QUERY = FunctionTool(
    builtin(
        "json_query",
        "Take values out of JSON with a JMESPath expression, such as items[?price > `10`].name or sum(items[].price).",
        schema(
            json={"type": ["string", "object", "array"], "description": "The JSON, or a string that holds it."},
            query=text("The JMESPath expression."),
        ),
        "compute",
    ),
    _json_query,
)
