"""LiteLLM's `/user/…`: a user there is a user of a tenant here, with limits of its own; its teams are the tenants.

A user of several teams is one in each of them, with limits apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import read_fields, valid, who_asks, whole_number
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
from headgate.api.litellm_keys import key_shapes, made
from headgate.core.errors import HeadgateError, InvalidField, MissingField
from headgate.core.principal import DEFAULT_TENANT, Principal
from headgate.identity.scopes import tenants_with
from headgate.identity.types import KeyQuery, NewUser, Tenant, User, UserChange, UserQuery, iso

_OURS = {"user_alias": "alias", "user_email": "email", "metadata": "metadata"}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()} | NAMES | {"id": "user_id", "tenant": "team_id"}
_KNOWN = LIMITS | {*_OURS, "user_id", "user_role", "team_id", "blocked"}
_OF_KEY = ("key_alias", "duration")
_ROLE = "internal_user"
_LISTED = ("page", "page_size", "user_ids", "user_email", "team")
_MOST = 1000


async def new(request: Request, gate: Gate) -> Response:
    """Make a user, and a key for it unless `auto_create_key` is false."""
    fields, who = await read_fields(request, empty=True), who_asks(request)
    refuse_unknown(fields, (*_KNOWN, *_OF_KEY, "teams", "auto_create_key"))
    user_id = text(fields, "user_id") or str(uuid4())
    with_key = flag(fields, "auto_create_key", default=True)
    users = [valid(NewUser, one, _THEIRS) for one in _wanted(fields, user_id)]
    blocked = flag(fields, "blocked", default=False)
    service, done = identity_of(gate).users, []
    try:
        for wanted in users:
            done.append(await service.create(wanted, who))
            if blocked:
                done[-1] = await service.block(wanted.tenant, user_id, who)
        key = await _key_of(done[0], fields, who, gate) if with_key else {}
    except HeadgateError:  # all or nothing
        for user in done:
            await service.delete(user.tenant, user.id, who)
        raise
    answer = json_answer({**key, **(await user_shapes([done], gate))[0], "key": key.get("key")})
    answer.headers["cache-control"] = "no-store"
    return answer


def _wanted(fields: Mapping[str, Any], user_id: str) -> list[dict[str, Any]]:
    """The users to make, one for each team."""
    common = {"id": user_id, **_ours(fields, {})}
    teams = fields.get("teams") or [text(fields, "team_id") or DEFAULT_TENANT]
    if not isinstance(teams, list) or not all(isinstance(one, str | dict) for one in teams):
        raise InvalidField("The field 'teams' must be an array of team ids or of objects with one.", param="teams")
    if len(teams) > 1 and LIMITS & {name for name, value in fields.items() if value not in (None, [], "")}:
        message = "A user of several teams has limits in each of them: give them with /team/member_add."
        raise InvalidField(message, param="teams")
    found = []
    for team in teams:
        if isinstance(team, str):
            found.append({**common, "tenant": team})
            continue
        refuse_unknown(team, ("team_id", "max_budget_in_team", "user_role"))
        refuse_rights(team.get("user_role"), "teams.user_role")
        own = limits_of({"max_budget": budget}, {}) if (budget := team.get("max_budget_in_team")) is not None else {}
        found.append({**common, **own, "tenant": needed(team, "team_id")})
    return found


async def _key_of(user: User, fields: Mapping[str, Any], who: Principal, gate: Gate) -> dict[str, Any]:
    wanted = {name: fields[name] for name in _OF_KEY if name in fields}
    issued = await made({**wanted, "user_id": user.id, "team_id": user.tenant}, who, gate)
    [shape] = await key_shapes([issued.record], gate)
    return {**shape, "key": issued.text, "key_name": f"sk-...{issued.text[-4:]}"}


async def info(request: Request, gate: Gate) -> Response:
    """A user with its keys and teams; without an id the caller's own, and for the master key all keys and teams."""
    who, asked = who_asks(request), request.query_params.get("user_id") or who_asks(request).user
    identity = identity_of(gate)
    if not asked:
        keys = (await identity.keys.list(KeyQuery(limit=_MOST), who)).records if who.is_admin else []
        teams = await identity.tenants.list(who) if who.is_admin else []
        told = {"user_id": None, "user_info": None, "keys": await key_shapes(keys, gate)}
        return json_answer({**told, "teams": [_team(one) for one in teams]})
    users = await _named(asked, who, gate)
    [shape] = await user_shapes([users], gate)
    keys = [await identity.keys.own(who)]
    if who.user != asked or tenants_with(who, "keys:read") != frozenset():
        keys = (await identity.keys.list(KeyQuery(user=asked, limit=_MOST), who)).records
    teams = [tenant for user in users if (tenant := gate.keys.tenant(user.tenant)) is not None]
    return json_answer(
        {
            "user_id": asked,
            "user_info": shape,
            "keys": await key_shapes(keys, gate),
            "teams": [_team(one) for one in teams],
        }
    )


async def info_alone(request: Request, gate: Gate) -> Response:
    """A user without its keys and teams."""
    who = who_asks(request)
    asked = request.query_params.get("user_id") or who.user
    if not asked:
        raise MissingField("The parameter 'user_id' is missing.", param="user_id")
    [shape] = await user_shapes([await _named(asked, who, gate)], gate)
    return json_answer(shape)


async def update(request: Request, gate: Gate) -> Response:
    """Change a user, named by id or address."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, _KNOWN)
    user = await one_user(fields, who, gate)
    ours = _ours({name: value for name, value in fields.items() if name != "team_id"}, limits_shape(user.rights))
    if "user_id" not in fields:
        ours.pop("email", None)
    service = identity_of(gate).users
    blocked = flag(fields, "blocked", default=user.blocked)
    changed = await service.update(user.tenant, user.id, valid(UserChange, ours, _THEIRS), who)
    if blocked != changed.blocked:
        changed = await service.block(user.tenant, user.id, who, blocked=blocked)
    [shape] = await user_shapes([[changed]], gate)
    return json_answer({"user_id": user.id, "data": shape})


async def delete(request: Request, gate: Gate) -> Response:
    """Forget users in all teams that the caller may see, and end their keys; the answer is their number."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, ("user_ids",))
    names = texts(fields, "user_ids")
    if not names:
        raise MissingField("The field 'user_ids' is missing.", param="user_ids")
    service = identity_of(gate).users
    found = [await service.named(name, who) for name in dict.fromkeys(names)]
    for users in found:
        for user in users:
            await service.delete(user.tenant, user.id, who)
    return json_answer(len(found))


async def list_all(request: Request, gate: Gate) -> Response:
    """Users by pages, one entry for each team they are in."""
    asked = request.query_params
    size, page = whole_number(request, "page_size", 25, 100), whole_number(request, "page", 1, 10**6)
    query = UserQuery(tenant=asked.get("team"), email=asked.get("user_email"), skip=size * (page - 1), limit=size)
    service, who = identity_of(gate).users, who_asks(request)
    if names := [one.strip() for one in asked.get("user_ids", "").split(",") if one.strip()]:
        query = UserQuery(tenant=query.tenant, email=query.email, ids=tuple(names), skip=query.skip, limit=size)
    found = await service.list(query, who)
    shapes = await user_shapes([[one] for one in found.users], gate)
    answer = json_answer(
        {
            "users": [{**shape, "key_count": keys} for shape, keys in zip(shapes, found.keys, strict=True)],
            "total": found.total,
            "page": page,
            "page_size": size,
            "total_pages": -(-found.total // size),
        }
    )
    return tell_ignored(request, _LISTED, answer)


async def user_shapes(users: Sequence[Sequence[User]], gate: Gate) -> list[dict[str, Any]]:
    """Each user, as it is in one or several teams, as LiteLLM shows it. Limits are those of the first of them."""
    names = [(f"{one.tenant}/{one.id}", one.rights) for each in users for one in each]
    spends = await spent(gate, "user", names)
    return [_shape(each, sum(spends[f"{one.tenant}/{one.id}"] for one in each)) for each in users]


def _shape(users: Sequence[User], spend: float) -> dict[str, Any]:
    first = users[0]
    return {
        "user_id": first.id,
        "user_alias": first.alias or None,
        "user_email": first.email or None,
        "user_role": _ROLE,
        "teams": [one.tenant for one in users],
        **limits_shape(first.rights),
        "spend": spend,
        "blocked": first.blocked,
        "metadata": first.metadata,
        "created_at": iso(first.created_at),
        "updated_at": iso(first.updated_at),
    }


def _team(tenant: Tenant) -> dict[str, Any]:
    return {
        "team_id": tenant.id,
        "team_alias": tenant.name or None,
        **limits_shape(tenant.rights),
        "blocked": tenant.blocked,
        "metadata": tenant.metadata,
    }


async def one_user(fields: Mapping[str, Any], who: Principal, gate: Gate) -> User:
    """The user that is meant by `user_id` or `user_email`, in the team of `team_id` if it is in several."""
    user_id, email, team = (text(fields, name) for name in ("user_id", "user_email", "team_id"))
    service = identity_of(gate).users
    if user_id is None:
        if email is None:
            raise MissingField("Give a 'user_id' or a 'user_email'.", param="user_id")
        users = await service.with_email(email, who)
    else:
        users = await service.named(user_id, who)
    if team is not None:
        users = [one for one in users if one.tenant == team]
    if not users:
        raise InvalidField(f"The team '{team}' has no such user.", param="team_id")
    if len(users) > 1:
        teams = ", ".join(one.tenant for one in users)
        raise InvalidField(f"There are several such users; name the team as 'team_id': {teams}.", param="team_id")
    return users[0]


async def _named(user_id: str, who: Principal, gate: Gate) -> list[User]:
    """The user in every team that may be seen. Who asks for itself needs no scope."""
    service = identity_of(gate).users
    return await (service.own(who) if who.user == user_id and not who.is_admin else service.named(user_id, who))


def refuse_rights(role: object, param: str) -> None:
    """Roles that let a user administer; raises InvalidField."""
    if role not in (None, "", _ROLE, "user"):
        message = f"Users have no rights of administration here: '{role}' is given to keys, as `scopes` in /admin/keys."
        raise InvalidField(message, param=param)


def _ours(fields: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    refuse_rights(fields.get("user_role"), "user_role")
    return {name: fields[theirs] for theirs, name in _OURS.items() if theirs in fields} | limits_of(fields, old)
