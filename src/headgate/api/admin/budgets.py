"""`GET /admin/budgets`: what is used and left of every budget, and when its period ends."""

import math
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, NamedTuple, get_args

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import who_asks, whole_number
from headgate.api.gate import Gate
from headgate.core.bounds import Bound, Budget, Period, Used
from headgate.core.errors import InvalidField
from headgate.core.money import usd
from headgate.identity.scopes import require, tenants_with
from headgate.identity.types import iso
from headgate.usage.types import Filter

SCOPE = "budgets:read"
_KINDS = ("key", "user", "tenant", "model")
_MOST_LISTED = 1000
_PERIODS = get_args(Period)


class _Asked(NamedTuple):
    """Which budgets to list. `tenants` are those that may be seen, None for all."""

    kind: str
    subject: str
    tenant: str
    period: str
    tenants: frozenset[str] | None


async def list_all(request: Request, gate: Gate) -> Response:
    """Budgets in the order of their subjects; `after` is the last subject of the page before."""
    asked = _asked(request)
    limit, after = whole_number(request, "limit", 100, _MOST_LISTED), request.query_params.get("after", "")
    found = {bound.subject: bound async for bound in _bounds(gate, asked) if bound.subject > after}
    names = sorted(found)
    page = [found[name] for name in names[:limit]]
    used = await gate.budgets(page) if gate.budgets is not None else []
    data = [shape for one in used for shape in _shapes(one, asked.period)]
    last = page[-1].subject if page else None
    return json_answer({"object": "list", "data": data, "has_more": len(names) > limit, "last_id": last})


def _asked(request: Request) -> _Asked:
    who, given = who_asks(request), request.query_params
    for name, known in (("kind", _KINDS), ("period", _PERIODS)):
        if given.get(name) is not None and given[name] not in known:
            raise InvalidField(f"The parameter '{name}' must be one of: {', '.join(known)}.", param=name)
    tenant = given.get("tenant", "")
    require(who, SCOPE, tenant or None)
    return _Asked(
        given.get("kind", ""), given.get("subject", ""), tenant, given.get("period", ""), tenants_with(who, SCOPE)
    )


async def _bounds(gate: Gate, asked: _Asked) -> AsyncIterator[Bound]:
    """All with budgets that were asked for and may be seen. Models belong to no tenant, so they are for all of them."""
    for tenant, bound in gate.keys.bounds:
        if _is_meant(tenant, bound, asked):
            yield bound
    if asked.kind in ("", "user"):
        for tenant, bound in await _of_users(gate, asked):
            if _is_meant(tenant, bound, asked):
                yield bound
    for model in await gate.deps.catalog.all() if asked.kind in ("", "model") else ():
        for bound in model.bounds:
            if _is_meant("", bound, asked):
                yield bound


async def _of_users(gate: Gate, asked: _Asked) -> Iterable[tuple[str, Bound]]:
    """Users that a key does not name: those of the ledger."""
    if gate.reports is None or not gate.keys.user_bounds("", "anybody"):
        return ()
    users = await gate.reports.users(Filter(tenant=asked.tenant, tenants=asked.tenants))
    return [(tenant, bound) for tenant, user in users for bound in gate.keys.user_bounds(tenant, user)]


def _is_meant(tenant: str, bound: Bound, asked: _Asked) -> bool:
    kind, _, _ = bound.subject.partition(":")
    return (
        bool(bound.budgets)
        and asked.kind in ("", kind)
        and asked.subject in ("", bound.subject)
        and asked.tenant in ("", tenant)
        and (asked.tenants is None or tenant in asked.tenants)
    )


def _shapes(used: Used, period: str) -> Iterator[dict[str, Any]]:
    kind, _, name = used.bound.subject.partition(":")
    for budget in used.bound.budgets:
        if period in ("", budget.period):
            yield {"subject": used.bound.subject, "kind": kind, "name": name, **_money(used, budget)}


def _money(used: Used, budget: Budget) -> dict[str, Any]:
    spent, ends = used.spent[budget.period], used.ends[budget.period]
    return {
        "period": budget.period,
        "hard": budget.hard,
        "budget_usd": _text(budget.nano_usd),
        "spent_usd": _text(spent),
        "reserved_usd": _text(used.reserved),
        "left_usd": _text(max(0, budget.nano_usd - spent - used.reserved)),
        "resets_at": None if math.isinf(ends) else iso(ends),
    }


def _text(amount: int) -> str:
    return f"{usd(amount):.9f}"
