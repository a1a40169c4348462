"""Why a run went where it went, as JSON that is kept with it: only names, numbers and codes, never what was said.

`models`: each model that was turned to, with its rule, its candidates in their order and, for every choice among
ready targets, the scores that decided. `passed_over`, `wishes`, `applied`: as in the run. `changed`: by attempt, what
was done to the request's fields. `outcome`: how the run ended, where that was not well.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson

from headgate.core.run import Run
from headgate.core.wishes import NOTHING, Wishes
from headgate.routing.plan import Choice
from headgate.routing.types import Target

_MOST_NAMED = 20
_MOST_CHOICES = 20
_LONGEST = 256
"""Characters of a name: where patterns of models match any text, callers invent it."""


def has_decided(run: Run) -> bool:
    """Whether there is more to say than that the only target was tried once, for a caller without wishes."""
    return bool(run.choices or run.passed_over or run.wishes is not NOTHING or run.outcome != "ok" or _is_changed(run))


def _is_changed(run: Run) -> bool:
    for one in run.attempts:  # noqa: SIM110 - on the way of every request, and a third of what `any` costs
        if one.dropped or one.applied:
            return True
    return False


def decision_of(run: Run) -> str:
    """The JSON text; long lists are cut, with `more` for what was left out."""
    told: dict[str, Any] = {"models": _models(run.choices)} if run.choices else {}
    if run.passed_over:
        first = islice(run.passed_over.items(), _MOST_NAMED)
        told["passed_over"] = {name[:_LONGEST]: why for name, why in first}
        if len(run.passed_over) > _MOST_NAMED:
            told["more"] = len(run.passed_over) - _MOST_NAMED
    if run.wishes is not NOTHING:
        told["wishes"] = _wishes(run.wishes)
    if run.applied:
        told["applied"] = run.applied
    if _is_changed(run):
        told["changed"] = {
            str(number): {"dropped": one.dropped, "applied": one.applied}
            for number, one in enumerate(run.attempts[:_MOST_CHOICES], 1)
            if one.dropped or one.applied
        }
    if run.outcome != "ok":
        told["outcome"] = run.outcome
    return orjson.dumps(told).decode()


def _models(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = []
    for choice in islice(choices, _MOST_CHOICES):
        model, hop, rule, targets, scores, candidates = choice
        listed = candidates if scores else targets
        if listed is not None:
            one: dict[str, Any] = {"model": model, "hop": hop, "rule": rule, "candidates": _names(tuple(listed))}
            if len(listed) > _MOST_NAMED:
                one["more"] = len(listed) - _MOST_NAMED
            models.append(one)
        if scores:
            names = _names(tuple(targets))
            rated = {"rule": rule, "scores": dict(zip(names, scores, strict=False))}  # infinite ones become null
            _of_model(model, models).setdefault("choices", []).append(rated)
    return models


@lru_cache(1024)
def _names(targets: tuple[Target, ...]) -> tuple[str, ...]:
    """The same few targets are named with every request."""
    return tuple(target.name[:_LONGEST] for target in targets[:_MOST_NAMED])


def _of_model(name: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    """The model that a choice belongs to: the one that was turned to last."""
    if models[-1]["model"] == name:
        return models[-1]
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
