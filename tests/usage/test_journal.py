"""Files of entries: whole lines only, one owner each, nothing lost while the disk is full."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.principal import Principal
from headgate.core.tokens import Tokens
from headgate.core.wishes import Wishes
from headgate.usage.entries import entries_of
from headgate.usage.journal import Journal, age, entry_in, files, line_of, take, waiting
from headgate.usage.types import Entry
from tests.requirements import covers
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of, runs

pytestmark = covers("152")


def entry(number: int = 1, who: Principal | None = None, tags: frozenset[str] = frozenset()) -> Entry:
    run = run_of([attempt(tokens=Tokens(number))], who=who or Principal("k1"), wishes=Wishes(tags=tags))
    return entries_of(run, SETTLED_AT, price_of)[0]


def held(folder: Path) -> list[Entry]:
    """All entries of complete files."""
    found: list[Entry] = []
    for path in files(folder):
        left = take(path)
        if left is not None:
            found += left.entries()
            left.release()
    return found


@given(runs())
def test_an_entry_survives_its_line(run: object) -> None:
    for one in entries_of(run, SETTLED_AT, price_of):  # type: ignore[arg-type]
        line = line_of(one)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert entry_in(line[:-1]) == one


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_line_with_a_changed_or_missing_byte_is_no_entry(at: int, byte: int) -> None:
    line = line_of(entry())[:-1]
    at %= len(line)
    cut, changed = line[:at], line[:at] + bytes([byte]) + line[at + 1 :]
    assert entry_in(cut) is None
    assert changed == line or entry_in(changed) is None


@pytest.mark.parametrize("line", [b"", b"\n", b"{}", b"00000000 ", b"xxxxxxxx []", b"00000000 []", b"\xff" * 40])
def test_what_is_no_line_is_no_entry(line: bytes) -> None:
    assert entry_in(line) is None


def test_a_line_from_before_a_field_was_added_is_still_an_entry() -> None:
    now = entry()
    old = orjson.dumps(tuple(now)[: -len(Entry._field_defaults)])
    assert entry_in(b"%08x %b" % (crc32(old), old)) == now
    short = orjson.dumps(tuple(now)[: -len(Entry._field_defaults) - 1])
    assert entry_in(b"%08x %b" % (crc32(short), short)) is None


def test_bytes_that_no_database_takes_are_replaced() -> None:
    found = entry_in(line_of(entry(who=Principal("k1", user="a\x00b"), tags=frozenset(("x\x00",))))[:-1])
    assert found is not None
    assert found.user == "a?b"
    assert found.tags == '["x?"]'


def test_an_entry_that_was_written_before_the_latest_fields_came_is_still_read() -> None:
    one = entry()
    text = orjson.dumps(tuple(one)[: -len(Entry._field_defaults)])
    assert entry_in(b"%08x %b" % (crc32(text), text)) == one
    text = orjson.dumps(tuple(one)[: -len(Entry._field_defaults) - 1])
    assert entry_in(b"%08x %b" % (crc32(text), text)) is None


def test_what_waits_can_be_read_without_taking_it_the_newest_if_it_is_much(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1)])
    journal.seal()
    journal.append([entry(2), entry(3)])
    assert sorted(one.prompt for one in waiting(tmp_path, 1 << 20)) == [1, 2, 3]
    assert [one.prompt for one in waiting(tmp_path, len(line_of(entry())) + 20)] == [3]
    journal.seal()
    assert [one.prompt for one in held(tmp_path)] == [1, 2, 3]


def test_entries_are_in_the_file_when_append_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1), entry(2)])
    (path,) = files(tmp_path)
    assert path.read_bytes().count(b"\n") == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_written_cannot_be_taken_until_it_is_sealed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1)])
    assert take(files(tmp_path)[0]) is None
    journal.seal()
    assert [one.prompt for one in held(tmp_path)] == [1]


def test_writing_goes_on_in_another_file_after_a_seal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in (1, 2, 3):
        journal.append([entry(number)])
        journal.seal()
    assert len(files(tmp_path)) == 3
    assert [one.prompt for one in held(tmp_path)] == [1, 2, 3]


def test_a_file_that_grew_large_is_sealed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, largest=1000)
    for number in range(20):
        journal.append([entry(number)])
    journal.seal()
    assert len(files(tmp_path)) > 4
    assert [one.prompt for one in held(tmp_path)] == list(range(20))


def test_a_seal_without_entries_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.seal()
    journal.append([])
    assert list(tmp_path.iterdir()) == []
    assert age(tmp_path) == 0.0


def test_the_age_is_that_of_the_oldest_file(tmp_path: Path) -> None:
    (tmp_path / f"{1:019d}-1.journal").touch()
    Journal(tmp_path).append([entry()])
    assert age(tmp_path) > 10**9


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1)])
    journal.seal()
    (path,) = files(tmp_path)
    with path.open("ab") as file:
        file.write(line_of(entry(2))[:50])
    left = take(path)
    assert left is not None
    assert [one.prompt for one in left.entries()] == [1]
    left.remove()
    left.release()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_line_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / f"{1:019d}-1.journal"
    path.write_bytes(line_of(entry(1)) + b"rubbish\n" + line_of(entry(2)))
    left = take(path)
    assert left is not None
    assert [one.prompt for one in left.entries()] == [1, 2]
    left.remove()
    left.release()
    assert [one.name for one in tmp_path.iterdir()] == [f"{1:019d}-1.damaged"]


def full_disk(after: int) -> Callable[[int, bytes], int]:
    """`os.write` of a disk with room for so many bytes of the next write."""
    write = os.write

    def short(file: int, data: bytes) -> int:
        if after == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:after])

    return short


@pytest.mark.parametrize("room", [0, 30])
def test_a_full_disk_loses_nothing_and_tears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1)])
    monkeypatch.setattr("headgate.usage.journal.os.write", full_disk(room))
    journal.append([entry(2)])
    journal.append([entry(3)])
    assert journal.trouble
    assert journal.waiting
    monkeypatch.undo()
    journal.seal()
    assert (journal.trouble, journal.waiting) == ("", 0)
    journal.append([entry(4)])
    journal.seal()
    assert [one.prompt for one in held(tmp_path)] == [1, 2, 3, 4]


def test_a_folder_that_is_gone_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    folder.rmdir()
    journal.append([entry(1)])
    assert journal.trouble
    folder.mkdir()
    journal.append([entry(2)])
    journal.seal()
    assert [one.prompt for one in held(folder)] == [1, 2]


def test_the_file_of_a_process_that_ended_can_be_taken(tmp_path: Path) -> None:
    program = """
import pathlib, sys
from headgate.usage.journal import Journal, entry_in
journal = Journal(pathlib.Path(sys.argv[1]))
journal.append([entry_in(sys.stdin.buffer.read().rstrip(b"\\n"))])
print("written", flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, input=line_of(entry(7)), capture_output=True, timeout=30, check=False)
    assert result.stdout == b"written\n"
    assert [one.prompt for one in held(tmp_path)] == [7]
