"""Response headers that tell what is left of a caller's limits."""

import math
from datetime import UTC, datetime, timedelta

from headgate.core.bounds import Standing, Ticket
from headgate.core.money import usd

Headers = list[tuple[bytes, bytes]]


def standing_headers(standing: Standing, dialect: str = "") -> Headers:
    """What is left of the limits per minute, by the names that OpenAI uses. Seconds, as in `12s`.

    For callers in Anthropic's words besides by the names that Anthropic uses.
    """
    headers = _anthropic(standing) if dialect == "messages" else []
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


def _anthropic(standing: Standing) -> Headers:
    """The reset is a moment, in RFC 3339."""
    moment = datetime.now(UTC) + timedelta(seconds=math.ceil(standing.reset))
    reset = moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    headers = []
    for name, limit, left in (
        (b"requests", standing.requests_limit, standing.requests_left),
        (b"tokens", standing.tokens_limit, standing.tokens_left),
    ):
        if limit:
            begin = b"anthropic-ratelimit-" + name
            headers += [
                (begin + b"-limit", b"%d" % limit),
                (begin + b"-remaining", b"%d" % max(0, left)),
                (begin + b"-reset", reset),
            ]
    return headers


def ticket_headers(ticket: Ticket, dialect: str = "") -> Headers:
    """What a request took of its limits, and soft budgets that it passes."""
    headers = standing_headers(ticket.standing, dialect) if ticket.standing is not None else []
    if ticket.over:
        told = "; ".join(f"{usd(one.allowed):f} USD {one.period} for {one.subject}" for one in ticket.over)
        headers.append((b"x-headgate-over-budget", told.encode("ascii", "replace")))
    return headers
