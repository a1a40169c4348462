"""`GET /admin/usage` and `GET /admin/usage/export`: what was used and what it cost."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headgate.api.answers import json_answer
from headgate.api.fields import who_asks
from headgate.api.gate import Gate
from headgate.core.audit import Act
from headgate.core.errors import DatabaseUnavailable, InvalidField
from headgate.identity.scopes import require, tenants_with
from headgate.usage.reports import Reports, span_of
from headgate.usage.types import DIMENSIONS, Filter, Span

SCOPE = "usage:read"
_FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class UsageRoutes:
    """For keys with the scope `usage:read`, each seeing the tenants it holds that scope for."""

    def __init__(self, reports: Reports | None) -> None:
        self._given = reports

    @property
    def _reports(self) -> Reports:
        return known(self._given)

    async def totals(self, request: Request, gate: Gate) -> Response:
        """Sums by one dimension, with filters."""
        where = visible(request)
        by = request.query_params.get("by", "model")
        if by not in DIMENSIONS:
            raise InvalidField(f"'by' must be one of {', '.join(DIMENSIONS)}.", param="by")
        reports = self._reports
        report = await reports.report(by, asked_span(request, "from", "to"), where)
        return json_answer(
            {
                "by": report.by,
                "from": report.span.since,
                "to": report.span.until,
                **reports.rates,
                "rows": [reports.as_object(row) for row in report.rows],
                "total": reports.as_object(report.total),
                "ledger": {"lag_seconds": round(gate.lag(), 1), "trouble": gate.trouble() or None},
            }
        )

    async def export(self, request: Request, gate: Gate) -> Response:
        """Every attempt, as CSV or JSON."""
        where = visible(request)
        kind = request.query_params.get("format", "csv")
        if kind not in _FORMATS:
            raise InvalidField("'format' must be csv or json.", param="format")
        if gate.audit is not None:
            asked = {"of_key" if name == "key" else name: value for name, value in request.query_params.items()}
            tenant = where.tenant or who_asks(request).tenant
            await gate.audit.record(Act("usage.exported", "usage", kind, tenant, after={"query": asked}))
        pages = self._reports.exported(asked_span(request, "from", "to"), where, as_csv=kind == "csv")
        first = await anext(pages, b"")  # while an error can still be told
        headers = {"content-disposition": f'attachment; filename="usage.{kind}"'}
        return StreamingResponse(_all(first, pages), media_type=_FORMATS[kind], headers=headers)


def known(reports: Reports | None) -> Reports:
    if reports is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return reports


def visible(request: Request) -> Filter:
    """What was asked for within what the key may see; raises ScopeMissing."""
    who = who_asks(request)
    asked = request.query_params
    tenant = asked.get("tenant", "")
    require(who, SCOPE, tenant or None)
    return Filter(
        key=asked.get("key", ""),
        tenant=tenant,
        user=asked.get("user", ""),
        model=asked.get("model", ""),
        run=asked.get("run", ""),
        tenants=tenants_with(who, SCOPE),
    )


def asked_span(request: Request, since: str, until: str) -> Span:
    """The span of time in two query parameters; raises InvalidField."""
    values = []
    for name in (since, until):
        value = request.query_params.get(name)
        try:
            values.append(span_of(value, value))
        except (ValueError, OverflowError):
            message = f"'{name}' must be a day as YYYY-MM-DD or a moment as YYYY-MM-DDTHH:MM:SSZ."
            raise InvalidField(message, param=name) from None
    return Span(values[0].since, values[1].until)


async def _all(first: bytes, pages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for page in pages:
        yield page
