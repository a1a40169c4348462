"""Whether a request is let in under all bounds that hold for it, and what it gives back when it ends.

Knows how a refusal is worded, not how anything is counted.
"""

import math
from collections.abc import Sequence

from headgate.core.bounds import Bound, Refusal, Spent, Ticket, Used, Want
from headgate.core.errors import BudgetExceeded, LimitReached, RateLimited
from headgate.core.money import usd
from headgate.core.ports import Counters

_NAMES = {
    "requests": "requests per minute",
    "tokens": "tokens per minute",
    "streams": "streams at once",
}


class Limiter:
    """For the pipeline. Every ticket that `admit` gave has to be settled or released, once; twice does no harm."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def admit(self, bounds: tuple[Bound, ...], want: Want) -> Ticket:
        """Take what is wanted under every bound or none. Raises RateLimited, BudgetExceeded or LimitsUnavailable."""
        if not bounds:
            return Ticket(bounds, want, is_open=False)
        answer = await self._counters.take(bounds, want)
        if isinstance(answer, Refusal):
            raise _error(answer)
        return answer

    def settle(self, ticket: Ticket, tokens: int, nano_usd: int) -> None:
        """What was really used takes the place of what was reserved."""
        self._counters.settle(ticket, tokens, nano_usd)

    def release(self, ticket: Ticket) -> None:
        """Nothing was used. The request still counts as one."""
        self._counters.settle(ticket, 0, 0)

    def learn(self, spent: Spent) -> None:
        """What the ledger knows to be spent: at start, and of a subject that gets a budget while we run."""
        self._counters.learn(spent)

    async def look(self, bounds: Sequence[Bound]) -> list[Used]:
        """What the subjects of bounds with budgets used and hold; raises LimitsUnavailable."""
        return await self._counters.look(bounds)

    async def close(self) -> None:
        await self._counters.close()


def _error(refusal: Refusal) -> LimitReached:
    error: LimitReached
    wait = None if math.isinf(refusal.wait) else max(0.0, refusal.wait)
    if refusal.limit == "budget":
        error = BudgetExceeded(f"{worded(refusal)} does not cover this request.", retry_after=wait)
    else:
        error = RateLimited(f"{worded(refusal)} is reached.", retry_after=wait)
    error.standing, error.refusal = refusal.standing, refusal
    return error


def worded(refusal: Refusal) -> str:
    """The limit in words, such as `The limit of 100 requests per minute for key:ab12`."""
    if refusal.limit == "budget":
        when = "in total" if refusal.period == "total" else f"per {refusal.period}"
        return f"The budget of {usd(refusal.allowed).normalize():f} USD {when} for {refusal.subject}"
    return f"The limit of {refusal.allowed} {_NAMES[refusal.limit]} for {refusal.subject}"
