"""List prices from the package `genai-prices`, offline: its data is part of the package and is never updated here.

The package is imported on the first question, for it takes a tenth of a second and some megabytes.
"""

import importlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from headgate.core.money import Price, nano

_LISTED_AS = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "gemini": "google",
    "deepseek": "deepseek",
    "groq": "groq",
    "mistral": "mistral",
    "xai": "x-ai",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
    "together": "together",
    "fireworks": "fireworks",
    "openrouter": "openrouter",
}
"""Our provider rows as the list calls them. What is not here serves models whose price nobody lists."""
_SDK_PREFIXES = {
    **_LISTED_AS,
    "vertex_ai": "google",
    "bedrock": "aws",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "cohere": "cohere",
    "novita": "novita",
    "voyage": "voyageai",
    "moonshot": "moonshotai",
}
_PER_TOKEN = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list says of a model. `price` is None where it is not by the token, or changes over the day.

    `up_to`: prompts of more tokens cost more than `price` says; None where it holds for all.
    """

    price: Price | None = None
    up_to: int | None = None
    context_window: int | None = None


def listed(provider: str, model_id: str) -> Listed | None:
    """The list's entry for a model of a provider row; None if it has none.

    For the LiteLLM SDK, `provider` is `litellm` and the id has the SDK's prefix.
    """
    known_as = _LISTED_AS.get(provider)
    if provider == "litellm":
        prefix, _, model_id = model_id.partition("/")
        known_as = _SDK_PREFIXES.get(prefix)
    if known_as is None:
        return None
    try:
        _, model = _list().find_provider_model(model_id, None, known_as, None)
    except LookupError:
        return None
    if _changes_over_the_day(model):
        return Listed(context_window=model.context_window)
    price, up_to = _converted(model.get_prices(datetime.now(UTC)))
    return Listed(price, up_to, model.context_window)


def price_of(provider: str, model_id: str) -> Price | None:
    """The list price where one price holds for every call; None where there is none or it depends on the call."""
    found = listed(provider, model_id)
    return found.price if found and found.up_to is None else None


@cache
def _list() -> Any:
    return importlib.import_module("genai_prices.data_snapshot").get_snapshot()


def _changes_over_the_day(model: Any) -> bool:
    """Whether an entry has prices for hours of the day; prices that begin on a date are told by `start_date`."""
    conditions = model.prices if isinstance(model.prices, list) else ()
    return any(one.constraint is not None and not hasattr(one.constraint, "start_date") for one in conditions)


def _converted(prices: Any) -> tuple[Price | None, int | None]:
    """(price, prompt tokens up to which it holds or None for any)"""
    amounts: dict[str, int | None] = {}
    starts = []
    for name in _PER_TOKEN:
        value = getattr(prices, name)
        if value is not None and not isinstance(value, Decimal):
            starts += [tier.start for tier in value.tiers]
            value = value.base
        amounts[name] = None if value is None else nano(value)
    if amounts["input_mtok"] is None:
        return None, None
    requests = prices.requests_kcount
    price = Price(
        input=amounts["input_mtok"],
        output=amounts["output_mtok"] or 0,
        cached_input=amounts["cache_read_mtok"],
        cache_write=amounts["cache_write_mtok"],
        request=nano(requests / 1000) if isinstance(requests, Decimal) else 0,
    )
    return price, min(starts, default=None)
