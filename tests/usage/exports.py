"""Providers' exports, written from entries of the ledger as the providers would write them."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from headgate.usage.types import Entry

DAY = 86_400_000
Groups = dict[tuple[int, str], list[Entry]]


def by_day_and_model(entries: Iterable[Entry]) -> Groups:
    """Those that the provider counts, by the day's beginning and its name of the model."""
    groups: Groups = defaultdict(list)
    for one in entries:
        if one.prompt or one.completion or one.cost:
            groups[one.started_at // DAY * DAY, one.provider_model].append(one)
    return dict(sorted(groups.items()))


def total(entries: Sequence[Entry], name: str) -> int:
    return sum(getattr(one, name) or 0 for one in entries)


def usd(entries: Sequence[Entry]) -> str:
    return f"{total(entries, 'cost') / 10**9:.9f}"


def _buckets(groups: Groups, made: Callable[[str, list[Entry]], dict[str, Any]], **spelled: Any) -> bytes:
    buckets = [
        {
            spelled["start"]: spelled["as_"](day),
            spelled["end"]: spelled["as_"](day + DAY),
            "results": [made(model, held)],
        }
        for (day, model), held in groups.items()
    ]
    return json.dumps({"object": "page", "data": buckets, "has_more": False}).encode()


def _seconds(moment: int) -> int:
    return moment // 1000


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat().replace("+00:00", "Z")


def openai_usage(groups: Groups) -> bytes:
    def made(model: str, held: list[Entry]) -> dict[str, Any]:
        return {
            "object": "organization.usage.completions.result",
            "input_tokens": total(held, "prompt"),
            "output_tokens": total(held, "completion"),
            "input_cached_tokens": total(held, "cached"),
            "num_model_requests": len(held),
            "model": f"{model}-2024-08-06",
            "project_id": None,
        }

    return _buckets(groups, made, start="start_time", end="end_time", as_=_seconds)


def openai_costs(groups: Groups) -> bytes:
    def made(model: str, held: list[Entry]) -> dict[str, Any]:
        amount = {"value": float(usd(held)), "currency": "usd"}
        return {"object": "organization.costs.result", "amount": amount, "line_item": f"{model}-2024-08-06, input"}

    return _buckets(groups, made, start="start_time", end="end_time", as_=_seconds)


def anthropic_usage(groups: Groups) -> bytes:
    def made(model: str, held: list[Entry]) -> dict[str, Any]:
        written = total(held, "cache_write")
        return {
            "uncached_input_tokens": total(held, "prompt") - total(held, "cached") - written,
            "cache_read_input_tokens": total(held, "cached"),
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": total(held, "completion"),
            "model": f"{model}-20250929",
        }

    return _buckets(groups, made, start="starting_at", end="ending_at", as_=_iso)


def anthropic_costs(groups: Groups) -> bytes:
    def made(model: str, held: list[Entry]) -> dict[str, Any]:
        cents = f"{total(held, 'cost') / 10**7:.7f}"
        return {"currency": "USD", "amount": cents, "model": f"{model}-20250929", "token_type": "output_tokens"}

    return _buckets(groups, made, start="starting_at", end="ending_at", as_=_iso)


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["date", "prompt"])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def openai_csv(groups: Groups) -> bytes:
    return _csv(
        [
            {
                "start_time": day // 1000,
                "end_time": (day + DAY) // 1000,
                "start_time_iso": _iso(day),
                "num_model_requests": len(held),
                "input_tokens": total(held, "prompt"),
                "output_tokens": total(held, "completion"),
                "input_cached_tokens": total(held, "cached"),
                "model": f"{model}-2024-08-06",
                "project_id": "",
            }
            for (day, model), held in groups.items()
        ]
    )


def anthropic_csv(groups: Groups) -> bytes:
    return _csv(
        [
            {
                "usage_date_utc": _iso(day)[:10],
                "model_version": f"{model}-20250929",
                "api_key": "main",
                "usage_input_tokens_no_cache": total(held, "prompt")
                - total(held, "cached")
                - total(held, "cache_write"),
                "usage_input_tokens_cache_write_5m": total(held, "cache_write"),
                "usage_input_tokens_cache_write_1h": 0,
                "usage_input_tokens_cache_read": total(held, "cached"),
                "usage_output_tokens": total(held, "completion"),
            }
            for (day, model), held in groups.items()
        ]
    )


def general_rows(groups: Groups) -> list[dict[str, Any]]:
    return [
        {
            "date": _iso(day)[:10],
            "model": model,
            "requests": len(held),
            "prompt": total(held, "prompt"),
            "completion": total(held, "completion"),
            "cached": total(held, "cached"),
            "cache_write": total(held, "cache_write"),
            "cost_usd": usd(held),
        }
        for (day, model), held in groups.items()
    ]


def general_csv(groups: Groups) -> bytes:
    return _csv(general_rows(groups))


def csv_of(rows: Sequence[dict[str, Any]]) -> bytes:
    return _csv(rows)


def runs_csv(entries: Iterable[Entry]) -> bytes:
    """One line for each run."""
    runs: dict[str, list[Entry]] = defaultdict(list)
    for one in entries:
        if one.prompt or one.completion or one.cost:
            runs[one.run].append(one)
    return _csv(
        [
            {"run": run, "model": "any", "prompt": total(held, "prompt"), "completion": total(held, "completion")}
            for run, held in runs.items()
        ]
    )


EVERY = (
    openai_usage,
    openai_costs,
    openai_csv,
    anthropic_usage,
    anthropic_costs,
    anthropic_csv,
    general_csv,
)
