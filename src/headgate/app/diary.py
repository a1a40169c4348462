"""Conversations written to files, where a folder for them is set."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from headgate.api.gate import Gate
from headgate.config.tree import RunLogSettings, Settings
from headgate.core.errors import StartupError
from headgate.telemetry.diary import Diary, DiaryBounds

__all__ = ["noting"]


@contextlib.asynccontextmanager
async def noting(settings: Settings, gate: Gate) -> AsyncIterator[None]:
    """Raises StartupError for a folder that cannot be made."""
    diary = _opened(settings.logging.runs)
    if diary is None:
        yield
        return
    gate.deps.note = diary.note
    try:
        yield
    finally:
        await asyncio.to_thread(diary.close)


def _opened(wanted: RunLogSettings) -> Diary | None:
    if wanted.folder is None:
        return None
    bounds = DiaryBounds(wanted.content, wanted.line, wanted.file, wanted.waiting)
    try:
        return Diary(Path(wanted.folder).expanduser(), bounds)
    except OSError as error:
        message = f"The folder {wanted.folder} of `logging.runs` cannot be made: {error.strerror}."
        raise StartupError(message) from None
