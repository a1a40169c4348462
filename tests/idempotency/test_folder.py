"""The moments between two looks at a file: what another process did there is never missed and never undone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.idempotency.folder import Folder, Spooled
from headgate.idempotency.frames import head_frame
from headgate.idempotency.keeper import Keeper
from headgate.idempotency.recording import Recording
from headgate.idempotency.types import Ended, Head, IdempotencySettings, Started
from tests.requirements import covers

pytestmark = covers("154")
HEAD = Head("req_1", "asked")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def made(folder: Folder) -> Recording:
    """An answer that another process makes."""
    recording = Recording(folder, "name", HEAD, 1000)
    assert recording.open(replaces=False)
    recording.start(Started(200, [], "small"))
    return recording


@pytest.fixture
def keeper(folder: Folder) -> Keeper:
    return Keeper(folder, b"secret", IdempotencySettings())


def looked_up(folder: Folder) -> Spooled:
    found = folder.open("name")
    assert found is not None
    return found


def dead(recording: Recording) -> None:
    os.close(recording._file)
    recording._file = -1


def test_an_answer_that_ends_between_the_look_and_the_lock_is_not_made_again(
    folder: Folder, made: Recording, keeper: Keeper
) -> None:
    found = looked_up(folder)
    made.end(Ended("kept"))
    assert keeper._judge(found, "name", HEAD) is None
    found.close()
    claim = keeper._look_up("name", HEAD)
    assert claim is not None
    assert claim.making is None
    claim.answer.close()


def test_of_two_who_find_a_dead_processs_file_one_takes_its_place(
    folder: Folder, made: Recording, keeper: Keeper
) -> None:
    dead(made)
    late = looked_up(folder)
    first = keeper._look_up("name", HEAD)
    assert first is not None
    assert first.making is not None
    assert not late.take()
    late.close()
    first.making.end(Ended("kept"))


def test_of_two_who_find_nothing_one_makes_it(folder: Folder) -> None:
    first = folder.publish("name", head_frame(HEAD))
    assert first is not None
    assert folder.publish("name", head_frame(HEAD)) is None
    assert [file.name for file in folder.path.iterdir()] == ["name.answer"]
    os.close(first)


def write_more(made: Recording) -> None:
    made._write(b"P\0\0\0\x01x")
    dead(made)


def end_it(made: Recording) -> None:
    made.end(Ended("kept"))


@pytest.mark.parametrize("last", [write_more, end_it])
def test_what_was_written_just_before_the_lock_came_free_is_read(
    folder: Folder, made: Recording, last: Callable[[Recording], None]
) -> None:
    found = looked_up(folder)
    assert not found._is_left()
    last(made)
    assert not found._is_left()
    assert found._is_left()
    found.close()


def test_a_dropped_answer_is_only_for_those_who_had_found_it(folder: Folder, made: Recording) -> None:
    found = looked_up(folder)
    made.end(Ended("dropped"))
    found.look()
    assert found.ended == Ended("dropped")
    assert not found.is_usable
    assert folder.open("name") is None
    found.close()
