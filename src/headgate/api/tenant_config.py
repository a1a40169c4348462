"""`/v1/tenant/config`: the settings of a tenant, each with its value, where that was set and who may set it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.fields import read_fields, who_asks
from headgate.api.gate import Gate
from headgate.core.errors import DatabaseUnavailable, MissingField, TenantNotFound
from headgate.identity.scopes import tenants_with
from headgate.settings.service import TenantConfig
from headgate.settings.types import Resolved

_READ, _WRITE = "tenant_config:read", "tenant_config:write"
_HEADER = "x-tenant-id"


async def show(request: Request, gate: Gate) -> Response:
    """All settings of the tenant."""
    tenant = _tenant(request, gate, _READ)
    return _told(tenant, _config(gate).show(tenant))


async def get(request: Request, gate: Gate) -> Response:
    """One setting of the tenant."""
    tenant = _tenant(request, gate, _READ)
    return json_answer({"tenant": tenant, **_shape(_config(gate).get(tenant, _key(request)))})


async def put(request: Request, gate: Gate) -> Response:
    """Set those that the body names with their values, all or none."""
    tenant = _tenant(request, gate, _WRITE)
    return _told(tenant, await _config(gate).put(tenant, await read_fields(request), who_asks(request).key_id))


async def put_one(request: Request, gate: Gate) -> Response:
    """Set one to the body's `value`."""
    tenant, key = _tenant(request, gate, _WRITE), _key(request)
    _config(gate).get(tenant, key)
    fields = await read_fields(request)
    if "value" not in fields:
        raise MissingField(f"""Send the value of '{key}' as {{"value": …}}.""", param="value")
    [resolved] = await _config(gate).put(tenant, {key: fields["value"]}, who_asks(request).key_id)
    return json_answer({"tenant": tenant, **_shape(resolved)})


async def delete(request: Request, gate: Gate) -> Response:
    """Take the tenant's own value of one setting away."""
    tenant = _tenant(request, gate, _WRITE)
    resolved = await _config(gate).delete(tenant, _key(request), who_asks(request).key_id)
    return json_answer({"tenant": tenant, **_shape(resolved)})


async def clear(request: Request, gate: Gate) -> Response:
    """Take all of the tenant's own values away, or that of `key` in the query."""
    tenant = _tenant(request, gate, _WRITE)
    by, key = who_asks(request).key_id, request.query_params.get("key")
    config = _config(gate)
    return _told(tenant, await config.clear(tenant, by) if key is None else [await config.delete(tenant, key, by)])


def _tenant(request: Request, gate: Gate, needed: str) -> str:
    """The one that `tenant` in the query or the header names, else the caller's own; raises TenantNotFound."""
    who = who_asks(request)
    tenant = request.query_params.get("tenant") or request.headers.get(_HEADER) or who.tenant
    held = tenants_with(who, needed)
    if (held is not None and tenant not in held) or gate.keys.tenant(tenant) is None:
        raise TenantNotFound("There is no such tenant.", param="tenant")
    return tenant


def _config(gate: Gate) -> TenantConfig:
    if gate.settings is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.settings


def _key(request: Request) -> str:
    found: str = request.path_params["key"]
    return found


def _told(tenant: str, resolved: list[Resolved]) -> Response:
    settings = {one.setting.key: _shape(one) for one in resolved}
    return json_answer({"object": "tenant.config", "tenant": tenant, "settings": settings})


def _shape(resolved: Resolved) -> dict[str, Any]:
    setting = resolved.setting
    return {
        "key": setting.key,
        "value": resolved.value,
        "source": resolved.source,
        "writable": setting.is_writable,
        "levels": setting.levels,
        "given": resolved.given,
        "description": setting.meaning,
    }
