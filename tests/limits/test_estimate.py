"""What a request may take at most is told from its bytes and fields alone."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headgate.core.bounds import Bound, Budget, Rate, Want
from headgate.core.money import Price, dearest
from headgate.core.request import parse_form, parse_json
from headgate.core.surfaces import CHAT, EMBEDDINGS, MESSAGES, TRANSCRIPTIONS
from headgate.core.tokens import Tokens
from headgate.limits.counters import TableCounters
from headgate.limits.estimate import cost, wanted
from headgate.limits.limiter import Limiter
from headgate.limits.local import LocalTable
from headgate.limits.shared import SharedTable
from headgate.limits.types import LimitsSettings, bound_of
from headgate.usage.cost import cost_of
from tests.requirements import covers

pytestmark = covers("153", "114")
PRICE = Price(input=3_000_000_000, output=15_000_000_000, cache_write=3_750_000_000, request=7)


def chat(**more: Any) -> Any:
    return parse_json(CHAT, orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi!"}], **more}))


@pytest.mark.parametrize(
    ("fields", "tokens", "money"),
    [
        ({"max_tokens": 100}, 100, 100),
        ({"max_completion_tokens": 200, "max_tokens": 100}, 200, 200),
        ({"max_tokens": 100, "n": 3}, 300, 300),
        ({"max_tokens": 100, "n": 0}, 100, 100),
        ({}, 4096, 32_000),
        ({"n": 2}, 8192, 64_000),
    ],
)
def test_tokens_of_the_answer_are_what_the_caller_allows_or_the_model_can(
    fields: dict[str, Any], tokens: int, money: int
) -> None:
    request = chat(**fields)
    prompt = request.size // 3 + 1
    want = wanted(request, PRICE, longest=32_000)
    assert want.tokens == prompt + tokens
    assert want.nano_usd == cost(PRICE, prompt, money)


def test_without_a_known_longest_answer_a_typical_one_is_assumed() -> None:
    request = chat()
    assert wanted(request, PRICE, typical=50) == Want(
        request.size // 3 + 51, cost(PRICE, request.size // 3 + 1, 50), is_stream=False
    )
    assert wanted(chat(stream=True), None).is_stream


def test_an_unknown_price_reserves_nothing() -> None:
    assert wanted(chat(), None).nano_usd == 0


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_cost_is_never_below_the_dearest_way_to_bill(prompt: int, completion: int) -> None:
    exact = Decimal(prompt * 3_750_000_000 + completion * 15_000_000_000) / 1_000_000 + 7
    assert exact <= cost(PRICE, prompt, completion) < exact + 1


def test_pictures_of_messages_count_alike_also_in_results_of_tools() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 900_000}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [picture]}
    for content in ([picture], [result]):
        body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": content}]}
        want = wanted(parse_json(MESSAGES, orjson.dumps(body)), PRICE)
        assert 1700 < want.tokens < 2000


def test_pictures_in_the_body_are_counted_by_number_and_not_by_bytes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
    text = {"type": "text", "text": "word " * 20_000}
    request = chat(messages=[{"role": "user", "content": [text, picture, picture]}], max_tokens=1)
    assert 100_000 // 3 + 3200 < wanted(request, None).tokens < 100_000 // 3 + 3400


@pytest.mark.parametrize("content", [None, [], ["text"], [{"type": "input_audio", "input_audio": {"data": 5}}], ""])
def test_large_bodies_of_any_shape_are_estimated(content: Any) -> None:
    messages = [{"role": "user", "content": content}, {"role": "user", "content": "x" * 60_000}]
    assert wanted(chat(messages=messages, max_tokens=1), PRICE).tokens > 20_000


def test_what_generates_no_text_has_no_completion() -> None:
    request = parse_json(EMBEDDINGS, b'{"model":"m","input":"' + b"x" * 300 + b'"}')
    assert wanted(request, None, longest=1000).tokens == request.size // 3 + 1
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
    assert wanted(parse_form(TRANSCRIPTIONS, form, "multipart/form-data; boundary=x"), PRICE) == Want(0, 7)


def test_settings_become_a_bound_or_none() -> None:
    settings = LimitsSettings.model_validate(
        {"keys": {"requests_per_minute": 5, "budgets": [{"usd": "2.5", "period": "day", "hard": False}]}}
    )
    expected = Bound("key:a", Rate(requests_per_minute=5), (Budget(2_500_000_000, "day", hard=False),))
    assert bound_of("key:a", settings.keys) == expected
    assert bound_of("user:t/u", settings.users) is None


def test_redis_needs_an_address() -> None:
    with pytest.raises(ValidationError, match="redis_url"):
        LimitsSettings.model_validate({"store": "redis"})


SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
OF_KINDS = Price(1_000_000, 1_000_000, audio_input=8_000_000, audio_output=9_000_000)


@pytest.mark.parametrize(
    ("fields", "input_", "output"),
    [
        ({}, 1, 1),
        ({"modalities": ["text"]}, 1, 1),
        ({"modalities": ["text", "audio"]}, 1, 9),
        ({"messages": [{"role": "user", "content": [SOUND]}]}, 8, 1),
    ],
    ids=["text", "only text", "spoken answer", "spoken question"],
)
def test_sound_is_reserved_at_its_own_price_only_where_there_may_be_any(
    fields: dict[str, Any], input_: int, output: int
) -> None:
    request = chat(max_tokens=100, **fields)
    prompt = request.size // 3 + 1
    assert wanted(request, OF_KINDS).nano_usd == prompt * input_ + 100 * output


@covers("153")
async def test_whatever_a_request_says_what_it_reserves_fits_into_every_table(tmp_path: Path) -> None:
    """A soft budget refuses nothing, so that all of it would be booked."""
    dear = Price(input=10**13, output=10**15)
    want = wanted(chat(max_tokens=2**31 - 1, n=100, stream=True), dear)
    bound = Bound("key:k", budgets=(Budget(1, "day", hard=False),))
    for table in (LocalTable(), SharedTable(tmp_path / "limits", subjects=1000, processes=1)):
        limiter = Limiter(TableCounters(table))
        tickets = [await limiter.admit((bound,), want) for _ in range(1000)]
        for ticket in tickets:
            limiter.settle(ticket, 0, 0)
        assert table.reserved(table.find("key:k", 0, {})) == 0
        table.close()


AMOUNTS = st.integers(0, 100).map(lambda usd: usd * 10**6)
MAYBE = st.none() | AMOUNTS
PRICES = st.builds(Price, AMOUNTS, AMOUNTS, MAYBE, MAYBE, AMOUNTS, *(MAYBE for _ in range(4)))
COUNTS = st.lists(st.integers(0, 50), min_size=7, max_size=7)


@covers("114")
@given(st.lists(PRICES, min_size=1, max_size=4), COUNTS)
def test_what_is_reserved_by_covers_every_target_whatever_it_is_given(prices: list[Price], counts: list[int]) -> None:
    prompt, completion, written, *kinds = counts
    tokens = Tokens(prompt + written, completion, 0, 0, written, *kinds)
    highest = dearest(prices)
    assert highest is not None
    assert cost_of(tokens, highest) >= max(cost_of(tokens, one) for one in prices)
