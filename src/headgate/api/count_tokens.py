"""`POST /v1/messages/count_tokens`: how large a request is, asked of a provider that counts, or else estimated.

No model answers, so nothing is charged and nothing stands in the ledger.
"""

from collections.abc import Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.body import read_body
from headgate.api.gate import Gate
from headgate.api.relay import forwarded
from headgate.core.errors import UpstreamError, UpstreamRejected
from headgate.core.events import Whole
from headgate.core.ports import Call
from headgate.core.request import ModelRequest, parse_json
from headgate.core.run import Attempt, Run, now
from headgate.core.surfaces import COUNT_TOKENS, MESSAGES
from headgate.identity.access import refuse_model
from headgate.routing.types import Target
from headgate.usage.cost import size_of


async def count_tokens(request: Request, gate: Gate) -> Response:
    """Raises what a call of the model would raise for its key, its name and its body."""
    scope = request.scope
    run: Run = scope["run"]
    headers = dict(scope["headers"])
    asked = parse_json(COUNT_TOKENS, await read_body(request.receive, headers, gate.bounds.body))
    run.model = asked.model
    agents = gate.deps.agents
    agent = agents.find(asked.model) if agents is not None else None
    if agent is not None:
        refuse_model(run.who, asked.model, *agent.known_as)
        return _answer(size_of(asked.fields).guess, run)
    model = await gate.deps.catalog.find(asked.model)
    refuse_model(run.who, asked.model, *model.known_as)
    lines = forwarded(headers, COUNT_TOKENS.forwards)
    for target in model.targets:
        if MESSAGES.dialect in gate.deps.upstreams[target.upstream].speaks:
            counted = await _counted(asked, target, lines, run, gate)
            if counted is not None:
                return _answer(counted, run)
    return _answer(size_of(asked.fields).guess, run)


async def _counted(asked: ModelRequest, target: Target, lines: bytes, run: Run, gate: Gate) -> int | None:
    """The provider's count; None if it has none to give. Raises UpstreamRejected for a request that it refuses."""
    attempt = Attempt(target.upstream, target.model, target.name, target.key, run.model or "", now())
    call = Call(asked, target.model, run.id, run.trace.traceparent, headers=lines)
    try:
        answer = await gate.deps.upstreams[target.upstream].open(call, attempt)
    except UpstreamRejected as error:
        if error.status == 400:
            raise
        return None
    except UpstreamError:
        return None
    if not isinstance(answer, Whole):
        answer.close()
        return None
    told = orjson.loads(answer.body)
    counted = told.get("input_tokens") if isinstance(told, Mapping) else None
    return counted if type(counted) is int else None


def _answer(tokens: int, run: Run) -> Response:
    answer = json_answer({"input_tokens": tokens})
    answer.headers["request-id"] = run.id
    return answer
