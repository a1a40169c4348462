"""How a tenant's own value may narrow the one above it, and never loosen it. Pure functions over JSON data."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from headgate.settings.types import Narrowing


def _least(above: Any, own: Any) -> Any:
    return own if above is None else min(above, own)


def _not_above(above: Any, own: Any) -> str:
    return "" if above is None or own <= above else f"at most {above}"


def _most(above: Any, own: Any) -> Any:
    return own if above is None else max(above, own)


def _not_below(above: Any, own: Any) -> str:
    return "" if above is None or own >= above else f"at least {above}"


def _either(above: Any, own: Any) -> Any:
    return bool(above or own)


def _still_on(above: Any, own: Any) -> str:
    return "true" if above and not own else ""


def _budgets(above: Any, own: Any) -> Any:
    """Those of above and the tenant's own; of one period and kind, the smallest."""
    found: dict[tuple[str, bool], dict[str, Any]] = {}
    for one in (*(above or ()), *own):
        name = one["period"], one["hard"]
        if name not in found or Decimal(str(one["usd"])) < Decimal(str(found[name]["usd"])):
            found[name] = one
    return list(found.values())


def _no_larger_budget(above: Any, own: Any) -> str:
    """A hard budget is as strict as a soft one of the same amount, not the other way round."""
    for one in own:
        for other in above or ():
            is_alike = one["period"] == other["period"] and one["hard"] == other["hard"]
            if is_alike and Decimal(str(one["usd"])) > Decimal(str(other["usd"])):
                return f"at most {Decimal(str(other['usd'])).normalize():f} USD per {one['period']}"
    return ""


def not_after(order: Sequence[str]) -> Narrowing:
    """Of words in an order, the one from above or one before it."""

    def meet(above: Any, own: Any) -> Any:
        return own if above is None else min(above, own, key=order.index)

    def complaint(above: Any, own: Any) -> str:
        return "" if above is None or order.index(own) <= order.index(above) else f"at most {above}"

    return Narrowing(meet, complaint)


LOWER = Narrowing(_least, _not_above)
HIGHER = Narrowing(_most, _not_below)
STRICTER = Narrowing(_either, _still_on)
BUDGETS = Narrowing(_budgets, _no_larger_budget)
