"""What was spent, in the shapes of LiteLLM's proxy: `/spend/logs`, `/spend/keys`, `/spend/users`, `/spend/tags` and
`/spend/calculate`. A key without the scope `usage:read` sees what was spent with itself. Amounts are those billed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.usage import SCOPE, asked_span, known
from headgate.api.answers import json_answer
from headgate.api.fields import read_fields, who_asks
from headgate.api.gate import Gate
from headgate.core.errors import InvalidField, MissingField
from headgate.core.money import Price, usd
from headgate.core.tokens import Tokens, reported
from headgate.identity.scopes import tenants_with
from headgate.usage.cost import cost_of, size_of
from headgate.usage.reports import Reports
from headgate.usage.types import Dimension, Entry, Filter, Span, Totals

_MOST_ROWS = 10_000
_CALLS = {
    "chat": "acompletion",
    "completions": "atext_completion",
    "embeddings": "aembedding",
    "moderations": "amoderation",
    "rerank": "arerank",
    "speech": "aspeech",
    "transcriptions": "atranscription",
    "images": "aimage_generation",
}
ListPrice = Callable[[str, str, int], Price | None]
"""By upstream's name, model id and tokens of the prompt."""


class SpendRoutes:
    """The routes, around the reports and the list of prices."""

    def __init__(self, reports: Reports | None, list_price: ListPrice) -> None:
        self._given = reports
        self._list_price = list_price

    @property
    def _reports(self) -> Reports:
        return known(self._given)

    async def logs(self, request: Request, gate: Gate) -> Response:
        """Attempts, the newest first; sums by day when both dates are given and `summarize` is not false."""
        asked = request.query_params
        span, where = asked_span(request, "start_date", "end_date"), _visible(request)
        summarized = asked.get("summarize", "true").lower() not in ("false", "0")
        if asked.get("start_date") and asked.get("end_date") and summarized:
            return json_answer(await self._by_day(span, where))
        entries = await self._reports.newest(span, where, _MOST_ROWS)
        answer = json_answer([_log(entry, self._reports.billed_of(entry)) for entry in entries])
        if len(entries) == _MOST_ROWS:
            answer.headers["x-litellm-spend-logs-truncated"] = "true"
        return answer

    async def keys(self, request: Request, gate: Gate) -> Response:
        rows = await self._rows("key", request)
        return json_answer(
            [{"token": row.name, "key_name": row.name, "spend": self._reports.billed_usd(row)} for row in rows]
        )

    async def users(self, request: Request, gate: Gate) -> Response:
        rows = await self._rows("user", request)
        named = [(row.name.partition("/")[2], row) for row in rows]
        return json_answer([{"user_id": name, "spend": self._reports.billed_usd(row)} for name, row in named if name])

    async def tags(self, request: Request, gate: Gate) -> Response:
        rows = await self._rows("tag", request)
        return json_answer(
            [
                {
                    "individual_request_tag": row.name,
                    "log_count": row.attempts,
                    "total_spend": self._reports.billed_usd(row),
                }
                for row in rows
            ]
        )

    async def calculate(self, request: Request, gate: Gate) -> Response:
        """What an answer cost, or a prompt would; null where no price is known."""
        model, tokens = _asked_cost(await read_fields(request))
        target = (gate.deps.catalog.configured(model) or await gate.deps.catalog.find(model)).targets[0]
        price = target.price or self._list_price(target.upstream, target.model, tokens.prompt)
        if price is None:
            return json_answer({"cost": None})
        markup = Decimal(1) if self._given is None else self._given.markup_of(who_asks(request).tenant)
        return json_answer({"cost": float(usd(cost_of(tokens, price)) * markup)})

    async def _rows(self, by: Dimension, request: Request) -> list[Totals]:
        """Sums, the largest first."""
        span = asked_span(request, "start_date", "end_date")
        report = await self._reports.report(by, span, _visible(request))
        return sorted(report.rows, key=lambda row: -self._reports.billed_usd(row))

    async def _by_day(self, span: Span, where: Filter) -> list[dict[str, Any]]:
        daily = {by: await self._reports.daily(by, span, where) for by in _BY_DAY}
        return [
            {
                **self._spends(daily["key"][day]),
                "startTime": day,
                "spend": sum(map(self._reports.billed_usd, rows)),
                "users": self._spends(daily["user"][day]),
                "models": self._spends(rows),
            }
            for day, rows in daily["model"].items()
        ]

    def _spends(self, rows: list[Totals]) -> dict[str, float]:
        return {row.name: self._reports.billed_usd(row) for row in rows}


_BY_DAY: tuple[Dimension, ...] = ("key", "user", "model")


def _visible(request: Request) -> Filter:
    """What was asked for within what the key may see."""
    who = who_asks(request)
    asked = request.query_params
    tenants = tenants_with(who, SCOPE)
    own = tenants is not None and not tenants
    key, user = asked.get("api_key", ""), asked.get("user_id", "")
    if own:
        return Filter(key=who.key_id, user=user, run=asked.get("request_id", ""))
    return Filter(key=key, user=user, run=asked.get("request_id", ""), tenants=tenants)


def _asked_cost(asked: dict[str, Any]) -> tuple[str, Tokens]:
    answer = asked.get("completion_response")
    if isinstance(answer, dict):
        tokens = reported(answer.get("usage"))
        if tokens is None:
            raise MissingField("The answer has no usage.", param="completion_response.usage")
        model = answer.get("model")
    elif asked.get("messages") is not None:
        model, tokens = asked.get("model"), Tokens(size_of(asked).guess)
    else:
        raise MissingField("Give a model and messages, or a completion_response.", param="messages")
    if not isinstance(model, str) or not model:
        raise InvalidField("The model must be a text that is not empty.", param="model")
    return model, tokens


def _log(entry: Entry, billed: int) -> dict[str, Any]:
    return {
        "request_id": entry.run,
        "litellm_call_id": entry.run,
        "call_type": _CALLS.get(entry.route, entry.route),
        "api_key": entry.key,
        "spend": _float(billed),
        "total_tokens": entry.prompt + entry.completion,
        "prompt_tokens": entry.prompt,
        "completion_tokens": entry.completion,
        "startTime": _moment(entry.started_at),
        "endTime": _moment(entry.started_at + entry.total),
        "completionStartTime": None if entry.first_token is None else _moment(entry.started_at + entry.first_token),
        "request_duration_ms": entry.total,
        "model": entry.provider_model,
        "model_id": entry.target,
        "model_group": entry.answered,
        "custom_llm_provider": entry.upstream,
        "api_base": "",
        "user": entry.user,
        "end_user": entry.user,
        "team_id": entry.tenant,
        "metadata": {"attempt": entry.attempt, "measure": entry.measure, "error_code": entry.error or None},
        "cache_hit": "False",
        "cache_key": "",
        "request_tags": orjson.loads(entry.tags),
        "status": "success" if entry.outcome == "ok" else "failure",
    }


def _float(amount: int) -> float:
    return float(usd(amount))


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
