"""Limiters over each kind of counters, on a clock that the test turns."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headgate.limits.counters import Table, TableCounters
from headgate.limits.limiter import Limiter
from headgate.limits.local import LocalTable
from headgate.limits.shared import SharedTable

START = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()


@dataclass
class Clock:
    """Both clocks of the counters; `pass_` turns them together."""

    monotonic: float = 1000.0
    epoch: float = START

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.epoch += seconds

    def set_to(self, when: datetime) -> None:
        self.pass_(when.timestamp() - self.epoch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["local", "shared"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    made: Table = LocalTable() if request.param == "local" else SharedTable(tmp_path / "run/limits", processes=3)
    with contextlib.closing(made):
        yield made


@pytest.fixture
def limiter(table: Table, clock: Clock) -> Limiter:
    return Limiter(TableCounters(table, lambda: clock.monotonic, lambda: clock.epoch))
