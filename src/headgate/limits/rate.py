"""Requests and tokens per minute: where they are counted in a row, and when there is room again."""

from headgate.core.bounds import Bound, Rate, Refusal
from headgate.limits import window
from headgate.limits.window import Cells

NEWEST = 0
REQUESTS = 1
TOKENS = REQUESTS + window.CELLS
CELLS = TOKENS + window.CELLS
"""Cells of one row: the newest slot, then the windows of requests and tokens."""


def turn_to(cells: Cells, row: int, slot: int) -> None:
    """Forget what is older than a minute. A clock set back changes nothing."""
    newest = cells[row + NEWEST]
    if newest < slot:
        window.turn(cells, row + REQUESTS, newest, slot)
        window.turn(cells, row + TOKENS, newest, slot)
        cells[row + NEWEST] = slot


def no_request(cells: Cells, row: int, bound: Bound, now: float) -> Refusal:
    limit = bound.rate.requests_per_minute
    wait = window.free_in(cells, row + REQUESTS, cells[row + NEWEST], 1, limit, now)
    return Refusal(bound.subject, "requests", limit, wait)


def no_tokens(cells: Cells, row: int, bound: Bound, tokens: int, now: float) -> Refusal:
    limit = bound.rate.tokens_per_minute
    wait = window.free_in(cells, row + TOKENS, cells[row + NEWEST], min(tokens, limit), limit, now)
    return Refusal(bound.subject, "tokens", limit, wait)


def reset_in(cells: Cells, row: int, rate: Rate, now: float) -> float:
    """Seconds until all is free again; 0.0 without limits."""
    newest = cells[row + NEWEST]
    requests = window.reset_in(cells, row + REQUESTS, newest, now) if rate.requests_per_minute else 0.0
    tokens = window.reset_in(cells, row + TOKENS, newest, now) if rate.tokens_per_minute else 0.0
    return max(requests, tokens)
