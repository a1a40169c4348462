"""Budgets of targets and providers, put together from the settings."""

import re
from collections.abc import Callable

from headgate.config.tree import Settings
from headgate.core.money import nano
from headgate.routing.health import upstream_out
from headgate.routing.types import BudgetSettings
from headgate.usage.allotments import Allotment

__all__ = ["allotments_of"]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 30 * 86_400}


def allotments_of(settings: Settings, provider_of: Callable[[str], str]) -> list[Allotment]:
    """All that are set. A provider's name is that of its row, or the one it has in the LiteLLM SDK."""
    found = []
    for model in settings.models:
        for target in model.targets:
            if target.budget is not None:
                key = target.id or f"{target.upstream}/{target.model}"
                found.append(Allotment(frozenset((key,)), *_of(target.budget), target=key))
    for provider, budget in settings.routing.provider_budgets.items():
        mine = frozenset(one.name for one in settings.upstreams if provider in (provider_of(one.name), one.provider))
        if mine:
            found.append(Allotment(frozenset(map(upstream_out, mine)), *_of(budget), upstreams=mine))
    return found


def _of(budget: BudgetSettings) -> tuple[int, int]:
    length = re.fullmatch(r"(\d+)(\D+)", budget.every)
    assert length is not None
    return nano(budget.usd), int(length[1]) * _SECONDS[length[2]]
