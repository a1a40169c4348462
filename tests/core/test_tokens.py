"""Token counts as providers report them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.tokens import Tokens, reported
from tests.requirements import covers

pytestmark = covers("9", "113", "metrics")
NAMES = st.sampled_from(
    """
    prompt_tokens completion_tokens total_tokens input_tokens output_tokens cached_tokens reasoning_tokens
    prompt_tokens_details completion_tokens_details input_tokens_details cache_read_input_tokens
    cache_creation_input_tokens prompt_cache_hit_tokens cache_write_tokens
    """.split()  # noqa: SIM905 - a dozen quoted names would read worse
)
COUNTS = st.one_of(st.integers(-2, 50), st.none(), st.just("7"))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, Tokens(7, 3)),
        ({"prompt_tokens": 4, "total_tokens": 4}, Tokens(4)),
        ({"input_tokens": 5, "output_tokens": 6}, Tokens(5, 6)),
        ({"total_tokens": 9}, Tokens(9)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Tokens(0, 0)),
        ({"prompt_tokens": 7, "completion_tokens": None}, Tokens(7)),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Tokens(7, 3, 5, 2, prompt_audio=1),
        ),
        ({"prompt_tokens": 7, "prompt_tokens_details": None, "completion_tokens_details": []}, Tokens(7)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": None}}, Tokens(7)),
    ],
)
def test_counts_are_read(usage: dict[str, Any], tokens: Tokens) -> None:
    assert reported(usage) == tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param(
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 3000,
                "output_tokens": 5,
            },
            Tokens(3210, 5, cached=3000, cache_write=200),
            id="anthropic",
        ),
        pytest.param(
            {"input_tokens": 10, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 0, "output_tokens": 5},
            Tokens(12, 5, cache_write=2),
            id="anthropic, few",
        ),
        pytest.param(
            {"input_tokens": 10, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 40}},
            Tokens(10, 50, reasoning=40),
            id="anthropic, thinking",
        ),
        pytest.param(
            {
                "prompt_tokens": 3210,
                "completion_tokens": 5,
                "total_tokens": 3215,
                "prompt_tokens_details": {"cached_tokens": 3000},
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 3000,
            },
            Tokens(3210, 5, cached=3000, cache_write=200),
            id="anthropic through the SDK",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3000}},
            Tokens(3010, 5, cached=3000),
            id="more cached than the prompt has",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            Tokens(100, 5, cached=64),
            id="deepseek",
        ),
        pytest.param({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 8}, Tokens(9, 1, 8), id="moonshot"),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 7}},
            Tokens(9, 1, cache_write=7),
            id="openrouter",
        ),
        pytest.param(
            {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 100},
            Tokens(5, 95, reasoning=85),
            id="gemini counts thinking in the total only",
        ),
        pytest.param(
            {
                "prompt_tokens": 5,
                "completion_tokens": 10,
                "total_tokens": 45,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Tokens(5, 40, reasoning=30),
            id="xai counts reasoning beside",
        ),
        pytest.param(
            {
                "input_tokens": 50,
                "output_tokens": 400,
                "total_tokens": 450,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                "output_tokens_details": {"image_tokens": 400},
            },
            Tokens(50, 400, prompt_image=40, completion_image=400),
            id="images",
        ),
        pytest.param(
            {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}, "output_tokens": 4},
            Tokens(14, 4, prompt_audio=14),
            id="transcription",
        ),
        pytest.param(
            {"prompt_tokens": 1, "completion_tokens": 9, "completion_tokens_details": {"audio_tokens": 6}},
            Tokens(1, 9, completion_audio=6),
            id="spoken answer",
        ),
    ],
)
def test_every_providers_way_of_counting_comes_to_the_same(usage: dict[str, Any], tokens: Tokens) -> None:
    assert reported(usage) == tokens


@given(st.dictionaries(NAMES, st.one_of(COUNTS, st.dictionaries(NAMES, COUNTS))))
def test_whatever_is_reported_no_part_is_larger_than_the_whole(usage: dict[str, Any]) -> None:
    tokens = reported(usage)
    if tokens is not None:
        assert min(tokens) >= 0
        assert tokens.cached + tokens.cache_write <= tokens.prompt
        assert tokens.reasoning <= tokens.completion


@pytest.mark.parametrize(
    "usage", [None, {}, [], "x", 5, {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"x": 1}, {"prompt_tokens": 10**30}]
)
def test_what_holds_no_count_is_no_report(usage: object) -> None:
    assert reported(usage) is None


@pytest.mark.parametrize("wrong", [True, 1.5, "1", [], {}, -3])
def test_a_wrong_count_is_not_counted(wrong: object) -> None:
    assert reported({"prompt_tokens": wrong}) is None
    assert reported({"prompt_tokens": 1, "completion_tokens": wrong}) == Tokens(1)


@given(st.dictionaries(NAMES, COUNTS), st.dictionaries(NAMES, st.just(0)))
def test_details_that_say_nothing_change_nothing(usage: dict[str, Any], details: dict[str, Any]) -> None:
    told = {name: value for name, value in usage.items() if not name.endswith("_details")}
    assert reported({**told, "output_token_details": details}) == reported(told)
