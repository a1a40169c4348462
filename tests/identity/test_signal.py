"""The counter that all workers see at once."""

import multiprocessing
import stat
from pathlib import Path

import pytest

from headgate.core.errors import StartupError
from headgate.identity.signal import Signal
from tests.requirements import covers

pytestmark = covers("110")


def bump_often(file: Path, times: int) -> None:
    signal = Signal(file)
    for _ in range(times):
        signal.bump()


def test_processes_count_together_and_all_see_it(tmp_path: Path) -> None:
    file = tmp_path / "run" / "signal"
    signal = Signal(file)
    assert signal.read() == 0
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=bump_often, args=(file, 500)) for _ in range(2)]
    for other in others:
        other.start()
    bump_often(file, 500)
    for other in others:
        other.join(30)
    assert signal.read() == 1500
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    signal.close()


def test_it_outlives_its_readers(tmp_path: Path) -> None:
    first = Signal(tmp_path / "signal")
    first.bump()
    first.close()
    second = Signal(tmp_path / "signal")
    assert second.read() == 1
    second.close()


def test_a_place_where_it_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="HEADGATE_DATA_DIR"):
        Signal(tmp_path / "file" / "signal")
