"""Knowledge, where something is kept: opened, tidied once, and closed."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from headgate.api.gate import Gate
from headgate.core.errors import HeadgateError
from headgate.db.engine import Database
from headgate.knowledge.service import Knowledge
from headgate.knowledge.settings import KnowledgeSettings
from headgate.knowledge.store import shelves_of
from headgate.knowledge.types import Limits

__all__ = ["knowing"]
log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def knowing(settings: KnowledgeSettings, database: Database, gate: Gate) -> AsyncIterator[None]:
    """What a process that died left of an ingest is taken away, while requests are served already."""
    limits = Limits(settings.indices, settings.documents, settings.chunks)
    gate.deps.knowledge = knowledge = Knowledge(shelves_of(database, limits, gate.audit), settings)
    tidying = asyncio.get_running_loop().create_task(_tidied(knowledge))
    try:
        yield
    finally:
        tidying.cancel()
        await asyncio.wait([tidying])
        await knowledge.close()


async def _tidied(knowledge: Knowledge) -> None:
    try:
        await knowledge.tidy()
    except HeadgateError as error:
        log.warning("what ingests left that broke off is taken away later: %s", error.message)
