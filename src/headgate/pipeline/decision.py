"""Why a run went where it went, as JSON that is kept with it: only names, numbers and codes, never what was said.

It is written with every request that had a choice, so it is kept short; `readable` spells it out: `models` are those
that were turned to, each with its rule, its candidates in their order and, for every choice among ready targets, the
scores that decided. `strategy`: how it was answered, and who chose it. `stopped`: the bound that ended it. `passages`:
what of its documents an agent's model was told, unasked.
`passed_over`, `wishes`, `applied`: as in the run. `changed`: by attempt, what was done to the request's fields.
`outcome`: how the run ended, where that was not well.
"""

from collections.abc import Mapping
from dataclasses import asdict
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
    return bool(
        run.choices
        or run.strategy
        or run.stop
        or run.passages
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
    told: dict[str, Any] = {"choices": [_kept(one) for one in run.choices[:_MOST_CHOICES]]} if run.choices else {}
    if run.strategy is not None:
        name, source, reason, _ = run.strategy
        told["strategy"] = {"name": name, "source": source, "reason": reason[:_LONGEST]}
    if run.stop:
        told["stopped"] = run.stop
    if run.passages:
        told["passages"] = [asdict(one) for one in run.passages]
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


def _kept(choice: Choice) -> tuple[Any, ...]:
    """(model, hop, rule, names, scores, names of all candidates: true for the same ones, null if told before, more)"""
    model, hop, rule, targets, scores, candidates = choice
    names = _names(tuple(targets))
    if candidates is targets:
        return model, hop, rule, names, scores, True, len(targets) - len(names)
    if not scores:
        return model, hop, rule, names, (), True, len(targets) - len(names)
    if candidates is None:
        return model, hop, rule, names, scores, None, 0
    count = len(candidates)
    listed = True if count == len(targets) else _names(tuple(candidates))
    return model, hop, rule, names, scores, listed, count - _MOST_NAMED if count > _MOST_NAMED else 0


def readable(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What `decision_of` wrote, for people: each model that was turned to, and below it what was chosen and why."""
    told = dict(kept)
    models: list[dict[str, Any]] = []
    for model, hop, rule, names, scores, listed, more in told.pop("choices", ()):
        if listed is not None:
            one = {"model": model, "hop": hop, "rule": rule, "candidates": names if listed is True else listed}
            models.append({**one, **({"more": more} if more else {})})
        if scores:
            rated = {"rule": rule, "scores": dict(zip(names, scores, strict=False))}
            _of_model(model, models).setdefault("choices", []).append(rated)
    return {**({"models": models} if models else {}), **told}


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
