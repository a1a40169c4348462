"""A plain model's answer to something inside the gateway, such as a tool."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import orjson

from headgate.core.errors import UpstreamGarbled
from headgate.core.events import Whole
from headgate.core.request import json_request
from headgate.core.surfaces import Surface
from headgate.pipeline.context import Deps
from headgate.pipeline.inner import inner_run
from headgate.pipeline.run import relay
from headgate.tools.types import Caller


async def ask_model(surface: Surface, fields: Mapping[str, Any], caller: Caller, deps: Deps) -> Mapping[str, Any]:
    """A plain model's answer to a tool; raises HeadgateError, also when the caller may not use the model."""
    request = json_request(surface, dict(fields))
    run = inner_run(caller, "tool", request.model)
    run.component = "tool"
    run.bytes_in = request.size
    async with aclosing(relay(request, run, deps)) as events:
        async for event in events:
            if isinstance(event, Whole):
                run.status = 200
                answer = orjson.loads(event.body)
                if isinstance(answer, dict):
                    return answer
    raise UpstreamGarbled("The provider's answer is not a JSON object.")
