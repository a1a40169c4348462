"""Runs as JSON: what they were asked, where they went and why, what they used and how they ended."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from headgate.core.catalogue import catalogue
from headgate.core.money import usd
from headgate.pipeline.decision import readable
from headgate.pipeline.running import Running, Tried
from headgate.usage.runs import Past
from headgate.usage.types import Entry

_REASONS = {
    "only target": "the only target of the model",
    "ordered": "the first in order that was ready",
    "weighted": "drawn by weight among those that were ready",
    "least_busy": "the fewest calls in flight",
    "latency": "the quickest of late",
    "cost": "the cheapest that was ready",
    "usage": "the one with most room in its limits",
    "affinity": "where requests of this conversation go, unless it is too busy",
}
_TITLES = {kind.code: kind.title for kind in catalogue()}
_RESULTS = {"ok": "answered", "error": "failed"}
Trace = tuple[str, str, str, str]
"""An attempt as the decision tells of it: model, target, outcome, code of its error."""


def past_line(past: Past) -> dict[str, Any]:
    """A run that has ended, as a line of a list."""
    final = past.final
    tokens = [one.tokens for one in past.entries]
    return {
        "id": final.run,
        "object": "run",
        "status": past.status,
        "model": final.model,
        "answered_by": final.target if past.status == "completed" else None,
        "key": final.key,
        "tenant": final.tenant,
        "user": final.user,
        "route": final.route,
        "component": final.component,
        "tags": orjson.loads(final.tags),
        "parent": final.parent or None,
        "started_at": _moment(past.started_at),
        "duration_ms": past.duration,
        "first_token_ms": None if final.first_token is None else final.queued + final.first_token,
        "tries": len(past.entries),
        "error": final.error or None,
        "prompt_tokens": sum(one.prompt for one in tokens),
        "completion_tokens": sum(one.completion for one in tokens),
        "cost_usd": _money(past.cost),
        "measure": _measure(past.entries),
    }


def running_line(running: Running) -> dict[str, Any]:
    """A run in flight, with the same fields; what it costs is not known yet."""
    last = running.attempts[-1] if running.attempts else None
    first_token = last.queued + last.first_token if last is not None and last.first_token is not None else None
    return {
        "id": running.id,
        "object": "run",
        "status": "running",
        "model": running.model,
        "answered_by": None,
        "key": running.key,
        "tenant": running.tenant,
        "user": running.user,
        "route": running.route,
        "component": running.component,
        "tags": [],
        "parent": running.parent or None,
        "started_at": _moment(running.started_at),
        "duration_ms": running.duration,
        "first_token_ms": first_token,
        "tries": len(running.attempts),
        "error": None,
        "prompt_tokens": None,
        "completion_tokens": None,
        "cost_usd": None,
        "measure": None,
    }


def past_whole(past: Past, children: list[dict[str, Any]]) -> dict[str, Any]:
    """All that is known of a run that has ended."""
    traces = [(one.answered, one.target, one.outcome, one.error) for one in past.entries]
    kept = readable(orjson.loads(past.final.decision)) if past.final.decision else {}
    return {
        **past_line(past),
        "attempts": [_attempt(one) for one in past.entries],
        "decision": _decision(kept, traces),
        "children": children,
    }


def running_whole(running: Running, children: list[dict[str, Any]]) -> dict[str, Any]:
    """All that is known of a run in flight. What there was to choose from is told once it has ended."""
    traces = [(one.model, one.target, "error" if one.error else "running", one.error) for one in running.attempts]
    return {
        **running_line(running),
        "attempts": [_tried(number, one, running.started_at) for number, one in enumerate(running.attempts, 1)],
        "decision": _decision({"passed_over": running.passed_over} if running.passed_over else {}, traces),
        "children": children,
    }


def _attempt(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.attempt,
        "model": entry.answered,
        "target": entry.target,
        "upstream": entry.upstream,
        "provider_model": entry.provider_model,
        "outcome": entry.outcome,
        "error": entry.error or None,
        "started_at": _moment(entry.started_at),
        "queued_ms": entry.queued,
        "first_byte_ms": entry.first_byte,
        "first_token_ms": entry.first_token,
        "duration_ms": entry.total,
        "tokens": entry.tokens._asdict(),
        "cost_usd": _money(entry.cost),
        "measure": entry.measure,
        "bound": entry.bound,
    }


def _tried(number: int, tried: Tried, begun: int) -> dict[str, Any]:
    return {
        "number": number,
        "model": tried.model,
        "target": tried.target,
        "upstream": tried.upstream,
        "provider_model": tried.provider_model,
        "outcome": "error" if tried.error else "running",
        "error": tried.error or None,
        "started_at": _moment(begun + tried.queued),
        "queued_ms": tried.queued,
        "first_byte_ms": None,
        "first_token_ms": tried.first_token,
        "duration_ms": tried.total,
        "chunks": tried.chunks,
    }


def _decision(kept: dict[str, Any], traces: Sequence[Trace]) -> dict[str, Any]:
    """What was kept, with each candidate's fate; of a model with one target that was the whole choice."""
    models: list[dict[str, Any]] = list(kept.get("models", ()))
    known = {one["model"] for one in models}
    alone: dict[str, str] = {model: target for model, target, *_ in traces if model not in known}
    models = [
        *({"model": model, "hop": 0, "rule": "only target", "candidates": [one]} for model, one in alone.items()),
        *models,
    ]
    passed_over = kept.get("passed_over", {})
    return {
        "models": [_model(one, traces, passed_over) for one in models],
        "passed_over": passed_over,
        **{name: kept[name] for name in ("more", "strategy", "stopped", "passages") if name in kept},
        "wishes": kept.get("wishes", {}),
        "applied": kept.get("applied", []),
        "changed": kept.get("changed", {}),
    }


def _model(kept: dict[str, Any], traces: Sequence[Trace], passed_over: dict[str, str]) -> dict[str, Any]:
    made = kept.get("choices", [])
    rule = made[0]["rule"] if made else kept["rule"]
    candidates = [
        _candidate(place, name, rule, [one for one in traces if one[:2] == (kept["model"], name)], passed_over)
        for place, name in enumerate(kept["candidates"], 1)
    ]
    more = {"more": kept["more"]} if "more" in kept else {}
    return {"model": kept["model"], "hop": kept["hop"], "rule": rule, "candidates": candidates, "choices": made, **more}


def _candidate(place: int, name: str, rule: str, tries: Sequence[Trace], passed_over: dict[str, str]) -> dict[str, Any]:
    """One target and what became of it."""
    if tries:
        *_, outcome, code = tries[-1]
        result = _RESULTS.get(outcome, outcome)
        chosen = _REASONS.get(rule, rule)
        reason = f"{chosen}; {code}: {_TITLES.get(code, 'failed')}" if code else chosen
    elif name in passed_over:
        result, reason = "passed_over", passed_over[name]
    else:
        result, reason = "not_tried", "others came first"
    return {"place": place, "target": name, "result": result, "reason": reason, "tries": len(tries)}


def _measure(entries: Sequence[Entry]) -> str:
    """The least certain of all."""
    measures = {one.measure for one in entries}
    return next(one for one in ("estimated", "counted", "reported") if one in measures)


def _money(amount: int | None) -> str | None:
    return None if amount is None else f"{usd(amount):.9f}"


def _moment(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
