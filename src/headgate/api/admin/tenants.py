"""`/admin/tenants`: tenants for operators."""

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.admin.shapes import tenant_shape
from headgate.api.answers import json_answer
from headgate.api.fields import read_as, who_asks
from headgate.api.gate import Gate
from headgate.core.errors import DatabaseUnavailable
from headgate.identity.tenants import Tenants
from headgate.identity.types import NewTenant, Tenant, TenantChange


async def list_all(request: Request, gate: Gate) -> Response:
    """Tenants by id, those of the configuration file among them."""
    data = [tenant_shape(one) for one in await _tenants(gate).list(who_asks(request))]
    return json_answer({"object": "list", "data": data, "has_more": False})


async def create(request: Request, gate: Gate) -> Response:
    """Make a tenant."""
    wanted = await read_as(request, NewTenant)
    return json_answer(tenant_shape(await _tenants(gate).create(wanted, who_asks(request))), 201)


async def get(request: Request, gate: Gate) -> Response:
    """One tenant."""
    return _told(await _tenants(gate).get(_id(request), who_asks(request)))


async def update(request: Request, gate: Gate) -> Response:
    """Change the fields that are given; null takes a limit away."""
    change = await read_as(request, TenantChange)
    return _told(await _tenants(gate).update(_id(request), change, who_asks(request)))


async def delete(request: Request, gate: Gate) -> Response:
    """Forget a tenant that has no keys, and its settings."""
    tenant = await _tenants(gate).delete(_id(request), who_asks(request))
    if gate.settings is not None:
        await gate.settings.clear(tenant.id, who_asks(request).key_id)
    return json_answer({"id": tenant.id, "object": "tenant", "deleted": True})


async def block(request: Request, gate: Gate) -> Response:
    """Shut out all keys of a tenant until it is unblocked."""
    return _told(await _tenants(gate).block(_id(request), who_asks(request)))


async def unblock(request: Request, gate: Gate) -> Response:
    """Let the keys of a blocked tenant in again."""
    return _told(await _tenants(gate).block(_id(request), who_asks(request), blocked=False))


def _tenants(gate: Gate) -> Tenants:
    if gate.identity is None:
        raise DatabaseUnavailable("This gateway runs without a database.")
    return gate.identity.tenants


def _told(tenant: Tenant) -> Response:
    return json_answer(tenant_shape(tenant))


def _id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found
