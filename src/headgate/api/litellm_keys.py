"""LiteLLM's `/key/…`: its names and shapes over the same keys. What it would restrict and we cannot is refused.

A key is named by its text, or by its id, which stands where LiteLLM has the hash of a key (`token`).
"""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.fields import is_true, read_fields, valid, who_asks, whole_number
from headgate.api.answers import json_answer
from headgate.api.gate import Gate
from headgate.core.bounds import Budget, Period
from headgate.core.errors import DatabaseUnavailable, InvalidField, KeyNotFound, MissingField
from headgate.core.money import usd
from headgate.core.principal import DEFAULT_TENANT, Principal
from headgate.identity.service import Issued, Keys
from headgate.identity.types import KeyChange, KeyQuery, KeyRecord, NewKey, iso, seconds_of

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
_DURATIONS: dict[Period, str | None] = {"day": "1d", "week": "7d", "month": "1mo", "total": None}
_REFUSED = (
    *("aliases", "permissions", "guardrails", "policies", "allowed_routes", "allowed_cache_controls", "config"),
    *("model_max_budget", "model_rpm_limit", "model_tpm_limit", "enforced_params", "object_permission"),
    *("budget_id", "organization_id", "project_id", "auto_rotate", "allowed_vector_store_indexes"),
)
"""Fields that restrict in LiteLLM. To take them in silence would let in what they are to keep out."""
_ALL_MODELS = {"all-proxy-models", "all-team-models", "*"}
_NO_MODELS = "no-default-models"
_OURS = {
    "key_alias": "alias",
    "team_id": "tenant",
    "user_id": "user",
    "duration": "expires_in",
    "metadata": "metadata",
    "tags": "tags",
}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()} | {
    "requests_per_minute": "rpm_limit",
    "tokens_per_minute": "tpm_limit",
    "streams": "max_parallel_requests",
    "usd": "max_budget",
}
_MOST_LISTED = 100


async def generate(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to make a key."""
    fields = await read_fields(request, empty=True)
    text = _text(fields, "key")
    wanted = valid(NewKey, {"tenant": DEFAULT_TENANT, **_ours(fields, {})}, _THEIRS)
    return _issued(await _keys(gate).create(wanted, who_asks(request), text))


async def info(request: Request, gate: Gate) -> Response:
    """LiteLLM's view of a key: the one named, or the caller's own."""
    who, named = who_asks(request), request.query_params.get("key")
    record = await (_keys(gate).own(who) if named is None else _keys(gate).find(named, who))
    return json_answer({"key": record.id, "info": _shape(record)})


async def update(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to change a key."""
    fields, who = await read_fields(request), who_asks(request)
    old = await _named(fields, who, gate)
    ours = _ours(fields, _shape(old))
    if ours.pop("tenant", old.tenant) != old.tenant:
        raise InvalidField("A key stays in its tenant; make another one there.", param="team_id")
    record = await _keys(gate).update(old.id, valid(KeyChange, ours, _THEIRS), who)
    return json_answer({"key": record.id, **_shape(record)})


async def delete(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to forget keys."""
    fields, who = await read_fields(request), who_asks(request)
    records = [await _keys(gate).find(text, who) for text in _texts(fields, "keys")]
    for alias in _texts(fields, "key_aliases"):
        found = (await _keys(gate).list(KeyQuery(alias=alias), who)).records
        if not found:
            raise KeyNotFound("There is no key of this alias.", param="key_aliases")
        records += found
    if not records:
        raise MissingField("The field 'keys' is missing.", param="keys")
    for record in records:
        await _keys(gate).delete(record.id, who)
    return json_answer({"deleted_keys": [record.id for record in records]})


async def block(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to shut a key out."""
    return await _blocked(request, gate, blocked=True)


async def unblock(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to let a key in again."""
    return await _blocked(request, gate, blocked=False)


async def regenerate(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to give a key a new text; other fields change it besides."""
    fields, who = await read_fields(request, empty=True), who_asks(request)
    fields = {**fields, **({"key": path} if (path := request.path_params.get("key")) else {})}
    old = await _named(fields, who, gate)
    text, grace = _text(fields, "new_key"), _text(fields, "grace_period")
    if grace is not None and not _is_duration(grace):
        raise InvalidField("The field 'grace_period' must be a duration such as 24h.", param="grace_period")
    change = valid(KeyChange, {**_ours(fields, _shape(old))}, _THEIRS)
    issued = await _keys(gate).rotate(old.id, who, seconds_of(grace) if grace else 0.0, text)
    if change.model_fields_set:
        issued = Issued(await _keys(gate).update(old.id, change, who), issued.text)
    return _issued(issued)


async def list_all(request: Request, gate: Gate) -> Response:
    """LiteLLM's list of keys, by pages."""
    asked = request.query_params
    size, page = whole_number(request, "size", 10, _MOST_LISTED), whole_number(request, "page", 1, 10**6)
    query = KeyQuery(
        tenant=asked.get("team_id"),
        user=asked.get("user_id"),
        alias=asked.get("key_alias"),
        skip=size * (page - 1),
        limit=size,
    )
    found = await _keys(gate).list(query, who_asks(request), count=True)
    is_full, total = is_true(request, "return_full_object"), found.total or 0
    return json_answer(
        {
            "keys": [_shape(record) if is_full else record.id for record in found.records],
            "total_count": total,
            "current_page": page,
            "total_pages": -(-total // size),
        }
    )


async def _blocked(request: Request, gate: Gate, *, blocked: bool) -> Response:
    who = who_asks(request)
    record = await _named(await read_fields(request), who, gate)
    return json_answer(_shape(await _keys(gate).block(record.id, who, blocked=blocked)))


async def _named(fields: Mapping[str, Any], who: Principal, gate: Gate) -> KeyRecord:
    text = _text(fields, "key")
    if text is None:
        raise MissingField("The field 'key' is missing.", param="key")
    return await _keys(gate).find(text, who)


def _keys(gate: Gate) -> Keys:
    if gate.identity is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.identity.keys


def _ours(fields: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under our names. Limits that are one thing here are made of what is given and what was there."""
    for name in _REFUSED:
        if fields.get(name):
            raise InvalidField(f"The field '{name}' is not supported here.", param=name)
    if fields.get("key_type") not in (None, "default", "llm_api"):
        raise InvalidField("This 'key_type' is not supported; give `scopes` in /admin/keys.", param="key_type")
    ours = {name: fields[theirs] for theirs, name in _OURS.items() if theirs in fields}
    for name in ("tenant", "tags", "expires_in"):
        if ours.get(name, "") is None:
            del ours[name]
    if ours.get("expires_in") == "-1":  # for ever
        ours["expires_in"] = None
    if isinstance(fields.get("models"), list):
        ours["models"] = _access(fields["models"])
    both = {**old, **fields}
    if {"rpm_limit", "tpm_limit", "max_parallel_requests"} & set(fields):
        ours["rate"] = {
            "requests_per_minute": both.get("rpm_limit"),
            "tokens_per_minute": both.get("tpm_limit"),
            "streams": both.get("max_parallel_requests"),
        }
    if {"max_budget", "soft_budget", "budget_duration"} & set(fields):
        ours["budgets"] = _budgets(both)
    return ours


def _access(models: list[Any]) -> dict[str, Any]:
    if _NO_MODELS in models:
        return {"allow": [], "deny": ["*"]}
    is_all = any(isinstance(name, str) and name in _ALL_MODELS for name in models)
    return {"allow": [] if is_all else models, "deny": []}


def _budgets(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    duration = fields.get("budget_duration")
    if duration not in _PERIODS:
        known = ", ".join(name for name in _PERIODS if name)
        raise InvalidField(f"The field 'budget_duration' must be one of: {known}.", param="budget_duration")
    limits = (("max_budget", True), ("soft_budget", False))
    return [
        {"usd": fields[name], "period": _PERIODS[duration], "hard": hard}
        for name, hard in limits
        if fields.get(name) is not None
    ]


def _issued(issued: Issued) -> Response:
    shape = _shape(issued.record)
    answer = json_answer({**shape, "key": issued.text, "key_name": f"sk-...{issued.text[-4:]}"})
    answer.headers["cache-control"] = "no-store"
    return answer


def _shape(record: KeyRecord) -> dict[str, Any]:
    rights, rate = record.rights, record.rights.rate
    hard, soft = _first(rights.budgets, hard=True), _first(rights.budgets, hard=False)
    period = (hard or soft or Budget(0)).period
    return {
        "token": record.id,
        "token_id": record.id,
        "key_alias": record.alias or None,
        "team_id": record.tenant,
        "user_id": record.user or None,
        "models": [_NO_MODELS] if rights.deny == ("*",) else list(rights.allow),
        "max_budget": float(usd(hard.nano_usd)) if hard else None,
        "soft_budget": float(usd(soft.nano_usd)) if soft else None,
        "budget_duration": _DURATIONS[period],
        "rpm_limit": rate.requests_per_minute or None,
        "tpm_limit": rate.tokens_per_minute or None,
        "max_parallel_requests": rate.streams or None,
        "expires": iso(record.expires_at),
        "blocked": record.blocked,
        "metadata": record.metadata,
        "tags": rights.tags,
        "created_by": record.created_by,
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


def _first(budgets: tuple[Budget, ...], *, hard: bool) -> Budget | None:
    return next((one for one in budgets if one.hard is hard), None)


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidField(f"The field '{name}' must be a string.", param=name)
    return value


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    value = fields.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidField(f"The field '{name}' must be an array of strings.", param=name)
    return value


def _is_duration(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,6}[smhdw]", text))
