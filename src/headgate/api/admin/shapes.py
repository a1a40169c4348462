"""Tenants and keys as JSON. A key's text is in none of them."""

from typing import Any

from headgate.core.bounds import Budget, Rate
from headgate.core.money import usd
from headgate.identity.types import KeyRecord, Rights, Tenant, iso


def key_shape(record: KeyRecord, now: float) -> dict[str, Any]:
    """All that is known of a key."""
    return {
        "id": record.id,
        "object": "key",
        "alias": record.alias,
        "tenant": record.tenant,
        "user": record.user,
        "state": record.state(now),
        "scopes": sorted(record.rights.scopes),
        **_limits(record.rights),
        "environment": record.rights.environment,
        "tags": record.rights.tags,
        "metadata": record.metadata,
        "blocked": record.blocked,
        "expires_at": iso(record.expires_at),
        "created_at": iso(record.created_at),
        "created_by": record.created_by,
        "updated_at": iso(record.updated_at),
        "rotated_at": iso(record.rotated_at),
        "revoked_at": iso(record.revoked_at),
        "previous_key_until": iso(record.previous_until if record.previous_until > now else 0.0),
    }


def tenant_shape(tenant: Tenant) -> dict[str, Any]:
    """All that is known of a tenant."""
    return {
        "id": tenant.id,
        "object": "tenant",
        "name": tenant.name,
        "blocked": tenant.blocked,
        **_limits(tenant.rights),
        "environment": tenant.rights.environment,
        "metadata": tenant.metadata,
        "source": "file" if tenant.configured else "database",
        "created_at": iso(tenant.created_at),
        "updated_at": iso(tenant.updated_at),
    }


def _limits(rights: Rights) -> dict[str, Any]:
    return {
        "models": {"allow": rights.allow, "deny": rights.deny},
        "rate": _rate(rights.rate),
        "budgets": [_budget(one) for one in rights.budgets],
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "requests_per_minute": rate.requests_per_minute or None,
        "tokens_per_minute": rate.tokens_per_minute or None,
        "streams": rate.streams or None,
    }


def _budget(budget: Budget) -> dict[str, Any]:
    return {"usd": float(usd(budget.nano_usd)), "period": budget.period, "hard": budget.hard}
