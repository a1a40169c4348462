"""The price of a call: the target's own as configured, else the list's for a prompt of that length at that hour."""

from collections.abc import Callable

from headgate.core.money import Price
from headgate.core.run import Attempt
from headgate.core.tokens import Tokens
from headgate.usage.cost import cost_of
from headgate.usage.pricing import Listed

ListedNow = Callable[[str, str], tuple[Listed | None, bool]]
"""By (upstream's name, model id): the list's entry now, and whether it holds at every hour."""
_MOST = 1000


class Prices:
    """Remembers what the list says; callers may invent models where all are offered, so not without end."""

    def __init__(self, listed_now: ListedNow) -> None:
        self._listed_now = listed_now
        self._known: dict[tuple[str, str], Listed | None] = {}

    def renew(self, listed_now: ListedNow) -> None:
        """Ask another list from now on."""
        self._listed_now = listed_now
        self._known.clear()

    def __call__(self, attempt: Attempt, tokens: Tokens) -> Price | None:
        """None where nobody knows it."""
        return attempt.price or self.of(attempt.upstream, attempt.model, tokens.prompt)

    def cost_of(self, attempt: Attempt, tokens: Tokens) -> int | None:
        """Nano-USD of an attempt with so many tokens; None where nobody knows."""
        price = self(attempt, tokens)
        return None if price is None else cost_of(tokens, price)

    def of(self, upstream: str, model: str, prompt: int) -> Price | None:
        """The list price of a prompt of so many tokens."""
        key = upstream, model
        if key in self._known:
            found = self._known[key]
        else:
            found, holds = self._listed_now(upstream, model)
            if holds:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[key] = found
        return None if found is None else found.price_for(prompt)
