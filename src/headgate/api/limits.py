"""Response headers that tell what is left of a caller's limits."""

import math

from headgate.core.bounds import Standing, Ticket
from headgate.core.money import usd

Headers = list[tuple[bytes, bytes]]


def standing_headers(standing: Standing) -> Headers:
    """What is left of the limits per minute, by the names that OpenAI uses. Seconds, as in `12s`."""
    headers: Headers = []
    reset = b"%ds" % math.ceil(standing.reset)
    if standing.requests_limit:
        headers += (
            (b"x-ratelimit-limit-requests", b"%d" % standing.requests_limit),
            (b"x-ratelimit-remaining-requests", b"%d" % max(0, standing.requests_left)),
            (b"x-ratelimit-reset-requests", reset),
        )
    if standing.tokens_limit:
        headers += (
            (b"x-ratelimit-limit-tokens", b"%d" % standing.tokens_limit),
            (b"x-ratelimit-remaining-tokens", b"%d" % max(0, standing.tokens_left)),
            (b"x-ratelimit-reset-tokens", reset),
        )
    return headers


def ticket_headers(ticket: Ticket) -> Headers:
    """What a request took of its limits, and soft budgets that it passes."""
    headers = standing_headers(ticket.standing) if ticket.standing is not None else []
    if ticket.over:
        told = "; ".join(f"{usd(one.allowed):f} USD {one.period} for {one.subject}" for one in ticket.over)
        headers.append((b"x-headgate-over-budget", told.encode("ascii", "replace")))
    return headers
