"""Compaction of stored conversations, where conversations are kept."""

import contextlib
from collections.abc import AsyncIterator

from headgate.api.gate import Gate
from headgate.config.tree import Settings
from headgate.pipeline.compact import Compactor
from headgate.pipeline.run import relay

__all__ = ["compacting"]


@contextlib.asynccontextmanager
async def compacting(settings: Settings, gate: Gate) -> AsyncIterator[None]:
    """What is under way in the end is given up."""
    if gate.deps.state is None:
        yield
        return
    gate.compactor = gate.deps.compactor = compactor = Compactor(relay, settings.compaction)
    try:
        yield
    finally:
        await compactor.close()
