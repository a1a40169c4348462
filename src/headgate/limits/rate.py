"""Requests and tokens per minute: where they are counted in a row, how much is left, and when there is room again."""

from headgate.core.bounds import Bound, Rate, Refusal, Standing
from headgate.limits import window
from headgate.limits.window import Cells

REQUESTS = 0
TOKENS = window.CELLS
CELLS = 2 * window.CELLS
"""Cells of one row: the windows of requests and tokens."""


def left(cells: Cells, row: int, slot: int, rate: Rate, standing: Standing) -> tuple[int, int]:
    """(requests, tokens) that may still be taken; what has no limit is 0. The tightest are noted in `standing`."""
    requests = tokens = 0
    if limit := rate.requests_per_minute:
        requests = limit - window.used(cells, row + REQUESTS, slot)
        if not standing.requests_limit or requests < standing.requests_left:
            standing.requests_limit, standing.requests_left = limit, requests
    if limit := rate.tokens_per_minute:
        tokens = limit - window.used(cells, row + TOKENS, slot)
        if not standing.tokens_limit or tokens < standing.tokens_left:
            standing.tokens_limit, standing.tokens_left = limit, tokens
    return requests, tokens


def no_request(cells: Cells, row: int, bound: Bound, now: float) -> Refusal:
    limit = bound.rate.requests_per_minute
    return Refusal(bound.subject, "requests", limit, window.free_in(cells, row + REQUESTS, 1, limit, now))


def no_tokens(cells: Cells, row: int, bound: Bound, tokens: int, now: float) -> Refusal:
    limit = bound.rate.tokens_per_minute
    wait = window.free_in(cells, row + TOKENS, min(tokens, limit), limit, now)
    return Refusal(bound.subject, "tokens", limit, wait)


def reset_in(cells: Cells, row: int, rate: Rate, now: float) -> float:
    """Seconds until all is free again; 0.0 without limits."""
    requests = window.reset_in(cells, row + REQUESTS, now) if rate.requests_per_minute else 0.0
    tokens = window.reset_in(cells, row + TOKENS, now) if rate.tokens_per_minute else 0.0
    return max(requests, tokens)
