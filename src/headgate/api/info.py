"""`GET /v1/info`: what each model can do, what it costs and how it is routed. Settings win over the packaged lists."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from headgate.agents.types import AgentSettings
from headgate.api.agents import usable_agents
from headgate.api.answers import without_secrets
from headgate.api.gate import Gate
from headgate.api.lists import Lists
from headgate.api.models import usable
from headgate.core.money import Price, usd
from headgate.routing.types import AS_IT_IS, CapabilitySettings, ConstraintSettings, Model, Target

_UNSET = CapabilitySettings()
_FREE = ConstraintSettings()


async def list_info(request: Request, gate: Gate) -> Response:
    """The catalogue of capabilities."""
    models = await usable(request, gate)
    data = await asyncio.to_thread(_entries, models, gate.lists)
    for agent in usable_agents(request.scope["who"], gate):
        model = gate.deps.catalog.configured(agent.model or agent.name)
        below = await asyncio.to_thread(_entry, model, gate.lists) if model is not None else {}
        data.append({**below, "id": agent.name, "aliases": [], "agent": _of_agent(agent)})
    return described_answer({"object": "list", "data": data})


def _of_agent(agent: AgentSettings) -> dict[str, Any]:
    """What an agent adds to its model."""
    return {
        "model": agent.model or agent.name,
        "description": agent.description,
        "strategy": agent.strategy,
        "strategies": sorted({agent.strategy, *agent.strategies}),
    }


def described_answer(content: Any) -> Response:
    """JSON of what settings may hold, which is more than JSON has."""
    body = orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Described:
    """One target of a model as known: settings first, then the packaged lists; None is unknown.

    `up_to`: longer prompts cost more than `price` says.
    """

    mode: str | None
    family: str | None
    license: str | None
    input: list[str] | None
    output: list[str] | None
    tools: bool | None
    json_schema: bool | None
    reasoning: bool | None
    context_window: int | None
    max_output_tokens: int | None
    price: Price | None
    up_to: int | None
    unsupported: tuple[str, ...]


def described(model: Model, target: Target, lists: Lists) -> Described:
    """What is known of one target. The first question for a price imports the list, so ask from a thread."""
    said = model.settings.capabilities if model.settings else _UNSET
    facts = lists.facts_of(target.upstream, target.model)
    listed = lists.listed(target.upstream, target.model)
    kinds = said.input if said.input is not None else facts.input
    if kinds is not None and not model.accepts_image_url:
        kinds = [kind for kind in kinds if kind != "image"]
    output = said.output if said.output is not None else facts.output
    return Described(
        mode=said.mode or facts.mode,
        family=said.family or facts.family,
        license=said.license or facts.license,
        input=None if kinds is None else list(kinds),
        output=None if output is None else list(output),
        tools=_first(said.tools, facts.tools),
        json_schema=_first(said.json_schema, facts.json_schema),
        reasoning=_first(said.reasoning, facts.reasoning),
        context_window=target.context or facts.context_window or (listed.context_window if listed else None),
        max_output_tokens=said.max_output_tokens or facts.max_output_tokens,
        price=target.price or (listed.price if listed else None),
        up_to=listed.up_to if listed and not target.price else None,
        unsupported=tuple(sorted(target.rules.unsupported if target.rules else facts.unsupported)),
    )


def _first(said: bool | None, known: bool | None) -> bool | None:
    return known if said is None else said


def _entries(models: list[Model], lists: Lists) -> list[dict[str, Any]]:
    """One entry per model; further names of a listed model stand in its entry."""
    entries: dict[tuple[int, int], dict[str, Any]] = {}
    for model in models:
        same = (id(model.settings), id(model.targets))  # an alias shares both with what it means
        if model.settings is not None and same in entries:
            entries[same]["aliases"].append(model.name)
        else:
            entries[same] = _entry(model, lists)
    return list(entries.values())


def _entry(model: Model, lists: Lists) -> dict[str, Any]:
    targets = [(target, described(model, target, lists)) for target in model.targets]
    first = targets[0][1]
    limits = model.settings.constraints if model.settings else _FREE
    return {
        "id": model.name,
        "aliases": [],
        "family": first.family,
        "license": first.license,
        "mode": first.mode,
        "modalities": {"input": first.input, "output": first.output},
        "tools": first.tools,
        "json_schema": first.json_schema,
        "reasoning": first.reasoning,
        "context_window": _least(known.context_window for _, known in targets),
        "max_output_tokens": _least(known.max_output_tokens for _, known in targets),
        "constraints": {
            "min_max_tokens": limits.min_max_tokens,
            "accepts_image_url": model.accepts_image_url,
            "typical_response_seconds": limits.typical_response_seconds,
        },
        "prices": _prices(first),
        "parameters": _parameters(model.targets[0], first),
        "balance": model.balance,
        "targets": [_target(target, known) for target, known in targets],
        "fallbacks": {
            "any": model.fallbacks.any,
            "context_window": model.fallbacks.context_window,
            "content_policy": model.fallbacks.content_policy,
        },
    }


def _target(target: Target, known: Described) -> dict[str, Any]:
    limits = target.limits
    return {
        "target": target.name,
        "order": target.order,
        "weight": target.weight,
        "tags": sorted(target.tags),
        "limits": {
            "requests_per_minute": limits.requests_per_minute or None,
            "tokens_per_minute": limits.tokens_per_minute or None,
            "in_flight": limits.in_flight or None,
        }
        if limits
        else None,
        "context_window": known.context_window,
        "prices": _prices(known),
    }


def _parameters(target: Target, known: Described) -> dict[str, Any]:
    rules = target.rules or AS_IT_IS
    return {
        "reasoning_effort": rules.effort,
        "defaults": without_secrets(rules.defaults),
        "drop": sorted(rules.drop),
        "drop_unsupported": rules.drop_unsupported,
        "unsupported": known.unsupported,
    }


def _prices(known: Described) -> dict[str, Any] | None:
    """USD per million tokens, and per call; a list price that rises with the prompt says up to where it holds."""
    price = known.price
    if price is None:
        return None
    return {
        "currency": "USD",
        "unit": "1M tokens",
        "input": _dollars(price.input),
        "output": _dollars(price.output),
        "cached_input": _dollars(price.cached_input),
        "cache_write": _dollars(price.cache_write),
        "audio_input": _dollars(price.audio_input),
        "audio_output": _dollars(price.audio_output),
        "image_input": _dollars(price.image_input),
        "image_output": _dollars(price.image_output),
        "per_request": _dollars(price.request),
        "up_to_prompt_tokens": known.up_to,
    }


def _dollars(amount: int | None) -> float | None:
    return None if amount is None else float(usd(amount))


def per_token(amount: int | None) -> float | None:
    """USD for a single token, of a price per million."""
    return None if amount is None else float(usd(amount) / Decimal(1_000_000))


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
