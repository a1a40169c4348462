"""Vectors for what is kept of knowledge: calls of an embedding model, on the account of whoever they are made for."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from headgate.core.errors import UpstreamGarbled
from headgate.core.events import Whole
from headgate.core.request import json_request
from headgate.core.run import Run
from headgate.core.surfaces import EMBEDDINGS
from headgate.knowledge.types import Embed, Embedded
from headgate.pipeline.context import Deps
from headgate.pipeline.inner import inner_run
from headgate.pipeline.run import relay
from headgate.tools.types import Caller

COMPONENT = "embedding"


def embed_for(caller: Caller, deps: Deps) -> Embed:
    """Each call is a run of its own under the caller's, in its budgets and limits, and in the ledger."""

    async def embed(model: str, texts: Sequence[str]) -> Embedded:
        request = json_request(EMBEDDINGS, {"model": model, "input": [*texts], "encoding_format": "float"})
        run = inner_run(caller, COMPONENT, model)
        run.component = COMPONENT
        run.bytes_in = request.size
        async with aclosing(relay(request, run, deps)) as events:
            async for event in events:
                if isinstance(event, Whole):
                    run.status = 200
                    return await _embedded(event.body, len(texts), run, deps)
        raise UpstreamGarbled("The embedding model answered with nothing.")

    return embed


async def _embedded(body: bytes, count: int, run: Run, deps: Deps) -> Embedded:
    """Raises UpstreamGarbled unless there is one vector for each text."""
    try:
        data = orjson.loads(body)["data"]
        vectors = [one["embedding"] for one in sorted(data, key=_place)]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise UpstreamGarbled("The embedding model's answer is not a list of embeddings.") from None
    if len(vectors) != count or not all(isinstance(one, list) and len(one) == len(vectors[0]) > 0 for one in vectors):
        raise UpstreamGarbled(f"The embedding model did not answer with {count} vectors of one length.")
    model = await deps.catalog.find(run.model or "")
    return Embedded(vectors, run.attempts[-1].model, frozenset(target.model for target in model.targets))


def _place(one: Mapping[str, Any]) -> int:
    place = one["index"]
    if not isinstance(place, int):
        raise TypeError
    return place
