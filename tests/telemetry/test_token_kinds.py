"""Every kind of token that a provider reports is counted and logged, and rare kinds only where there are any."""

from headgate.core.tokens import Tokens
from headgate.telemetry.logs import request_line
from headgate.telemetry.metrics import Metrics
from tests.requirements import covers
from tests.usage.runs import attempt, run_of

pytestmark = covers("metrics", "113")


def kinds(tokens: Tokens) -> dict[str, int]:
    """What the metrics count for one answer, by kind."""
    metrics = Metrics()
    metrics.observe(run_of([attempt(tokens=tokens)], label="small"))
    return {labels[2]: count for labels, count in metrics.tokens.items()}


def test_rare_kinds_are_counted_when_they_occur() -> None:
    tokens = Tokens(9, 8, cached=1, reasoning=2, cache_write=3, prompt_audio=4, completion_image=5)
    assert kinds(tokens) == {
        "prompt": 9,
        "completion": 8,
        "cached": 1,
        "reasoning": 2,
        "cache_write": 3,
        "prompt_audio": 4,
        "completion_image": 5,
    }
    assert kinds(Tokens(9, 8)) == {"prompt": 9, "completion": 8}


def test_tokens_written_to_a_cache_are_logged_when_there_are_any() -> None:
    assert request_line(run_of([attempt(tokens=Tokens(9, cache_write=3))]))["cache_write_tokens"] == 3
    assert "cache_write_tokens" not in request_line(run_of([attempt(tokens=Tokens(9))]))
