"""List prices, offline. The figures are the package's own, read from its data without its lookup."""

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.types import TieredPrices

from headgate.core.money import Price, nano
from headgate.core.run import Attempt
from headgate.core.tokens import Tokens
from headgate.usage.prices import Prices
from headgate.usage.pricing import Listed, listed, listed_now
from tests.requirements import covers

pytestmark = covers("prices", "113")


def price_of(provider: str, model: str) -> Price | None:
    """The list price where one holds for every call."""
    found = listed(provider, model)
    return found.price if found and found.up_to is None else None


def entry(provider: str, model: str) -> Any:
    """The package's entry of that very id."""
    models = next(one.models for one in providers if one.id == provider)
    return next(one for one in models if one.id == model)


@pytest.mark.parametrize(
    ("provider", "model", "theirs"),
    [
        ("openai", "gpt-4o", "openai"),
        ("openai", "text-embedding-3-small", "openai"),
        ("openai", "gpt-5", "openai"),
        ("groq", "openai/gpt-oss-120b", "groq"),
        ("litellm", "groq/openai/gpt-oss-120b", "groq"),
        ("litellm", "openai/gpt-4o", "openai"),
        ("perplexity", "sonar", "perplexity"),
    ],
)
def test_a_price_is_that_of_the_list_in_nano_dollars_per_million(provider: str, model: str, theirs: str) -> None:
    listed_model = entry(theirs, model.removeprefix("groq/") if theirs == "groq" else model.removeprefix("openai/"))
    prices = listed_model.prices
    found = price_of(provider, model)
    assert found is not None
    assert found.input == nano(prices.input_mtok)
    assert found.output == nano(prices.output_mtok or Decimal(0))
    assert found.cached_input == (None if prices.cache_read_mtok is None else nano(prices.cache_read_mtok))
    assert found.request == (0 if prices.requests_kcount is None else nano(prices.requests_kcount / 1000))
    assert listed(provider, model) == Listed(found, None, listed_model.context_window)


def test_a_million_tokens_cost_what_they_cost() -> None:
    assert price_of("openai", "gpt-4o") == Price(2_500_000_000, 10_000_000_000, 1_250_000_000)


@pytest.mark.parametrize(
    ("provider", "model", "theirs"),
    [
        ("openai", "gpt-audio", "openai"),
        ("openai", "gpt-image-1.5", "openai"),
        ("gemini", "gemini-2.0-flash", "google"),
    ],
)
def test_sound_and_pictures_have_the_prices_of_the_list(provider: str, model: str, theirs: str) -> None:
    prices = entry(theirs, model).prices
    names = ("input_audio_mtok", "output_audio_mtok", "input_image_mtok", "output_image_mtok")
    found = price_of(provider, model)
    assert found is not None
    assert found.has_kinds
    values = [getattr(prices, name, None) for name in names]
    assert list(found.of_kinds) == [None if value is None else nano(value) for value in values]


def test_dated_names_and_other_clouds_find_their_model() -> None:
    assert price_of("openai", "gpt-4o-mini-2024-07-18") == price_of("openai", "gpt-4o-mini")
    assert price_of("azure", "gpt-4o") == price_of("openai", "gpt-4o")


@pytest.mark.parametrize(("provider", "model"), [("gemini", "gemini-2.5-pro"), ("anthropic", "claude-sonnet-4-5")])
def test_a_price_that_rises_with_the_prompt_is_not_one_price(provider: str, model: str) -> None:
    theirs = entry({"gemini": "google"}.get(provider, provider), model).prices
    assert isinstance(theirs.input_mtok, TieredPrices)
    assert price_of(provider, model) is None
    found = listed(provider, model)
    assert found is not None
    assert found.price is not None
    assert found.price.input == nano(theirs.input_mtok.base)
    assert found.up_to == theirs.input_mtok.tiers[0].start


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "whisper-1-of-nobody"),
        ("openai", ""),
        ("ollama", "gpt-4o"),
        ("local", "smollm2"),
        ("openai_compatible", "gpt-4o"),
        ("litellm", "gpt-4o"),
        ("litellm", "nowhere/gpt-4o"),
        ("litellm", ""),
    ],
)
def test_what_is_not_listed_has_no_price(provider: str, model: str) -> None:
    assert listed(provider, model) is None
    assert price_of(provider, model) is None


def test_what_is_not_sold_by_the_token_has_no_price_by_the_token() -> None:
    found = listed("groq", "whisper-large-v3")
    assert found is not None
    assert found.price is None


def test_prices_that_change_over_the_day_are_not_told_as_one() -> None:
    found = listed("deepseek", "deepseek-chat")
    assert found is not None
    assert (found.price, price_of("deepseek", "deepseek-chat")) == (None, None)


def test_every_listed_model_can_be_asked_for() -> None:
    for ours, theirs in (("openai", "openai"), ("gemini", "google"), ("mistral", "mistral"), ("xai", "x-ai")):
        for model in next(one.models for one in providers if one.id == theirs):
            found = listed(ours, model.id)
            if found and found.price:
                assert min(found.price.input, found.price.output, found.price.cached_input or 0) >= 0


def test_the_list_is_imported_on_the_first_question_only_and_fetches_nothing() -> None:
    program = """
import socket, sys
import headgate.cli.serve, headgate.usage.pricing as pricing
assert "genai_prices" not in sys.modules and "httpx2" not in sys.modules
pricing.listed("ollama", "x")
assert "genai_prices" not in sys.modules
def refuse(*args): raise AssertionError("a connection")
socket.socket.connect = socket.getaddrinfo = refuse
assert pricing.listed("openai", "gpt-4o").price
import threading
assert threading.active_count() == 1
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("provider", "model"), [("gemini", "gemini-2.5-pro"), ("anthropic", "claude-sonnet-4-5")])
def test_long_prompts_have_the_price_of_long_prompts(provider: str, model: str) -> None:
    prices = entry({"gemini": "google"}.get(provider, provider), model).prices
    found = listed(provider, model)
    assert found is not None
    start = prices.input_mtok.tiers[0].start
    short, long = found.price_for(start), found.price_for(start + 1)
    assert (short, long) != (None, None)
    assert short == found.price
    assert long is not None
    assert (long.input, long.output) == (
        nano(prices.input_mtok.tiers[0].price),
        nano(prices.output_mtok.tiers[0].price),
    )


def test_a_price_of_the_hour_is_not_kept() -> None:
    found, holds = listed_now("deepseek", "deepseek-chat")
    assert found is not None
    assert found.price is not None
    assert not holds
    assert listed_now("openai", "gpt-4o") == (listed("openai", "gpt-4o"), True)
    assert listed_now("ollama", "gpt-4o") == (None, True)


def test_a_call_is_priced_by_its_target_then_by_the_list() -> None:
    asked = []

    def now(upstream: str, model: str) -> tuple[Listed | None, bool]:
        asked.append(model)
        return (Listed(Price(1), 100, steps=((100, Price(2)),)), model == "steady") if model != "none" else (None, True)

    prices = Prices(now)

    def price(model: str, prompt: int, own: Price | None = None) -> Price | None:
        return prices(Attempt("u", model, "t", "t", "m", 0.0, price=own), Tokens(prompt))

    assert price("steady", 1, Price(9)) == Price(9)
    assert asked == []
    assert [price("steady", 100), price("steady", 101), price("none", 1), price("none", 1)] == [
        *(Price(1), Price(2), None, None),
    ]
    assert asked == ["steady", "none"]
    assert [price("hourly", 1), price("hourly", 1)] == [Price(1), Price(1)]
    assert asked == ["steady", "none", "hourly", "hourly"]


def test_models_that_callers_invent_are_not_remembered_without_end() -> None:
    prices = Prices(lambda upstream, model: (None, True))
    for number in range(5000):
        prices.of("u", str(number), 1)
    assert len(prices._known) <= 1000
