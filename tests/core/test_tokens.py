"""Token counts as providers report them."""

from typing import Any

import pytest

from headgate.core.tokens import Tokens, reported
from tests.requirements import covers

pytestmark = covers("9", "metrics")


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
            Tokens(7, 3, 5, 2),
        ),
        ({"prompt_tokens": 7, "prompt_tokens_details": None, "completion_tokens_details": []}, Tokens(7)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": None}}, Tokens(7)),
    ],
)
def test_counts_are_read(usage: dict[str, Any], tokens: Tokens) -> None:
    assert reported(usage) == tokens


@pytest.mark.parametrize("usage", [None, {}, [], "x", 5, {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"x": 1}])
def test_what_holds_no_count_is_no_report(usage: object) -> None:
    assert reported(usage) is None


@pytest.mark.parametrize("wrong", [True, 1.5, "1", [], {}, -3])
def test_a_wrong_count_is_not_counted(wrong: object) -> None:
    assert reported({"prompt_tokens": wrong}) is None
    assert reported({"prompt_tokens": 1, "completion_tokens": wrong}) == Tokens(1)
