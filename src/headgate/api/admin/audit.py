"""`/admin/audit`: what operators did, to be read and checked. No route changes it."""

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.usage import asked_span
from headgate.api.answers import json_answer
from headgate.api.fields import who_asks, whole_number
from headgate.api.gate import Gate
from headgate.audit.log import AuditLog
from headgate.audit.types import AuditQuery, Row
from headgate.core.errors import DatabaseUnavailable, InvalidField
from headgate.identity.scopes import ANY, require, tenants_with

SCOPE = "audit:read"
_MOST_LISTED = 1000
_MOST_ROWS = 2**62
_ORDERS = ("desc", "asc")


async def list_all(request: Request, gate: Gate) -> Response:
    """Acts, the newest first unless `order=asc`; `after` is the `last_id` of the page before."""
    asked, who = request.query_params, who_asks(request)
    order = asked.get("order", "desc")
    if order not in _ORDERS:
        raise InvalidField("The parameter 'order' must be desc or asc.", param="order")
    tenant = asked.get("tenant", "")
    require(who, SCOPE, tenant or None)
    tenants = tenants_with(who, SCOPE)
    span = asked_span(request, "since", "until")
    query = AuditQuery(
        action=asked.get("action", ""),
        key=asked.get("key", ""),
        object=asked.get("object", ""),
        tenant=tenant,
        outcome=asked.get("outcome", ""),
        tenants=None if tenants is None else tuple(sorted(tenants)),
        since=span.since,
        until=span.until,
        after=whole_number(request, "after", 1, _MOST_ROWS) if asked.get("after") else 0,
        oldest_first=order == "asc",
    )
    limit = whole_number(request, "limit", 100, _MOST_LISTED)
    found = await _log(gate).read(query, limit)
    rows = found[:limit]
    return json_answer(
        {
            "object": "list",
            "data": [_shape(row) for row in rows],
            "has_more": len(found) > limit,
            "last_id": str(rows[-1].seq) if rows else None,
        }
    )


async def verify(request: Request, gate: Gate) -> Response:
    """Check the whole chain, and that nothing was cut off its end; needs the scope for all tenants."""
    require(who_asks(request), SCOPE, ANY)
    verdict = await _log(gate).verify()
    return json_answer(
        {
            "object": "audit.verdict",
            "ok": verdict.is_whole,
            "rows": verdict.rows,
            "head": verdict.head or None,
            "fault": verdict.fault or None,
            "seq": verdict.seq,
            "message": verdict.message or f"All {verdict.rows} rows are as they were written.",
        }
    )


def _log(gate: Gate) -> AuditLog:
    if gate.audit is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.audit


def _shape(row: Row) -> dict[str, Any]:
    moment = datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": row.seq,
        "object": "audit.act",
        "at": moment,
        "by": {"key": row.key, "tenant": row.key_tenant, "user": row.key_user, "address": row.address},
        "request_id": row.request,
        "action": row.action,
        "target": {"kind": row.kind, "id": row.object, "tenant": row.tenant},
        "before": orjson.loads(row.before) if row.before else None,
        "after": orjson.loads(row.after) if row.after else None,
        "outcome": row.outcome,
        "error": row.error or None,
        "previous": row.previous or None,
        "hash": row.hash,
    }
