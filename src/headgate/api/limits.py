"""Response headers that tell what is left of a caller's limits."""

import math

from headgate.core.bounds import Standing, Ticket
from headgate.core.money import usd

Headers = list[tuple[bytes, bytes]]


def standing_headers(standing: Standing) -> Headers:
    """What is left of the limits per minute, by the names that OpenAI uses. Seconds, as in `12s`."""
    headers = []
    reset = b"%ds" % math.ceil(standing.reset)
    for name, limit, left in (
        (b"requests", standing.requests_limit, standing.requests_left),
        (b"tokens", standing.tokens_limit, standing.tokens_left),
    ):
        if limit:
            headers += [
                (b"x-ratelimit-limit-" + name, b"%d" % limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % max(0, left)),
                (b"x-ratelimit-reset-" + name, reset),
            ]
    return headers


def ticket_headers(ticket: Ticket) -> Headers:
    """What a request took of its limits, and soft budgets that it passes."""
    headers = standing_headers(ticket.standing) if ticket.standing is not None else []
    if ticket.over:
        told = "; ".join(f"{usd(one.allowed):f} USD {one.period} for {one.subject}" for one in ticket.over)
        headers.append((b"x-headgate-over-budget", told.encode("ascii", "replace")))
    return headers
