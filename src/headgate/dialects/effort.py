"""How much a model shall think, in words and in tokens: some APIs take the one, some the other."""

from typing import cast, get_args

from headgate.core.chat_request import Effort

EFFORTS: frozenset[str] = frozenset(get_args(Effort))
_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 60000,
}


def known_effort(value: object) -> Effort | None:
    """The value if it is an effort, None for anything else."""
    return cast("Effort", value) if isinstance(value, str) and value in EFFORTS else None


def budget_of(effort: Effort, most: int | None = None) -> int:
    """Tokens of thinking that an effort stands for; less than `most`, which the answer as a whole may have."""
    budget = _BUDGETS[effort]
    return budget if most is None else max(0, min(budget, most - 1))


def effort_of(budget: int) -> Effort:
    """The smallest effort that stands for as many tokens; `max` for more than any does."""
    return next((effort for effort, tokens in _BUDGETS.items() if budget <= tokens), "max")
