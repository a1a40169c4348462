"""Gateways with a database, several over the same data directory as workers are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headgate import app
from headgate.api.server import listen
from headgate.config.tree import Settings
from headgate.db.engine import open_database
from headgate.db.migrate import migrate
from headgate.identity.compose import Identity, identity_of
from headgate.identity.keys import KeyRing
from headgate.identity.signal import Signal
from headgate.identity.types import configured_tenants
from tests.harness.databases import url_of
from tests.harness.gateway import KEY, TOKEN, Gateway, stopped
from tests.harness.stub import BOUND

PEPPER = b"pepper-of-the-tests"


@dataclass
class Member:
    """One holder of a ring, as a worker is."""

    ring: KeyRing
    identity: Identity


@asynccontextmanager
async def member(folder: Path, settings: Settings | None = None) -> AsyncIterator[Member]:
    """A ring that follows the database in a folder."""
    tree = settings or Settings()
    ring = KeyRing(PEPPER, required=tree.auth.required, tenants=configured_tenants(tree.tenants))
    ring.add(KEY, is_admin=True)
    ring.add(TOKEN)
    for tenant in tree.tenants:
        for key in tenant.keys:
            ring.add(key.get_secret_value(), tenant=tenant.id)
    database = open_database(url_of(folder))
    signal = Signal(folder / "run" / "keys")
    try:
        await migrate(database)
        yield Member(ring, await identity_of(database, ring, signal))
    finally:
        await database.close()
        signal.close()


@asynccontextmanager
async def administered(settings: dict[str, Any], folder: Path) -> AsyncIterator[Gateway]:
    """A gateway over the database in a folder."""
    tree = Settings.model_validate(settings)
    prepared = app.Prepared(tree, ((KEY, True), (TOKEN, False)), PEPPER, {}, data_dir=folder)
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(app.gateway(prepared))
        server = app.http_server(gate, tree)
        listening = listen("127.0.0.1", 0)
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
        port = listening.getsockname()[1]
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {KEY}"}, timeout=BOUND
            )
        )
        async with asyncio.timeout(BOUND):
            while not server.started:
                await asyncio.sleep(0.001)
        try:
            yield Gateway(port, gate, server, http)
        finally:
            await stopped(server, task)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
