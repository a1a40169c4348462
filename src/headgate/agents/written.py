"""JSON as models write it: bare, in fences, or with words around it."""

from typing import Any

import orjson


def json_in(text: str) -> Any:
    """The value that a text holds; raises ValueError with what is wrong, in words for the model."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        return orjson.loads(bare)
    except orjson.JSONDecodeError:
        pass
    begin, end = bare.find("{"), bare.rfind("}")
    if begin < 0 or end < begin:
        raise ValueError("it is not JSON")
    try:
        return orjson.loads(bare[begin : end + 1])
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
