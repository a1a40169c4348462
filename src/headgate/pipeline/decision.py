"""Why a run went where it went, as JSON that is kept with it: only names, numbers and codes, never what was said.

`strategy`: how it was answered, and who chose that. `models`: each model that was turned to, with its rule, its
candidates in their order and, for every choice among ready targets, the scores that decided. `passed_over`, `wishes`,
`applied`: as in the run. `changed`: by attempt, what was done to the request's fields. `outcome`: how the run ended,
where that was not well.
"""

from collections.abc import Iterable
from itertools import islice
from math import isfinite
from typing import Any

import orjson

from headgate.core.run import Run
from headgate.core.wishes import NOTHING, Wishes
from headgate.routing.plan import Choice

_MOST_NAMED = 20
_MOST_CHOICES = 20
_LONGEST = 256
"""Characters of a name: where patterns of models match any text, callers invent it."""


def has_decided(run: Run) -> bool:
    """Whether there is more to say than that the only target was tried once, for a caller without wishes."""
    return bool(
        run.choices
        or run.strategy
        or run.passed_over
        or run.wishes is not NOTHING
        or run.outcome != "ok"
        or _is_changed(run)
    )


def _is_changed(run: Run) -> bool:
    for one in run.attempts:  # noqa: SIM110 - on the way of every request, and a third of what `any` costs
        if one.dropped or one.applied:
            return True
    return False


def decision_of(run: Run) -> str:
    """The JSON text; long lists are cut, with `more` for what was left out."""
    told: dict[str, Any] = {}
    if run.strategy is not None:
        told["strategy"] = {**run.strategy._asdict(), "reason": run.strategy.reason[:_LONGEST]}
    if run.choices:
        told["models"] = _models(run.choices)
    if run.passed_over:
        first = islice(run.passed_over.items(), _MOST_NAMED)
        told["passed_over"] = {name[:_LONGEST]: why for name, why in first}
        if len(run.passed_over) > _MOST_NAMED:
            told["more"] = len(run.passed_over) - _MOST_NAMED
    if run.wishes is not NOTHING:
        told["wishes"] = _wishes(run.wishes)
    if run.applied:
        told["applied"] = run.applied
    changed = {
        str(number): {"dropped": one.dropped, "applied": one.applied}
        for number, one in enumerate(run.attempts[:_MOST_CHOICES], 1)
        if one.dropped or one.applied
    }
    if changed:
        told["changed"] = changed
    if run.outcome != "ok":
        told["outcome"] = run.outcome
    return orjson.dumps(told).decode()


def _models(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = []
    for choice in islice(choices, _MOST_CHOICES):
        names = [target.name[:_LONGEST] for target in choice.targets[:_MOST_NAMED]]
        if not choice.scores:
            one: dict[str, Any] = {"model": choice.model, "hop": choice.hop, "rule": choice.rule, "candidates": names}
            if len(choice.targets) > _MOST_NAMED:
                one["more"] = len(choice.targets) - _MOST_NAMED
            models.append(one)
        else:
            scores = {name: _number(score) for name, score in zip(names, choice.scores, strict=False)}
            _of_model(choice.model, models).setdefault("choices", []).append({"rule": choice.rule, "scores": scores})
    return models


def _of_model(name: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    """The model that a choice belongs to: the one that was turned to last."""
    return next((one for one in reversed(models) if one["model"] == name), models[-1])


def _wishes(wishes: Wishes) -> dict[str, Any]:
    """What the caller asked for; of a session only that there was one."""
    told = {
        "timeout": wishes.timeout,
        "retries": wishes.retries,
        "tags": sorted(wishes.tags)[:_MOST_NAMED],
        "session": bool(wishes.session),
        "fallbacks": wishes.fallbacks,
    }
    return {name: value for name, value in told.items() if value not in (None, [], False)}


def _number(score: float) -> float | None:
    """None stands for what is not known, such as the price of a target that has none."""
    return round(score, 6) if isfinite(score) else None
