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
_OF_KINDS = ("input_audio_mtok", "output_audio_mtok", "input_image_mtok", "output_image_mtok")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list says of a model. `price` is None where it is not by the token, or changes over the day.

    `up_to`: prompts of more tokens cost more than `price` says; None where it holds for all. `steps` are then the
    prices of longer prompts, each with the length above which it holds for all of a call's tokens, the longest first.
    """

    price: Price | None = None
    up_to: int | None = None
    context_window: int | None = None
    steps: tuple[tuple[int, Price], ...] = ()

    def price_for(self, prompt: int) -> Price | None:
        """The price of a call with a prompt of so many tokens."""
        for above, price in self.steps:
            if prompt > above:
                return price
        return self.price


def listed(provider: str, model_id: str) -> Listed | None:
    """The list's entry for a model of a provider row; None if it has none.

    For the LiteLLM SDK, `provider` is `litellm` and the id has the SDK's prefix.
    """
    known_as, known_id = _known_as(provider, model_id)
    model = _found(known_as, known_id)
    if model is None:
        return None
    if _changes_over_the_day(model):
        return Listed(context_window=model.context_window)
    return _converted(model.get_prices(datetime.now(UTC)), model.context_window)


def listed_now(provider: str, model_id: str) -> tuple[Listed | None, bool]:
    """The list's entry at this hour, and whether it holds at every hour."""
    known_as, known_id = _known_as(provider, model_id)
    model = _found(known_as, known_id)
    if model is None:
        return None, True
    return _converted(model.get_prices(datetime.now(UTC)), model.context_window), not _changes_over_the_day(model)


def load() -> None:
    """Import the list, which takes a tenth of a second, before anybody asks."""
    _list()


def _known_as(provider: str, model_id: str) -> tuple[str | None, str]:
    """The list's names of a provider and a model."""
    if provider != "litellm":
        return _LISTED_AS.get(provider), model_id
    prefix, _, model_id = model_id.partition("/")
    return _SDK_PREFIXES.get(prefix), model_id


def _found(known_as: str | None, model_id: str) -> Any:
    if known_as is None:
        return None
    try:
        return _list().find_provider_model(model_id, None, known_as, None)[1]
    except LookupError:
        return None


@cache
def _list() -> Any:
    return importlib.import_module("genai_prices.data_snapshot").get_snapshot()


def _changes_over_the_day(model: Any) -> bool:
    """Whether an entry has prices for hours of the day; prices that begin on a date are told by `start_date`."""
    conditions = model.prices if isinstance(model.prices, list) else ()
    return any(one.constraint is not None and not hasattr(one.constraint, "start_date") for one in conditions)


def _converted(prices: Any, context_window: int | None) -> Listed:
    values: list[Any] = [getattr(prices, name, None) for name in (*_PER_TOKEN, *_OF_KINDS)]
    if values[0] is None:
        return Listed(context_window=context_window)
    requests = prices.requests_kcount
    request = nano(requests / 1000) if isinstance(requests, Decimal) else 0
    starts = sorted({tier.start for value in values if _has_tiers(value) for tier in value.tiers}, reverse=True)

    def above(start: int | None) -> Price:
        input_, output, cached, written, *kinds = (_above(start, value) for value in values)
        return Price(input_ or 0, output or 0, cached, written, request, *kinds)

    steps = tuple((start, above(start)) for start in starts)
    return Listed(above(None), starts[-1] if starts else None, context_window, steps)


def _has_tiers(value: Any) -> bool:
    return value is not None and not isinstance(value, Decimal)


def _above(start: int | None, value: Any) -> int | None:
    """The amount for prompts longer than `start`, None for the shortest."""
    if _has_tiers(value):
        reached = [tier.price for tier in value.tiers if start is not None and tier.start <= start]
        value = reached[-1] if reached else value.base
    return None if value is None else nano(value)
