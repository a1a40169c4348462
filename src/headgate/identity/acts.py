"""What is done to keys and tenants, as the audit log keeps it: without hashes and texts of keys."""

from typing import Any

from headgate.core.audit import Act, changed
from headgate.core.money import usd
from headgate.identity.types import KeyRecord, Rights, Tenant, User, iso


def key_act(action: str, old: KeyRecord | None, new: KeyRecord | None) -> Act:
    """Made, if there was none before; forgotten, if there is none after."""
    one = new or old
    assert one is not None
    before, after = _differing(_key(old) if old else None, _key(new) if new else None)
    return Act(action, "key", one.id, one.tenant, before, after)


def tenant_act(action: str, old: Tenant | None, new: Tenant | None) -> Act:
    """Made, if there was none before; forgotten, if there is none after."""
    one = new or old
    assert one is not None
    before, after = _differing(_tenant(old) if old else None, _tenant(new) if new else None)
    return Act(action, "tenant", one.id, one.id, before, after)


def user_act(action: str, old: User | None, new: User | None) -> Act:
    """Made, if there was none before; forgotten, if there is none after."""
    one = new or old
    assert one is not None
    before, after = _differing(_user(old) if old else None, _user(new) if new else None)
    return Act(action, "user", one.id, one.tenant, before, after)


def _differing(
    old: dict[str, Any] | None, new: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    return (old, new) if old is None or new is None else changed(old, new)


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "alias": record.alias,
        "user": record.user,
        **_rights(record.rights),
        "metadata": record.metadata,
        "blocked": record.blocked,
        "expires_at": iso(record.expires_at),
        "revoked_at": iso(record.revoked_at),
        "rotated_at": iso(record.rotated_at),
        "previous_until": iso(record.previous_until),
    }


def _tenant(tenant: Tenant) -> dict[str, Any]:
    rights = _rights(tenant.rights)
    return {"name": tenant.name, **rights, "metadata": tenant.metadata, "blocked": tenant.blocked}


def _user(user: User) -> dict[str, Any]:
    told = {"alias": user.alias, "email": user.email, "metadata": user.metadata, "blocked": user.blocked}
    return {**told, **_rights(user.rights)}


def _rights(rights: Rights) -> dict[str, Any]:
    rate = rights.rate
    return {
        "scopes": sorted(rights.scopes),
        "allow": list(rights.allow),
        "deny": list(rights.deny),
        "tags": list(rights.tags),
        "environment": rights.environment,
        "rate": {
            "requests_per_minute": rate.requests_per_minute,
            "tokens_per_minute": rate.tokens_per_minute,
            "streams": rate.streams,
        },
        "budgets": [
            {"usd": f"{usd(one.nano_usd):f}", "period": one.period, "hard": one.hard} for one in rights.budgets
        ],
    }
