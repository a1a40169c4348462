"""LiteLLM's `/global/…` and `/…/daily/activity`: the ledger in the shapes that its dashboards draw.

A key without the scope `usage:read` sees what was spent with itself. Requests are counted by attempts, as in
/spend/logs.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.usage import SCOPE, asked_span, known
from headgate.api.answers import json_answer
from headgate.api.fields import read_fields, who_asks, whole_number
from headgate.api.gate import Gate
from headgate.api.litellm_fields import refuse_unknown, tell_ignored, text
from headgate.core.errors import InvalidField, MissingField
from headgate.core.money import usd
from headgate.identity.scopes import tenants_with
from headgate.usage.reports import Reports, span_of
from headgate.usage.types import Dimension, Filter, Span, Totals

_DAYS = 30
_MOST = 10_000
Names = tuple[str, ...]
Crossed = list[tuple[Names, Totals]]
_GROUPS: dict[str, tuple[Dimension, str, str]] = {
    "team": ("tenant", "teams", "team_name"),
    "customer": ("user", "customers", "customer"),
    "api_key": ("key", "api_keys", "api_key"),
}


class LitellmReports:
    """The routes, around the reports."""

    def __init__(self, reports: Reports | None) -> None:
        self._given = reports

    @property
    def _reports(self) -> Reports:
        return known(self._given)

    async def spend(self, request: Request, gate: Gate) -> Response:
        """What was spent in thirty days, and the budget for all keys together."""
        total = (await self._reports.report("key", _lately(), _visible(request))).total
        budget = next((one for bound in gate.keys.everyone for one in bound.budgets if one.hard), None)
        most = None if budget is None else float(usd(budget.nano_usd))
        return tell_ignored(request, (), json_answer({"spend": _spend(total), "max_budget": most}))

    async def by_day(self, request: Request, gate: Gate) -> Response:
        rows = await self._reports.crossed(("day",), _lately(), _visible(request))
        answer = json_answer([{"date": day, "spend": _spend(row)} for (day,), row in rows])
        return tell_ignored(request, ("api_key",), answer)

    async def keys(self, request: Request, gate: Gate) -> Response:
        rows = await self._largest("key", request)
        told = [
            {"api_key": row.name, "key_name": row.name, "key_alias": None, "total_spend": _spend(row)} for row in rows
        ]
        return tell_ignored(request, ("limit", "api_key"), json_answer(told))

    async def models(self, request: Request, gate: Gate) -> Response:
        rows = await self._largest("model", request, 10)
        told = [
            {"model": row.name, "total_spend": _spend(row), "total_tokens": row.prompt + row.completion} for row in rows
        ]
        return tell_ignored(request, ("limit", "api_key"), json_answer(told))

    async def tags(self, request: Request, gate: Gate) -> Response:
        span = asked_span(request, "start_date", "end_date")
        rows = (await self._reports.report("tag", span, _visible(request))).rows
        wanted = set(_listed(request, "tags"))
        told = [
            {"name": row.name, "spend": _spend(row), "log_count": row.attempts}
            for row in sorted(rows, key=lambda row: -row.chargeable)
            if not wanted or row.name in wanted
        ]
        return tell_ignored(request, ("start_date", "end_date", "tags"), json_answer({"spend_per_tag": told}))

    async def teams(self, request: Request, gate: Gate) -> Response:
        """By team and day, for thirty days."""
        rows = await self._reports.crossed(("day", "tenant"), _lately(), _visible(request))
        days: dict[str, dict[str, Any]] = {}
        totals: dict[str, int] = defaultdict(int)
        for (day, tenant), row in rows:
            days.setdefault(day, {"date": day})[tenant] = _spend(row)
            totals[tenant] += row.chargeable
        largest = sorted(totals, key=lambda name: -totals[name])
        return json_answer(
            {
                "daily_spend": list(days.values()),
                "teams": sorted(totals),
                "total_spend_per_team": [
                    {"team_id": name, "total_spend": float(usd(totals[name]))} for name in largest[:10]
                ],
            }
        )

    async def end_users(self, request: Request, gate: Gate) -> Response:
        """The hundred end users who spent most, between two moments."""
        fields = await read_fields(request, empty=True)
        refuse_unknown(fields, ("api_key", "startTime", "endTime"))
        span = _between(text(fields, "startTime"), text(fields, "endTime"))
        where = _visible(request, key=text(fields, "api_key") or "")
        rows = (await self._reports.report("user", span, where)).rows
        told = [
            {"end_user": name, "total_count": row.attempts, "total_spend": _spend(row)}
            for row in sorted(rows, key=lambda row: -row.chargeable)
            if (name := row.name.partition("/")[2])
        ]
        return json_answer(told[:100])

    async def names_of_users(self, request: Request, gate: Gate) -> Response:
        rows = (await self._reports.report("user", where=_visible(request))).rows
        return json_answer({"end_users": sorted({name for row in rows if (name := row.name.partition("/")[2])})})

    async def report(self, request: Request, gate: Gate) -> Response:
        """By day, and on each by team, end user or key, with what it spent on each model."""
        group = request.query_params.get("group_by", "team")
        if group not in _GROUPS:
            raise InvalidField(f"'group_by' must be one of {', '.join(_GROUPS)}.", param="group_by")
        by, plural, called = _GROUPS[group]
        dimensions: tuple[Dimension, ...] = ("day", by, "model", "key")
        rows = await self._reports.crossed(dimensions, _dates(request), _visible(request))
        days: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for (day, name, model, key), row in rows:
            spent = {"model": model, "api_key": key, "spend": _spend(row), "total_tokens": row.prompt + row.completion}
            days.setdefault(day, {}).setdefault(name, []).append(spent)
        told = [
            {
                "group_by_day": day,
                plural: [
                    {
                        called: name.partition("/")[2] if by == "user" else name,
                        "total_spend": sum(one["spend"] for one in models),
                        "metadata": models,
                    }
                    for name, models in named.items()
                ],
            }
            for day, named in days.items()
        ]
        known_ = ("start_date", "end_date", "group_by", "api_key", "internal_user_id", "team_id", "customer_id")
        return tell_ignored(request, known_, json_answer(told))

    async def activity(self, request: Request, gate: Gate) -> Response:
        """Requests and tokens by day."""
        rows = await self._reports.crossed(("day",), _dates(request), _visible(request))
        return tell_ignored(
            request, ("start_date", "end_date"), json_answer(_active([(day, row) for (day,), row in rows]))
        )

    async def activity_by_model(self, request: Request, gate: Gate) -> Response:
        rows = await self._reports.crossed(("model", "day"), _dates(request), _visible(request))
        models: dict[str, list[tuple[str, Totals]]] = defaultdict(list)
        for (model, day), row in rows:
            models[model].append((day, row))
        told = [{"model": model, **_active(days)} for model, days in models.items()]
        return tell_ignored(request, ("start_date", "end_date"), json_answer(told))

    async def daily_of_users(self, request: Request, gate: Gate) -> Response:
        return await self._daily(request, "user", "user_id", lambda name: name.partition("/")[2])

    async def daily_of_teams(self, request: Request, gate: Gate) -> Response:
        return await self._daily(request, "tenant", "team_ids")

    async def daily_of_tags(self, request: Request, gate: Gate) -> Response:
        return await self._daily(request, "tag", "tags")

    async def _daily(self, request: Request, by: Dimension, param: str, called: Callable[[str], str] = str) -> Response:
        """Days, the newest first, each with its sums by model, key and entity."""
        span, where = _dates(request), _visible(request)
        wanted = set(_listed(request, param))
        rows = [
            ((day, called(entity), model, key), row)
            for (day, entity, model, key), row in await self._reports.crossed(("day", by, "model", "key"), span, where)
            if not wanted or called(entity) in wanted
        ]
        days: dict[str, Crossed] = defaultdict(list)
        for names, row in rows:
            days[names[0]].append((names[1:], row))
        results = [
            {"date": day, "metrics": _metrics(row for _, row in held), "breakdown": _breakdown(held)}
            for day, held in sorted(days.items(), reverse=True)
        ]
        whole = _metrics(row for _, row in rows)
        answer = json_answer(
            {
                "results": results,
                "metadata": {
                    "total_spend": whole["spend"],
                    "total_prompt_tokens": whole["prompt_tokens"],
                    "total_completion_tokens": whole["completion_tokens"],
                    "total_tokens": whole["total_tokens"],
                    "total_api_requests": whole["api_requests"],
                    "total_successful_requests": whole["successful_requests"],
                    "total_failed_requests": whole["failed_requests"],
                    "total_cache_read_input_tokens": whole["cache_read_input_tokens"],
                    "total_cache_creation_input_tokens": whole["cache_creation_input_tokens"],
                    "page": 1,
                    "total_pages": 1,
                    "has_more": False,
                },
            }
        )
        return tell_ignored(request, ("start_date", "end_date", "model", "api_key", param, "page", "page_size"), answer)

    async def _largest(self, by: Dimension, request: Request, most: int = _MOST) -> list[Totals]:
        limit = whole_number(request, "limit", most, _MOST)
        report = await self._reports.report(by, _lately(), _visible(request))
        return sorted(report.rows, key=lambda row: -row.chargeable)[:limit]


def _visible(request: Request, key: str = "") -> Filter:
    """What was asked for within what the key may see."""
    who, asked = who_asks(request), request.query_params
    tenants = tenants_with(who, SCOPE)
    own = tenants is not None and not tenants
    return Filter(
        key=who.key_id if own else key or asked.get("api_key", ""),
        tenant=asked.get("team_id", ""),
        user=asked.get("customer_id", "") or asked.get("internal_user_id", ""),
        model=asked.get("model", ""),
        tenants=None if own else tenants,
    )


def _lately() -> Span:
    return Span(int((datetime.now(UTC) - timedelta(days=_DAYS)).timestamp() * 1000))


def _between(since: str | None, until: str | None) -> Span:
    try:
        span = span_of(since, until)
    except (ValueError, OverflowError):
        raise InvalidField("'startTime' and 'endTime' must be moments in ISO 8601.", param="startTime") from None
    return span if since else Span(_lately().since, span.until)


def _dates(request: Request) -> Span:
    """Both dates have to be there."""
    for name in ("start_date", "end_date"):
        if not request.query_params.get(name):
            raise MissingField(f"The parameter '{name}' is missing.", param=name)
    return asked_span(request, "start_date", "end_date")


def _listed(request: Request, name: str) -> list[str]:
    return [one.strip() for one in request.query_params.get(name, "").split(",") if one.strip()]


def _active(days: Sequence[tuple[str, Totals]]) -> dict[str, Any]:
    daily = [
        {
            "date": datetime.fromisoformat(day).strftime("%b %d"),
            "api_requests": row.attempts,
            "total_tokens": row.prompt + row.completion,
        }
        for day, row in days
    ]
    return {
        "daily_data": daily,
        "sum_api_requests": sum(row.attempts for _, row in days),
        "sum_total_tokens": sum(row.prompt + row.completion for _, row in days),
    }


def _breakdown(rows: Crossed) -> dict[str, Any]:
    """Sums by entity, model and key, of rows named by these three."""
    entities, models, keys = (_grouped(rows, at) for at in range(3))
    by_model = {name: {"metrics": _metrics(held), "metadata": {}} for name, held in models.items()}
    return {
        "models": by_model,
        "model_groups": by_model,
        "providers": {},
        "mcp_servers": {},
        "endpoints": {},
        "api_keys": {name: {"metrics": _metrics(held), "metadata": {}} for name, held in keys.items()},
        "entities": {name: {"metrics": _metrics(held), "metadata": {}} for name, held in entities.items() if name},
    }


def _grouped(rows: Crossed, at: int) -> dict[str, list[Totals]]:
    found: dict[str, list[Totals]] = defaultdict(list)
    for names, row in rows:
        found[names[at]].append(row)
    return found


def _metrics(rows: Iterable[Totals]) -> dict[str, Any]:
    held = list(rows)

    def total(name: str) -> int:
        return sum(getattr(row, name) for row in held)

    attempts, failed = total("attempts"), total("failed")
    return {
        "spend": float(usd(total("chargeable"))),
        "prompt_tokens": total("prompt"),
        "completion_tokens": total("completion"),
        "cache_read_input_tokens": total("cached"),
        "cache_creation_input_tokens": total("cache_write"),
        "total_tokens": total("prompt") + total("completion"),
        "successful_requests": attempts - failed,
        "failed_requests": failed,
        "api_requests": attempts,
    }


def _spend(row: Totals) -> float:
    return float(usd(row.chargeable))
