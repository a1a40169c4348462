"""LiteLLM's `/team/…`: a team there is a tenant here, its members are the tenant's users."""

from collections import defaultdict
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
from headgate.api.litellm_keys import key_shapes
from headgate.api.litellm_users import one_user, refuse_rights, user_shapes
from headgate.core.errors import HeadgateError, InvalidField, MissingField
from headgate.core.principal import Principal
from headgate.identity.types import (
    KeyQuery,
    NewTenant,
    NewUser,
    Tenant,
    TenantChange,
    User,
    UserChange,
    UserQuery,
    iso,
)

_OURS = {"team_alias": "name", "metadata": "metadata"}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()} | NAMES | {"id": "team_id"}
_KNOWN = LIMITS | {*_OURS, "team_id", "blocked"}
_MEMBER = {"user_id", "user_email", "role"}
_IN_TEAM = {"max_budget_in_team": "max_budget", "budget_duration": "budget_duration", "allowed_models": "models"}
_MOST = 1000


async def new(request: Request, gate: Gate) -> Response:
    """Make a team, and its members with it."""
    fields, who = await read_fields(request, empty=True), who_asks(request)
    refuse_unknown(fields, (*_KNOWN, "members", "members_with_roles"))
    team_id = text(fields, "team_id") or str(uuid4())
    members = [{"user_id": one} for one in texts(fields, "members")] + _members(fields, "members_with_roles")
    wanted = valid(NewTenant, {"id": team_id, **_ours(fields, {})}, _THEIRS)
    users = [valid(NewUser, {**_member(one), "tenant": team_id}, _THEIRS) for one in members]
    blocked = flag(fields, "blocked", default=False)
    identity = identity_of(gate)
    team = await identity.tenants.create(wanted, who)
    try:
        made = [await identity.users.create(one, who) for one in users]
        team = await identity.tenants.block(team_id, who) if blocked else team
    except HeadgateError:  # all or nothing
        await identity.tenants.delete(team_id, who)
        raise
    return json_answer(await _shape(team, made, gate))


async def info(request: Request, gate: Gate) -> Response:
    """A team with its keys and members."""
    who, team_id = who_asks(request), request.query_params.get("team_id")
    if not team_id:
        raise MissingField("The parameter 'team_id' is missing.", param="team_id")
    identity = identity_of(gate)
    team = await identity.tenants.get(team_id, who)
    members = await _members_of([team], who, gate)
    keys = (await identity.keys.list(KeyQuery(tenant=team_id, limit=_MOST), who)).records
    return json_answer(
        {
            "team_id": team_id,
            "team_info": await _shape(team, members[team_id], gate),
            "keys": await key_shapes(keys, gate),
            "team_memberships": await _memberships(members[team_id], gate),
        }
    )


async def update(request: Request, gate: Gate) -> Response:
    """Change a team."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, _KNOWN)
    service, team_id = identity_of(gate).tenants, needed(fields, "team_id")
    old = await service.get(team_id, who)
    blocked = flag(fields, "blocked", default=old.blocked)
    change = valid(TenantChange, _ours(fields, limits_shape(old.rights)), _THEIRS)
    team = await service.update(team_id, change, who)
    if blocked != team.blocked:
        team = await service.block(team_id, who, blocked=blocked)
    members = await _members_of([team], who, gate)
    return json_answer({"team_id": team_id, "data": await _shape(team, members[team_id], gate)})


async def delete(request: Request, gate: Gate) -> Response:
    """Forget teams with their keys and members."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, ("team_ids",))
    names = list(dict.fromkeys(texts(fields, "team_ids")))
    if not names:
        raise MissingField("The field 'team_ids' is missing.", param="team_ids")
    service = identity_of(gate).tenants
    for name in names:
        await service.get(name, who)
    for name in names:
        await service.delete(name, who, with_keys=True)
    return json_answer({"deleted_teams": names})


async def block(request: Request, gate: Gate) -> Response:
    """Shut all keys of a team out."""
    return await _blocked(request, gate, blocked=True)


async def unblock(request: Request, gate: Gate) -> Response:
    """Let the keys of a team in again."""
    return await _blocked(request, gate, blocked=False)


async def list_all(request: Request, gate: Gate) -> Response:
    """All teams that may be seen, with members and keys."""
    who, user = who_asks(request), request.query_params.get("user_id")
    identity = identity_of(gate)
    teams = await identity.tenants.list(who)
    members = await _members_of(teams, who, gate)
    teams = [one for one in teams if user is None or any(member.id == user for member in members[one.id])]
    page = await identity.keys.list(KeyQuery(limit=_MOST), who)
    keys: dict[str, list[Any]] = defaultdict(list)
    for shape in await key_shapes(page.records, gate):
        keys[shape["team_id"]].append(shape)
    spends = await spent(gate, "tenant", [(one.id, one.rights) for one in teams])
    answer = json_answer(
        [
            {
                **_told(one, members[one.id], spends[one.id]),
                "team_memberships": await _memberships(members[one.id], gate),
                "keys": keys[one.id],
            }
            for one in teams
        ]
    )
    if page.has_more:
        answer.headers["x-headgate-truncated"] = "keys"
    return tell_ignored(request, ("user_id",), answer)


async def page(request: Request, gate: Gate) -> Response:
    """Teams by pages."""
    asked, who = request.query_params, who_asks(request)
    size, number = whole_number(request, "page_size", 10, 100), whole_number(request, "page", 1, 10**6)
    teams = await identity_of(gate).tenants.list(who)
    members = await _members_of(teams, who, gate)
    user, alias = asked.get("user_id"), asked.get("team_alias", "").lower()
    found = [
        one
        for one in teams
        if asked.get("team_id") in (None, one.id)
        and alias in (one.name or "").lower()
        and (user is None or any(member.id == user for member in members[one.id]))
    ]
    shown = found[size * (number - 1) : size * number]
    spends = await spent(gate, "tenant", [(one.id, one.rights) for one in shown])
    answer = json_answer(
        {
            "teams": [_told(one, members[one.id], spends[one.id]) for one in shown],
            "total": len(found),
            "page": number,
            "page_size": size,
            "total_pages": -(-len(found) // size),
        }
    )
    return tell_ignored(request, ("page", "page_size", "team_id", "team_alias", "user_id"), answer)


async def available(request: Request, gate: Gate) -> Response:
    """Teams that one may join by oneself: there are none."""
    return json_answer([])


async def member_add(request: Request, gate: Gate) -> Response:
    """Make users of a team, all or none, with limits there."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, ("team_id", "member", *_IN_TEAM))
    team_id, members = needed(fields, "team_id"), _members(fields, "member")
    if not members:
        raise MissingField("The field 'member' is missing.", param="member")
    identity = identity_of(gate)
    team = await identity.tenants.get(team_id, who)
    limits = limits_of({theirs: fields[name] for name, theirs in _IN_TEAM.items() if name in fields}, {})
    wanted = [valid(NewUser, {**_member(one), **limits, "tenant": team_id}, _THEIRS) for one in members]
    made: list[User] = []
    try:
        for one in wanted:
            made += [await identity.users.create(one, who)]
    except HeadgateError:
        for user in made:
            await identity.users.delete(team_id, user.id, who)
        raise
    everybody = (await _members_of([team], who, gate))[team_id]
    return json_answer(
        {
            **await _shape(team, everybody, gate),
            "updated_users": await user_shapes([[one] for one in made], gate),
            "updated_team_memberships": await _memberships(made, gate),
        }
    )


async def member_update(request: Request, gate: Gate) -> Response:
    """Change what a member may take."""
    fields, who = await read_fields(request), who_asks(request)
    rates = {"tpm_limit", "rpm_limit"}
    refuse_unknown(fields, ("team_id", *_MEMBER, *_IN_TEAM, *rates))
    refuse_rights(fields.get("role"), "role")
    user = await one_user({"team_id": needed(fields, "team_id"), **fields}, who, gate)
    theirs = {name: fields[name] for name in rates & fields.keys()}
    theirs |= {name: fields[ours] for ours, name in _IN_TEAM.items() if ours in fields}
    change = valid(UserChange, limits_of(theirs, limits_shape(user.rights)), _THEIRS)
    user = await identity_of(gate).users.update(user.tenant, user.id, change, who)
    [membership] = await _memberships([user], gate)
    budget = membership["litellm_budget_table"]
    return json_answer(
        {
            "team_id": user.tenant,
            "user_id": user.id,
            "user_email": user.email or None,
            "max_budget_in_team": budget["max_budget"],
            "tpm_limit": budget["tpm_limit"],
            "rpm_limit": budget["rpm_limit"],
        }
    )


async def member_delete(request: Request, gate: Gate) -> Response:
    """Take a user out of a team, and end the keys that it has there."""
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, ("team_id", "user_id", "user_email"))
    user = await one_user({"team_id": needed(fields, "team_id"), **fields}, who, gate)
    identity = identity_of(gate)
    await identity.users.delete(user.tenant, user.id, who)
    team = await identity.tenants.get(user.tenant, who)
    members = await _members_of([team], who, gate)
    return json_answer(await _shape(team, members[team.id], gate))


async def _blocked(request: Request, gate: Gate, *, blocked: bool) -> Response:
    fields, who = await read_fields(request), who_asks(request)
    refuse_unknown(fields, ("team_id",))
    team = await identity_of(gate).tenants.block(needed(fields, "team_id"), who, blocked=blocked)
    members = await _members_of([team], who, gate)
    return json_answer(await _shape(team, members[team.id], gate))


def _ours(fields: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    ours = {name: fields[theirs] for theirs, name in _OURS.items() if theirs in fields}
    return ours | limits_of(fields, old)


def _members(fields: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """One member or several."""
    given = fields.get(name) or []
    members = given if isinstance(given, list) else [given]
    if not all(isinstance(one, dict) for one in members):
        raise InvalidField(f"The field '{name}' must be an object with a `user_id`, or an array of such.", param=name)
    return members


def _member(member: Mapping[str, Any]) -> dict[str, Any]:
    refuse_unknown(member, _MEMBER)
    refuse_rights(member.get("role"), "member.role")
    user_id, email = text(member, "user_id"), text(member, "user_email")
    if user_id is None and email is None:
        raise MissingField("A member needs a 'user_id' or a 'user_email'.", param="member.user_id")
    return {"id": user_id or str(uuid4()), **({"email": email} if email else {})}


async def _members_of(teams: Sequence[Tenant], who: Principal, gate: Gate) -> dict[str, list[User]]:
    """The users of each team that the asker may see."""
    found: dict[str, list[User]] = {one.id: [] for one in teams}
    alone = teams[0].id if len(teams) == 1 else None
    for user in await identity_of(gate).users.members(UserQuery(tenant=alone, limit=_MOST * 10), who):
        if user.tenant in found:
            found[user.tenant].append(user)
    return found


async def _shape(team: Tenant, members: Sequence[User], gate: Gate) -> dict[str, Any]:
    spends = await spent(gate, "tenant", [(team.id, team.rights)])
    return _told(team, members, spends[team.id])


def _told(team: Tenant, members: Sequence[User], spend: float) -> dict[str, Any]:
    roles = [{"user_id": one.id, "user_email": one.email or None, "role": "user"} for one in members]
    return {
        "team_id": team.id,
        "team_alias": team.name or None,
        "organization_id": None,
        "admins": [],
        "members": [one.id for one in members],
        "members_with_roles": roles,
        **limits_shape(team.rights),
        "spend": spend,
        "blocked": team.blocked,
        "metadata": team.metadata,
        "created_at": iso(team.created_at),
        "updated_at": iso(team.updated_at),
    }


async def _memberships(members: Sequence[User], gate: Gate) -> list[dict[str, Any]]:
    spends = await spent(gate, "user", [(f"{one.tenant}/{one.id}", one.rights) for one in members])
    return [
        {
            "user_id": one.id,
            "team_id": one.tenant,
            "budget_id": None,
            "spend": spends[f"{one.tenant}/{one.id}"],
            "litellm_budget_table": limits_shape(one.rights),
        }
        for one in members
    ]
