"""Calls that a run makes of the gateway itself, on the same account: each is a run of its own, with a parent."""

from typing import Any

import orjson

from headgate.core.ids import child_of, new_run_id
from headgate.core.request import JsonRequest
from headgate.core.run import Run
from headgate.core.surfaces import Surface
from headgate.tools.types import Caller


def inner_run(caller: Caller, route: str, model: str) -> Run:
    """A run on behalf of another one, a level below it."""
    run = Run(new_run_id(), child_of(caller.traceparent), route, who=caller.who, model=model)
    run.parent = caller.run
    run.depth = caller.depth + 1
    run.tells_more = False
    return run


def json_request(surface: Surface, fields: dict[str, Any]) -> JsonRequest:
    """A request as if a caller had sent these fields."""
    raw = orjson.dumps(fields, option=orjson.OPT_NON_STR_KEYS)
    return JsonRequest(surface, raw, fields, fields["model"], stream=False, wants_usage=False)
