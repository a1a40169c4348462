"""What LiteLLM's management routes have in common: its fields under our names, and what it calls `spend`.

Nothing is taken in silence: a field that is not honoured here is refused by its name, and a parameter of a query is
named in a header.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.gate import Gate
from headgate.core.bounds import Budget, Period
from headgate.core.errors import DatabaseUnavailable, InvalidField, MissingField
from headgate.core.money import usd
from headgate.identity.compose import Identity
from headgate.identity.types import Rights
from headgate.usage.reports import Reports, ends
from headgate.usage.types import Dimension

_PERIODS: dict[str | None, Period] = {
    None: "total",
    "1d": "day",
    "24h": "day",
    "7d": "week",
    "1w": "week",
    "30d": "month",
    "31d": "month",
    "1mo": "month",
}
DURATIONS: dict[Period, str | None] = {"day": "1d", "week": "7d", "month": "1mo", "total": None}
ALL_MODELS = frozenset(("all-proxy-models", "all-team-models", "*"))
NO_MODELS = "no-default-models"
RATES = {"rpm_limit": "requests_per_minute", "tpm_limit": "tokens_per_minute", "max_parallel_requests": "streams"}
MONEY = frozenset(("max_budget", "soft_budget", "budget_duration", "budget_limits"))
LIMITS = frozenset((*RATES, *MONEY, "models"))
NAMES = {ours: theirs for theirs, ours in RATES.items()} | {"usd": "max_budget"}
"""What the fields of our limits are called there."""
_REMEDIES = {
    "aliases": "Write aliases into the configuration, as `aliases`.",
    "model_aliases": "Write aliases into the configuration, as `aliases`.",
    "allowed_routes": "Calling models is what every key may; further rights are `scopes` in /admin/keys.",
    "budget_id": "Give `max_budget` and `budget_duration` themselves.",
    "model_max_budget": "Budgets of models hold for all callers: write `limits.models` in the configuration.",
    "model_rpm_limit": "Limits of models hold for all callers: write `limits.models` in the configuration.",
    "model_tpm_limit": "Limits of models hold for all callers: write `limits.models` in the configuration.",
    "organization_id": "There is no level above teams.",
    "organizations": "There is no level above teams.",
    "project_id": "There is no level below teams but users and keys.",
    "spend": "What was spent is what the ledger says; it cannot be set.",
    "guardrails": "Contents are not checked here.",
    "policies": "Contents are not checked here.",
    "password": "There are no passwords; whoever has a key is let in.",
    "send_invite_email": "No mail is sent.",
    "auto_rotate": "Rotate keys with POST /key/regenerate.",
    "rotation_interval": "Rotate keys with POST /key/regenerate.",
    "team_member_budget": "Give members `max_budget_in_team`, or write `limits.users` in the configuration.",
    "admins": "Rights over a team are `scopes` of keys, such as keys:write, in /admin/keys.",
    "tpd_limit": "Give `tpm_limit`, or a budget by the day.",
}


def refuse_unknown(fields: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise InvalidField for the first field that is set and not honoured. What says nothing is passed over."""
    held = frozenset(known)
    for name, value in fields.items():
        says_nothing = value is None or value is False or value in ("", [], {}) or (name == "spend" and value == 0)
        if name not in held and not says_nothing:
            raise InvalidField(
                f"The field '{name}' is not supported here. {_REMEDIES.get(name, 'Leave it out.')}", param=name
            )


def tell_ignored(request: Request, known: Iterable[str], answer: Response) -> Response:
    """Name the parameters of a query that made no difference."""
    ignored = sorted(set(request.query_params) - set(known))
    if ignored:
        answer.headers["x-headgate-ignored"] = ", ".join(ignored).encode("ascii", "replace").decode()
    return answer


def limits_of(fields: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Models, rates and budgets under our names: what is given, and of a whole that is changed what was there."""
    ours: dict[str, Any] = {}
    if isinstance(fields.get("models"), list):
        ours["models"] = access(fields["models"])
    elif "models" in fields and fields["models"] is not None:
        raise InvalidField("The field 'models' must be an array of strings.", param="models")
    both = {**old, **fields}
    if RATES.keys() & fields.keys():
        ours["rate"] = {our: both.get(their) for their, our in RATES.items()}
    if fields.keys() & MONEY:
        ours["budgets"] = _budgets(both)
    return ours


def access(models: list[Any]) -> dict[str, Any]:
    """Their list of models as ours."""
    if NO_MODELS in models:
        return {"allow": [], "deny": ["*"]}
    is_all = any(isinstance(name, str) and name in ALL_MODELS for name in models)
    return {"allow": [] if is_all else models, "deny": []}


def _budgets(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    period = period_of(fields.get("budget_duration"))
    limits = (("max_budget", True), ("soft_budget", False))
    found = [
        {"usd": fields[name], "period": period, "hard": hard}
        for name, hard in limits
        if fields.get(name) not in (None, "")
    ]
    windows = fields.get("budget_limits") or []
    if not isinstance(windows, list) or not all(isinstance(one, dict) for one in windows):
        raise InvalidField("The field 'budget_limits' must be an array of objects.", param="budget_limits")
    for one in windows:
        if one.get("max_budget") is None or not isinstance(one.get("budget_duration"), str):
            message = "Each of 'budget_limits' needs `max_budget` and `budget_duration`."
            raise InvalidField(message, param="budget_limits")
        period = period_of(one["budget_duration"], "budget_limits")
        found.append({"usd": one["max_budget"], "period": period, "hard": True})
    return found


def period_of(duration: object, param: str = "budget_duration") -> Period:
    """A calendar's period, as LiteLLM resets these as well; raises InvalidField for any other length."""
    if duration in ("", None):
        return "total"
    if not isinstance(duration, str) or duration not in _PERIODS:
        known = ", ".join(name for name in _PERIODS if name)
        raise InvalidField(f"The field 'budget_duration' must be one of: {known}.", param=param)
    return _PERIODS[duration]


def limits_shape(rights: Rights) -> dict[str, Any]:
    """Rights as LiteLLM's fields. A first hard budget is `max_budget`, further ones are `budget_limits`."""
    hard = [one for one in rights.budgets if one.hard]
    soft = next((one for one in rights.budgets if not one.hard), None)
    period = main_period(rights)
    return {
        "models": [NO_MODELS] if rights.deny == ("*",) else list(rights.allow),
        "max_budget": _usd(hard[0]) if hard else None,
        "soft_budget": _usd(soft) if soft else None,
        "budget_duration": DURATIONS[period],
        "budget_reset_at": ends(datetime.now(UTC), period),
        "budget_limits": [{"budget_duration": DURATIONS[one.period], "max_budget": _usd(one)} for one in hard[1:]]
        or None,
        "rpm_limit": rights.rate.requests_per_minute or None,
        "tpm_limit": rights.rate.tokens_per_minute or None,
        "max_parallel_requests": rights.rate.streams or None,
    }


def main_period(rights: Rights) -> Period:
    """The period that `spend` is told for: that of the budget, or all the time."""
    first = next((one for one in rights.budgets if one.hard), None) or next(iter(rights.budgets), None)
    return first.period if first else "total"


def _usd(budget: Budget) -> float:
    return float(usd(budget.nano_usd))


async def spent(gate: Gate, by: Dimension, subjects: Iterable[tuple[str, Rights]]) -> dict[str, float]:
    """USD by subject, each in the period of its budget. What is in a journal yet is missing; that is a second."""
    periods = {name: main_period(rights) for name, rights in subjects}
    found = await reports_of(gate).spent_of(by, periods)
    return {name: float(usd(found.get(name, 0))) for name in periods}


def reports_of(gate: Gate) -> Reports:
    if gate.reports is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.reports


def identity_of(gate: Gate) -> Identity:
    if gate.identity is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.identity


def text(fields: Mapping[str, Any], name: str) -> str | None:
    """A field that is a text, None if it is not there; raises InvalidField."""
    value = fields.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidField(f"The field '{name}' must be a string.", param=name)
    return value


def needed(fields: Mapping[str, Any], name: str) -> str:
    """A text that has to be there."""
    value = text(fields, name)
    if value is None:
        raise MissingField(f"The field '{name}' is missing.", param=name)
    return value


def texts(fields: Mapping[str, Any], name: str) -> list[str]:
    value = fields.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise InvalidField(f"The field '{name}' must be an array of strings.", param=name)
    return value


def flag(fields: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidField(f"The field '{name}' must be true or false.", param=name)
    return value
