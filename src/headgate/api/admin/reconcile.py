"""`POST /admin/usage/reconcile`: a provider's export of usage or costs against the ledger, line by line."""

from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.usage import SCOPE, known
from headgate.api.answers import json_answer
from headgate.api.body import read_body
from headgate.api.fields import who_asks
from headgate.api.gate import Gate
from headgate.core.errors import InvalidField, ScopeMissing
from headgate.core.money import usd
from headgate.identity.scopes import tenants_with
from headgate.usage.exports import Claim, ExportError, claims_of
from headgate.usage.reconcile import Line, Reconciled, Used
from headgate.usage.reports import Reports

_MOST_BYTES = 32 << 20
_COUNTS = ("requests", "prompt", "completion", "cached", "cache_write")


class ReconcileRoute:
    """For keys that may see the usage of all tenants: a provider's bill is of all of them."""

    def __init__(self, reports: Reports | None) -> None:
        self._given = reports

    async def __call__(self, request: Request, gate: Gate) -> Response:
        """The body is the export, CSV or JSON. `upstream`, repeated, says which of ours it is the account of."""
        if tenants_with(who_asks(request), SCOPE) is not None:
            raise ScopeMissing(f"A provider's bill is of all tenants: this needs the scope '{SCOPE}:*'.")
        upstreams = frozenset(request.query_params.getlist("upstream"))
        for name in upstreams - gate.deps.upstreams.keys():
            raise InvalidField(f"There is no upstream '{name}'.", param="upstream")
        tolerance = _tolerance(request)
        raw = await read_body(request.receive, dict(request.scope["headers"]), _MOST_BYTES)
        try:
            claims = claims_of(raw)
        except ExportError as error:
            raise InvalidField(str(error)) from None
        found = await known(self._given).reconciled(claims, tolerance, upstreams)
        return json_answer(_told(found, tolerance))


def _tolerance(request: Request) -> Decimal:
    """Given in per cent, used as a share."""
    given = request.query_params.get("tolerance", "0")
    try:
        percent = Decimal(given)
    except DecimalException:
        percent = Decimal(-1)
    if not (percent.is_finite() and 0 <= percent <= 100):
        raise InvalidField("'tolerance' must be a number of per cent from 0 to 100.", param="tolerance")
    return percent / 100


def _told(found: Reconciled, tolerance: Decimal) -> dict[str, Any]:
    return {
        "agrees": found.is_well,
        "tolerance_percent": float(tolerance * 100),
        "matched": found.count("matched"),
        "differing": found.count("differing"),
        "missing_here": found.count("missing_here"),
        "missing_there": found.count("missing_there"),
        "sums": {
            "here": _sums([_here(line.used) for line in found.lines]),
            "there": _sums([_there(line.claim) for line in found.lines]),
        },
        "lines": [_line(one) for one in found.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    claim = line.claim
    return {
        "verdict": line.verdict,
        "lines": claim.lines,
        "from": _moment(claim.since),
        "to": _moment(claim.until),
        "run": claim.run or None,
        "model": claim.model or None,
        "here": _here(line.used),
        "there": _there(claim) if line.verdict != "missing_there" else None,
        "differences": [
            {
                "what": one.what,
                "here": f"{one.here.normalize():f}",
                "there": f"{one.there.normalize():f}",
                "difference": f"{(one.here - one.there).normalize():f}",
                "within_estimates": one.explained,
            }
            for one in line.differences
        ],
    }


def _here(used: Used) -> dict[str, Any]:
    counts = {name: getattr(used, name) for name in _COUNTS}
    return {**counts, "usd": f"{usd(used.cost):.9f}", "unpriced": used.unpriced, "estimates_off_by": used.bound}


def _there(claim: Claim) -> dict[str, Any]:
    return {
        **{name: getattr(claim, name) for name in _COUNTS},
        "usd": None if claim.usd is None else f"{claim.usd.normalize():f}",
    }


def _sums(several: list[dict[str, Any]]) -> dict[str, Any]:
    sums: dict[str, Any] = {name: sum(one[name] or 0 for one in several) for name in _COUNTS}
    total = sum((Decimal(one["usd"] or 0) for one in several), Decimal(0))
    return {**sums, "usd": f"{total.normalize():f}"}


def _moment(milliseconds: int) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
