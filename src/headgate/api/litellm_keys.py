"""LiteLLM's `/key/…`: its names and shapes over the same keys. What it would restrict and we cannot is refused.

A key is named by its text, or by its id, which stands where LiteLLM has the hash of a key (`token`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import is_true, read_fields, valid, who_asks, whole_number
from headgate.api.gate import Gate
from headgate.api.litellm_fields import (
    LIMITS,
    NAMES,
    flag,
    identity_of,
    limits_of,
    limits_shape,
    needed,
    refuse_unknown,
    spent,
    tell_ignored,
    text,
    texts,
)
from headgate.core.errors import InvalidField, KeyNotFound, MissingField
from headgate.core.principal import DEFAULT_TENANT, Principal
from headgate.identity.service import Issued, Keys
from headgate.identity.types import KeyChange, KeyQuery, KeyRecord, NewKey, iso, seconds_of

_OURS = {
    "key_alias": "alias",
    "team_id": "tenant",
    "user_id": "user",
    "duration": "expires_in",
    "metadata": "metadata",
    "tags": "tags",
}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()} | NAMES
_KNOWN = LIMITS | {*_OURS, "key", "blocked", "key_type"}
_LISTED = ("size", "page", "team_id", "user_id", "key_alias", "key_hash", "return_full_object", "include_team_keys")
_MOST_LISTED = 100


async def generate(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to make a key."""
    return await _issued(await made(await read_fields(request, empty=True), who_asks(request), gate), gate)


async def made(fields: Mapping[str, Any], who: Principal, gate: Gate) -> Issued:
    """A new key by LiteLLM's fields."""
    own, blocked = text(fields, "key"), flag(fields, "blocked", default=False)
    wanted = valid(NewKey, {"tenant": DEFAULT_TENANT, **_ours(fields, {})}, _THEIRS)
    issued = await _keys(gate).create(wanted, who, own)
    if blocked:
        issued = Issued(await _keys(gate).block(issued.record.id, who), issued.text)
    return issued


async def info(request: Request, gate: Gate) -> Response:
    """LiteLLM's view of a key: the one named, or the caller's own."""
    who, named = who_asks(request), request.query_params.get("key")
    record = await (_keys(gate).own(who) if named is None else _keys(gate).find(named, who))
    [shape] = await key_shapes([record], gate)
    return json_answer({"key": record.id, "info": shape})


async def infos(request: Request, gate: Gate) -> Response:
    """The same of several keys."""
    fields, who = await read_fields(request), who_asks(request)
    records = [await _keys(gate).find(one, who) for one in texts(fields, "keys")[:_MOST_LISTED]]
    return json_answer({"key": [one.id for one in records], "info": await key_shapes(records, gate)})


async def update(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to change a key."""
    fields, who = await read_fields(request), who_asks(request)
    old = await _named(fields, who, gate)
    ours = _ours(fields, _shape(old))
    if ours.pop("tenant", old.tenant) != old.tenant:
        raise InvalidField("A key stays in its tenant; make another one there.", param="team_id")
    blocked = flag(fields, "blocked", default=old.blocked)
    record = await _keys(gate).update(old.id, valid(KeyChange, ours, _THEIRS), who)
    if blocked != old.blocked:
        record = await _keys(gate).block(old.id, who, blocked=blocked)
    [shape] = await key_shapes([record], gate)
    return json_answer({"key": record.id, **shape})


async def delete(request: Request, gate: Gate) -> Response:
    """LiteLLM's way to forget keys."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, ("keys", "key_aliases"))
    records = [await _keys(gate).find(one, who) for one in texts(fields, "keys")]
    for alias in texts(fields, "key_aliases"):
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
    new, grace = text(fields, "new_key"), text(fields, "grace_period")
    if grace is not None and not _is_duration(grace):
        raise InvalidField("The field 'grace_period' must be a duration such as 24h.", param="grace_period")
    ours = _ours(fields, _shape(old), "new_key", "grace_period")
    if ours.pop("tenant", old.tenant) != old.tenant:
        raise InvalidField("A key stays in its tenant; make another one there.", param="team_id")
    change = valid(KeyChange, ours, _THEIRS)
    if change.model_fields_set:  # first, for what cannot be done must not cost the key its text
        await _keys(gate).update(old.id, change, who)
    return await _issued(await _keys(gate).rotate(old.id, who, seconds_of(grace) if grace else 0.0, new), gate)


async def list_all(request: Request, gate: Gate) -> Response:
    """LiteLLM's list of keys, by pages."""
    asked = request.query_params
    size, page = whole_number(request, "size", 10, _MOST_LISTED), whole_number(request, "page", 1, 10**6)
    if hashed := asked.get("key_hash"):
        return await _listed_one(hashed, request, gate)
    query = KeyQuery(
        tenant=asked.get("team_id"),
        user=asked.get("user_id"),
        alias=asked.get("key_alias"),
        skip=size * (page - 1),
        limit=size,
    )
    found = await _keys(gate).list(query, who_asks(request), count=True)
    total, records = found.total or 0, found.records
    is_full = is_true(request, "return_full_object")
    answer = json_answer(
        {
            "keys": await key_shapes(records, gate) if is_full else [record.id for record in records],
            "total_count": total,
            "current_page": page,
            "total_pages": -(-total // size),
        }
    )
    return tell_ignored(request, _LISTED, answer)


async def _listed_one(key: str, request: Request, gate: Gate) -> Response:
    try:
        records = [await _keys(gate).find(key, who_asks(request))]
    except KeyNotFound:
        records = []
    keys = await key_shapes(records, gate) if is_true(request, "return_full_object") else [one.id for one in records]
    total = len(records)
    return json_answer({"keys": keys, "total_count": total, "current_page": 1, "total_pages": total})


async def _blocked(request: Request, gate: Gate, *, blocked: bool) -> Response:
    who = who_asks(request)
    record = await _named(await read_fields(request), who, gate)
    [shape] = await key_shapes([await _keys(gate).block(record.id, who, blocked=blocked)], gate)
    return json_answer(shape)


async def _named(fields: Mapping[str, Any], who: Principal, gate: Gate) -> KeyRecord:
    return await _keys(gate).find(needed(fields, "key"), who)


def _keys(gate: Gate) -> Keys:
    return identity_of(gate).keys


def _ours(fields: Mapping[str, Any], old: Mapping[str, Any], *further: str) -> dict[str, Any]:
    """The fields under our names. Limits that are one thing here are made of what is given and what was there."""
    refuse_unknown(fields, _KNOWN.union(further))
    if fields.get("key_type") not in (None, "default", "llm_api"):
        raise InvalidField("This 'key_type' is not supported; give `scopes` in /admin/keys.", param="key_type")
    ours = {name: fields[theirs] for theirs, name in _OURS.items() if theirs in fields}
    for name in ("tenant", "tags", "expires_in"):
        if ours.get(name, "") in (None, ""):
            ours.pop(name, None)
    if ours.get("expires_in") == "-1":  # for ever
        ours["expires_in"] = None
    return {**ours, **limits_of(fields, old)}


async def _issued(issued: Issued, gate: Gate) -> Response:
    shape = await key_shapes([issued.record], gate)
    answer = json_answer({**shape[0], "key": issued.text, "key_name": f"sk-...{issued.text[-4:]}"})
    answer.headers["cache-control"] = "no-store"
    return answer


async def key_shapes(records: Sequence[KeyRecord], gate: Gate) -> list[dict[str, Any]]:
    """Keys as LiteLLM shows them, with what each spent."""
    spends = await spent(gate, "key", [(one.id, one.rights) for one in records])
    return [{**_shape(one), "spend": spends[one.id]} for one in records]


def _shape(record: KeyRecord) -> dict[str, Any]:
    return {
        "token": record.id,
        "token_id": record.id,
        "key_alias": record.alias or None,
        "team_id": record.tenant,
        "user_id": record.user or None,
        **limits_shape(record.rights),
        "expires": iso(record.expires_at),
        "blocked": record.blocked,
        "metadata": record.metadata,
        "tags": record.rights.tags,
        "created_by": record.created_by,
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


def _is_duration(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,6}[smhdw]", text))
