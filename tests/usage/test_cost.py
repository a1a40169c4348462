"""What tokens cost, and what is known of calls that reported nothing."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.money import Price
from headgate.core.tokens import Tokens
from headgate.usage.cost import Size, cost_of, estimated, most_completion, size_of, size_of_stream, size_of_text
from tests.requirements import covers
from tests.usage.runs import PRICES, token_counts

pytestmark = covers("113")
M = 1_000_000
"""One nano-USD for each token."""


@pytest.mark.parametrize(
    ("tokens", "price", "cost"),
    [
        (Tokens(1_000_000, 1_000_000), Price(2_500_000_000, 10_000_000_000), 12_500_000_000),
        (Tokens(1000, 0, cached=600), Price(1_000_000_000, 0, cached_input=100_000_000), 400_000 + 60_000),
        (Tokens(1000, 0, cached=600), Price(1_000_000_000, 0), 1_000_000),
        (
            Tokens(1000, 0, cached=600, cache_write=300),
            Price(1_000_000_000, 0, 100_000_000, 1_250_000_000),
            100_000 + 60_000 + 375_000,
        ),
        (Tokens(10, 5, reasoning=5), Price(0, 1_000_000), 5),
        (Tokens(), Price(request=700), 700),
        (Tokens(1), Price(500_000), 1),
        (Tokens(1), Price(499_999), 0),
    ],
)
def test_each_kind_of_token_is_charged_once_and_at_its_own_price(tokens: Tokens, price: Price, cost: int) -> None:
    assert cost_of(tokens, price) == cost


@pytest.mark.parametrize(
    ("tokens", "price", "cost"),
    [
        (Tokens(10, 6, prompt_audio=4, completion_audio=5), Price(M, M, audio_input=8 * M, audio_output=9 * M), 84),
        (Tokens(10, 6, prompt_image=4, completion_image=5), Price(M, M, image_input=8 * M, image_output=9 * M), 84),
        (Tokens(10, 6, prompt_audio=4, completion_audio=5), Price(M, M), 16),
        (Tokens(10, 0, cached=8, prompt_audio=4), Price(M, M, 0, audio_input=8 * M), 16),
        (Tokens(10, 0, prompt_audio=40, prompt_image=40), Price(M, M, audio_input=2 * M, image_input=9 * M), 20),
        (Tokens(10, 5, prompt_audio=10), Price(5 * M, 0, audio_input=0), 0),
    ],
    ids=["sound", "pictures", "no price of their own", "cached ones are text first", "never more than all", "free"],
)
@covers("kinds")
def test_sound_and_pictures_are_charged_at_their_own_price(tokens: Tokens, price: Price, cost: int) -> None:
    assert cost_of(tokens, price) == cost


def exact(tokens: Tokens, price: Price) -> int:
    """The same with decimals."""
    cached_input = price.input if price.cached_input is None else price.cached_input
    cache_write = price.input if price.cache_write is None else price.cache_write
    plain = tokens.prompt - tokens.cached - tokens.cache_write
    per_million = (
        Decimal(plain) * price.input
        + Decimal(tokens.cached) * cached_input
        + Decimal(tokens.cache_write) * cache_write
        + Decimal(tokens.completion) * price.output
    )
    return int((per_million / 10**6).to_integral_value(ROUND_HALF_UP)) + price.request


@given(token_counts(), PRICES.filter(lambda price: price is not None))
def test_whole_numbers_give_what_decimals_give(tokens: Tokens, price: Price) -> None:
    assert cost_of(tokens, price) == exact(tokens, price)


@given(token_counts(), token_counts(), PRICES.filter(lambda price: price is not None))
def test_more_tokens_never_cost_less(some: Tokens, more: Tokens, price: Price) -> None:
    both = Tokens(*(one + other for one, other in zip(some, more, strict=True)))
    assert 0 <= cost_of(some, price) <= cost_of(both, price)


@given(st.text(), st.text(), st.one_of(st.none(), st.integers(1, 100)))
def test_the_bound_holds_however_text_is_split_into_tokens(prompt: str, answer: str, most: int | None) -> None:
    asked, said = size_of({"messages": [{"role": "user", "content": prompt}]}), len(answer.encode())
    known = estimated(asked, size_of_text(said), most)
    highest = said if most is None else min(said, most)
    for prompt_tokens in (0, len(prompt), len(prompt.encode())):
        for completion_tokens in (0, highest // 2, highest):
            off = abs(known.tokens.prompt - prompt_tokens) + abs(known.tokens.completion - completion_tokens)
            assert off <= known.bound
    assert known.measure == "estimated"


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, Size(0, 0)),
        ({"messages": [{"role": "user", "content": "12345678"}]}, Size(6, 16)),
        ({"input": "12345678"}, Size(2, 8)),
        ({"input": ["1234", "5678"]}, Size(2, 8)),
        ({"input": [1, 2, 3]}, Size(3, 6)),
        ({"prompt": "äöü!"}, Size(2, 7)),
        ({"messages": None, "prompt": 7}, Size(1, 2)),
    ],
)
def test_a_prompt_is_measured_by_its_texts(fields: dict[str, Any], size: Size) -> None:
    assert size_of(fields) == size


def test_an_image_counts_by_the_piece_however_large_it_is() -> None:
    def asked(picture: str) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": picture}}
        return {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]}

    assert size_of(asked("data:image/png;base64," + "A" * 1_000_000)) == size_of(asked("https://x.test/a.png"))


def test_deeply_nested_fields_are_measured() -> None:
    nested: Any = "word"
    for _ in range(5000):
        nested = [nested]
    assert size_of({"tools": nested}) == Size(1, 4)


@pytest.mark.parametrize(
    ("chunks", "text", "sent", "size"),
    [
        (0, 0, 0, Size(0, 0)),
        (10, 0, 2500, Size(10, 2500)),
        (10, 35, 2500, Size(10, 35)),
        (10, 400, 2500, Size(100, 400)),
        (10, 3, 2500, Size(10, 10)),
    ],
)
def test_a_stream_is_measured_by_its_chunks_and_its_text(chunks: int, text: int, sent: int, size: Size) -> None:
    assert size_of_stream(chunks, text, sent) == size


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 5, "max_tokens": 7}, 5),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": "7"}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": 2**31 - 1, "n": 2**31 - 1}, 10**8),
    ],
)
def test_what_the_caller_allows_bounds_the_answer(fields: dict[str, Any], most: int | None) -> None:
    assert most_completion(fields) == most
