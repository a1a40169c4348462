"""`GET /model/info`, `/v2/model/info` and `/model_group/info` in the shapes of LiteLLM's proxy, without its secrets.

Its deployments are our targets, its model groups our models.
"""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import without_secrets
from headgate.api.gate import Gate
from headgate.api.info import Described, described, described_answer, per_token
from headgate.api.lists import Lists
from headgate.api.models import usable
from headgate.core.errors import InvalidField
from headgate.identity.access import refuse_model
from headgate.routing.types import Model, Target

_LARGEST_PAGE = 1000
_THEIR_NAMES = {
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "nvidia": "nvidia_nim",
    "vllm": "hosted_vllm",
    "openai_compatible": "openai",
}
_CHAT_FIELDS = (
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "user",
)


async def list_deployments(request: Request, gate: Gate) -> Response:
    """Every target with its model; `litellm_model_id` asks for one."""
    entries = await _deployments(request, gate)
    wanted = request.query_params.get("litellm_model_id")
    if wanted is not None:
        entries = [entry for entry in entries if entry["model_info"]["id"] == wanted]
        if not entries:
            raise InvalidField(f"There is no target '{wanted}'.", param="litellm_model_id")
    return described_answer({"data": entries})


async def page_deployments(request: Request, gate: Gate) -> Response:
    """The same in pages; `model`, `modelId` and `search` choose among them."""
    page, size = _number(request, "page", 1), _number(request, "size", 50, _LARGEST_PAGE)
    asked = request.query_params
    entries = [
        entry
        for entry in await _deployments(request, gate)
        if asked.get("model") in (None, entry["model_name"])
        and asked.get("modelId") in (None, entry["model_info"]["id"])
        and asked.get("search", "").lower() in entry["model_name"].lower()
    ]
    return described_answer(
        {
            "data": entries[(page - 1) * size : page * size],
            "total_count": len(entries),
            "current_page": page,
            "total_pages": -(-len(entries) // size),
            "size": size,
        }
    )


async def list_groups(request: Request, gate: Gate) -> Response:
    """Every model; `model_group` asks for one."""
    models = await usable(request, gate)
    wanted = request.query_params.get("model_group")
    if wanted is not None:
        models = [await gate.deps.catalog.find(wanted)]
        refuse_model(request.scope["who"], wanted, *models[0].known_as)
    groups = await asyncio.to_thread(lambda: [_group(model, gate.lists) for model in models])
    return described_answer({"data": groups})


async def _deployments(request: Request, gate: Gate) -> list[dict[str, Any]]:
    models = await usable(request, gate)
    return await asyncio.to_thread(
        lambda: [_deployment(model, target, gate.lists) for model in models for target in model.targets]
    )


def _number(request: Request, name: str, default: int, largest: int = 10**9) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not 1 <= int(text) <= largest:
        raise InvalidField(f"'{name}' must be a whole number from 1 to {largest}.", param=name)
    return int(text)


def _provider(target: Target, lists: Lists) -> str:
    provider = lists.provider_of(target.upstream)
    return _THEIR_NAMES.get(provider, provider)


def _deployment(model: Model, target: Target, lists: Lists) -> dict[str, Any]:
    known = described(model, target, lists)
    provider = _provider(target, lists)
    limits = target.limits
    further = without_secrets(model.settings.info) if model.settings else {}
    return {
        "model_name": model.name,
        "litellm_params": {
            "model": f"{provider}/{target.model}",
            "order": target.order,
            "weight": target.weight,
            "tags": sorted(target.tags),
            "rpm": (limits and limits.requests_per_minute) or None,
            "tpm": (limits and limits.tokens_per_minute) or None,
            "max_parallel_requests": (limits and limits.in_flight) or None,
            "timeout": target.timeout or None,
            "stream_timeout": target.stream_timeout or None,
        },
        "model_info": {
            **_facts(known),
            "litellm_provider": provider,
            "key": target.model,
            "max_tokens": known.max_output_tokens,
            "access_groups": model.settings.groups if model.settings else [],
            **further,
            "id": target.name,
            "db_model": False,
        },
    }


def _facts(known: Described) -> dict[str, Any]:
    price = known.price
    return {
        "mode": known.mode,
        "max_input_tokens": known.context_window,
        "max_output_tokens": known.max_output_tokens,
        "input_cost_per_token": per_token(price.input) if price else None,
        "output_cost_per_token": per_token(price.output) if price else None,
        "cache_read_input_token_cost": per_token(price.cached_input) if price else None,
        "cache_creation_input_token_cost": per_token(price.cache_write) if price else None,
        "input_cost_per_audio_token": per_token(price.audio_input) if price else None,
        "output_cost_per_audio_token": per_token(price.audio_output) if price else None,
        "supports_vision": _has(known.input, "image"),
        "supports_audio_input": _has(known.input, "audio"),
        "supports_pdf_input": _has(known.input, "file"),
        "supports_function_calling": known.tools,
        "supports_response_schema": known.json_schema,
        "supports_reasoning": known.reasoning,
    }


def _has(kinds: list[str] | None, kind: str) -> bool | None:
    return None if kinds is None else kind in kinds


def _group(model: Model, lists: Lists) -> dict[str, Any]:
    targets = [(target, described(model, target, lists)) for target in model.targets]
    rows = [_facts(known) for _, known in targets]
    numbers = ("max_input_tokens", "max_output_tokens", "input_cost_per_token", "output_cost_per_token")
    flags = [name for name in rows[0] if name.startswith("supports_")]
    return {
        "model_group": model.name,
        "providers": list(dict.fromkeys(_provider(target, lists) for target, _ in targets)),
        **{name: max((row[name] for row in rows if row[name] is not None), default=None) for name in numbers},
        "mode": rows[0]["mode"],
        "rpm": sum(target.limits.requests_per_minute for target, _ in targets if target.limits) or None,
        "tpm": sum(target.limits.tokens_per_minute for target, _ in targets if target.limits) or None,
        **{name: any(row[name] for row in rows) for name in flags},
        "supported_openai_params": _taken(targets[0][1]),
        "configurable_clientside_auth_params": None,
    }


def _taken(known: Described) -> list[str]:
    """The fields of a chat that a model takes; empty for other modes."""
    if known.mode not in (None, "chat"):
        return []
    fields = [*_CHAT_FIELDS, "reasoning_effort"] if known.reasoning else list(_CHAT_FIELDS)
    without = {"tools", "tool_choice", "parallel_tool_calls"} if known.tools is False else set()
    return [name for name in fields if name not in without and name not in known.unsupported]
