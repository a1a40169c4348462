"""What operators see of the gateway's doings: the audit log, and runs of all workers of this machine."""

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import time
from typing import Any

from headgate.api.gate import Gate
from headgate.api.runs import answer_peer, stop_anywhere
from headgate.audit.chain import Chain
from headgate.audit.head import HeadFile
from headgate.audit.log import AuditLog
from headgate.audit.store import AuditStore
from headgate.config.tree import Settings
from headgate.core.audit import Act
from headgate.core.errors import DatabaseUnavailable
from headgate.core.principal import DEFAULT_TENANT
from headgate.core.version import __version__
from headgate.db.engine import Database
from headgate.telemetry.peers import Peers

__all__ = ["audit_log", "note_start", "overseen"]
log = logging.getLogger(__name__)


def audit_log(database: Database, pepper: bytes, folder: Path, clock: Callable[[], float] = time) -> AuditLog:
    chain = Chain(pepper)
    return AuditLog(AuditStore(database), chain, HeadFile(folder / "audit.head", chain), clock)


async def note_start(audit: AuditLog, settings: Settings) -> None:
    """Put down with which configuration the gateway starts. It serves also if that cannot be put down."""
    content = settings.model_dump_json().encode()  # secrets are stars in it
    after = {
        "version": __version__,
        "sha256": hashlib.sha256(content).hexdigest(),
        "models": len(settings.models),
        "upstreams": len(settings.upstreams),
        "tenants": len(settings.tenants),
        "workers": settings.server.workers,
    }
    try:
        await audit.record(Act("configuration.loaded", "configuration", "headgate", DEFAULT_TENANT, after=after))
    except DatabaseUnavailable as error:
        log.error("the start is missing in the audit log: %s", error.message)


def stopping(gate: Gate) -> Callable[[str, str], Awaitable[bool]]:
    """Stops the run of a span on behalf of a key, whichever worker of this machine serves it."""

    async def stop(span: str, by: str) -> bool:
        return await stop_anywhere(f"{span}-", by, gate)

    return stop


@contextlib.asynccontextmanager
async def overseen(folder: Path, gate: Gate) -> AsyncIterator[None]:
    """Other workers may ask this one about its runs, and it may ask them."""

    async def answer(question: Any) -> Any:
        return await answer_peer(question, gate)

    gate.peers = Peers(folder / "run", answer)
    await gate.peers.open()
    try:
        yield
    finally:
        gate.peers.close()
