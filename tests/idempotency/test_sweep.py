"""Making room: what is over goes, then the oldest, never what is being made."""

import os
import time
from pathlib import Path

import pytest

from headgate.idempotency.folder import Folder
from headgate.idempotency.sweep import Swept, sweep
from tests.requirements import covers

pytestmark = covers("154")
BLOCK = 4096


def keep(folder: Path, name: str, age: float, size: int = BLOCK, suffix: str = ".answer") -> Path:
    file = folder / f"{name}{suffix}"
    file.write_bytes(b"x" * size)
    os.utime(file, (time.time() - age,) * 2)
    return file


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"sweep.lock"}


def test_only_what_is_over_goes_while_there_is_room(tmp_path: Path) -> None:
    keep(tmp_path, "old", 101)
    keep(tmp_path, "young", 99)
    swept = sweep(tmp_path, 100, 100 * BLOCK)
    assert swept is not None
    assert (swept.expired, swept.displaced) == (1, 0)
    assert names(tmp_path) == {"young.answer"}


def test_the_oldest_go_until_an_eighth_is_free(tmp_path: Path) -> None:
    for number in range(20):
        keep(tmp_path, f"{number:02}", 50 - number)
    assert sweep(tmp_path, 100, 16 * BLOCK) == Swept(0, 6, 14 * BLOCK)
    assert names(tmp_path) == {f"{number:02}.answer" for number in range(6, 20)}


def test_what_is_being_made_stays_however_old(tmp_path: Path) -> None:
    file = Folder(tmp_path).publish("made", b"x" * 100_000)
    assert file is not None
    os.utime(tmp_path / "made.answer", (0, 0))
    assert sweep(tmp_path, 100, BLOCK) is not None
    assert names(tmp_path) == {"made.answer"}
    os.close(file)
    assert sweep(tmp_path, 100, BLOCK) is not None
    assert names(tmp_path) == set()


def test_drafts_that_a_dead_process_left_go_after_a_while(tmp_path: Path) -> None:
    keep(tmp_path, "left", 61, suffix=".draft")
    keep(tmp_path, "made", 1, suffix=".draft")
    sweep(tmp_path, 1000, 100 * BLOCK)
    assert names(tmp_path) == {"made.draft"}


def test_one_process_sweeps_at_a_time(tmp_path: Path) -> None:
    import fcntl

    keep(tmp_path, "old", 101)
    with (tmp_path / "sweep.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep(tmp_path, 100, BLOCK) is None
    assert sweep(tmp_path, 100, BLOCK) == Swept(1, 0, 0)


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sweep(tmp_path / "gone", 100, BLOCK)
