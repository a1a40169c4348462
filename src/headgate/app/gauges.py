"""What is measured only when somebody looks at the metrics: budgets, and how far the ledger is behind."""

from collections.abc import Awaitable, Callable

from headgate.api.gate import Gate
from headgate.config.tree import Settings
from headgate.core.bounds import Bound
from headgate.core.errors import HeadgateError
from headgate.telemetry.metrics import BudgetGauge, Gauges
from headgate.usage.ledger import Ledger

__all__ = ["measuring"]


def measuring(settings: Settings, gate: Gate, ledger: Ledger) -> Callable[[], Awaitable[Gauges]]:
    """Measures, each time it is called. Budgets are those of tenants and models: keys and users would be too many."""
    rate = settings.usage.eur_per_usd
    names = [one.name for one in settings.models]

    async def measure() -> Gauges:
        models = [found for name in names if (found := gate.deps.catalog.configured(name)) is not None]
        bounds = [*gate.keys.bounds_of_tenants(), *(bound for model in models for bound in model.bounds)]
        budgets = await _standing(gate, tuple(one for one in bounds if one.budgets))
        return Gauges(budgets, ledger.lag, ledger.waiting, float(rate) if rate is not None else None)

    return measure


async def _standing(gate: Gate, bounds: tuple[Bound, ...]) -> tuple[BudgetGauge, ...]:
    """Without the counters, which may be elsewhere, nothing is said of budgets, rather than something wrong."""
    limiter = gate.deps.limiter
    if limiter is None or not bounds:
        return ()
    try:
        used = await limiter.look(bounds)
    except HeadgateError:
        return ()
    return tuple(
        BudgetGauge(one.bound.subject, budget.period, budget.hard, budget.nano_usd, one.spent[budget.period])
        for one in used
        for budget in one.bound.budgets
    )
