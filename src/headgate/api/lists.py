"""What the packaged lists know of models, as the routes that describe models ask for it."""

from collections.abc import Callable
from dataclasses import dataclass

from headgate.routing.capabilities import UNKNOWN, Facts
from headgate.usage.pricing import Listed


@dataclass(frozen=True, slots=True)
class Lists:
    """Facts and list prices by (upstream's name, model id), and the provider behind an upstream's name."""

    provider_of: Callable[[str], str]
    facts_of: Callable[[str, str], Facts]
    listed: Callable[[str, str], Listed | None]
    listed_now: Callable[[str, str], tuple[Listed | None, bool]]
    """The entry at this hour, and whether it holds at every hour."""


def _no_facts(_upstream: str, _model: str) -> Facts:
    return UNKNOWN


def _nothing_now(_upstream: str, _model: str) -> tuple[Listed | None, bool]:
    return None, True


def _no_prices(_upstream: str, _model: str) -> Listed | None:
    return None


NO_LISTS = Lists(str, _no_facts, _no_prices, _nothing_now)
