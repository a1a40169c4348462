"""Metrics of all workers of one server: each leaves its counts in a file, whoever is scraped sums them all.

The file of a worker that ended stays, so that no counter falls while the server runs.
"""

import asyncio
import importlib
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

from headgate.telemetry.metrics import NO_GAUGES, Gauges, Metrics

_SECONDS = 1.0
_SILENT_SECONDS = 5.0


def _nothing() -> None:
    """Everything is counted already."""


class Exchange:
    """`folder` belongs to one running server; None when it has one worker. `count` counts what is not counted yet."""

    def __init__(self, own: Metrics, folder: Path | None, count: Callable[[], None] = _nothing) -> None:
        self._own = own
        self._count = count
        self._folder = folder
        self._file = folder / f"{os.getpid()}.metrics" if folder else None
        self.trouble: Callable[[], str] = str
        """Why this worker's ledger is not written; empty when it is."""

    async def keep_publishing(self) -> None:
        """Leave the counts for the other workers once a second, until cancelled."""
        while self._file is not None:
            self.publish()
            await asyncio.sleep(_SECONDS)

    def publish(self) -> None:
        if self._file is not None:
            self._count()
            self._own.ledger_trouble = bool(self.trouble())
            draft = self._file.with_suffix(".draft")
            draft.write_bytes(pickle.dumps(self._own))
            draft.replace(self._file)

    def all(self) -> list[Metrics]:
        """Our own counts as they are, the others' as they last left them."""
        self._count()
        self._own.ledger_trouble = bool(self.trouble())
        if self._folder is None:
            return [self._own]
        return [self._own, *(_left(path) for path in self._folder.glob("*.metrics") if path != self._file)]

    async def exposed(self, gauges: Gauges = NO_GAUGES) -> tuple[bytes, str]:
        """(text, content type) for Prometheus. Its client library costs 80 ms to import and is not needed before."""
        exposition = await asyncio.to_thread(importlib.import_module, "headgate.telemetry.exposition")
        return exposition.render(self.all(), gauges), exposition.CONTENT_TYPE


def _left(path: Path) -> Metrics:
    """What a worker left. One that fell silent has ended: its counts stay, but nothing is in flight or in trouble."""
    metrics: Metrics = pickle.loads(path.read_bytes())  # noqa: S301 - our own folder, mode 0700
    if time.time() - path.stat().st_mtime > _SILENT_SECONDS:
        metrics.in_flight = 0
        metrics.ledger_trouble = False
    return metrics
