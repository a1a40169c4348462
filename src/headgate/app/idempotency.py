"""Calls that are repeated: where their answers are kept, and what becomes of them at the end."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from headgate.api.gate import Gate
from headgate.app.prepare import Prepared
from headgate.idempotency.folder import Folder
from headgate.idempotency.keeper import Keeper

__all__ = ["repeating"]
_LAST_WORDS_SECONDS = 1.0


@contextlib.asynccontextmanager
async def repeating(prepared: Prepared, gate: Gate) -> AsyncIterator[None]:
    """Keep answers for repeats; without a data directory, only as long as this process lives."""
    settings = prepared.settings.idempotency
    if not settings.enabled:
        yield
        return
    with contextlib.ExitStack() as stack:
        if prepared.data_dir is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-")))
        else:
            path = prepared.data_dir / "idempotency"
        gate.keeper = keeper = Keeper(Folder(path), prepared.pepper, settings)
        sweeping = asyncio.get_running_loop().create_task(keeper.keep_sweeping())
        try:
            yield
        finally:
            sweeping.cancel()
            makers = [one.maker for one in keeper.recordings.values() if one.maker is not None]
            for maker in makers:
                maker.cancel()
            if makers:
                await asyncio.wait(makers, timeout=_LAST_WORDS_SECONDS)
