"""The table of all workers of one machine: a mapped file, guarded by a lock that is held for microseconds.

Each process has cells of its own in every row for what its requests hold, and keeps a lock on a file of its own for as
long as it lives. The system releases the locks of a killed process, so that others neither wait for it nor count what
it held. Who comes when no other process lives starts with an empty table, for the ledger knows what was spent.
"""

import fcntl
import mmap
import os
import time
from array import array
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from headgate.core.bounds import Period
from headgate.core.errors import LimitsUnavailable, StartupError
from headgate.limits.counters import FULL, ROW, is_idle

_MAGIC = 0x4847_4C49_4D49_5402
"""Names the layout; raised by one whenever that changes."""
_BYTES = 8
_HEADER = 4
"""Cells of the header: magic, rows there is room for (a power of two), processes, rows in use."""
_USED = 3
_DIGEST = ROW
_STREAMS = ROW + 1
_TRIES = 32
_MOST_KNOWN = 200_000
_LOOK_SECONDS = 0.2


class SharedTable:
    """After the header an index (open addressing: a row's number from 1 on, or 0), then the rows.

    Rows are found by a digest of the subject of 63 bits. `subjects`: how many there is room for; `processes`: how many
    may share the table at once. The first one decides.
    """

    def __init__(self, path: Path, *, subjects: int = 100_000, processes: int = 16) -> None:
        """Raises StartupError when as many processes use the table already, or those of another version."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._known: dict[str, tuple[int, int]] = {}
        self._looked_at = 0.0
        self._lives: list[int] = []
        self._file = _opened(path)
        self.lock()
        try:
            self._rows, self._processes, self._number = self._join(_room_for(subjects), processes)
            self._width = _width(self._processes)
            self.own = _STREAMS + self._number, _STREAMS + self._processes + self._number
            self._first = _HEADER + self._rows
            self._map = mmap.mmap(self._file, 0)
            self.cells = memoryview(self._map).cast("q")
            self._empty(self._number)
        except BaseException:
            self._close_files()
            raise
        self.unlock()

    def lock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def unlock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def find(self, subject: str, slot: int, numbers: Mapping[Period, int]) -> int:
        known = self._known.get(subject)
        if known is not None and self.cells[known[0] + _DIGEST] == known[1]:
            return known[0]
        digest = _digest(subject)
        row = self._look_up(digest, slot, numbers)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[subject] = row, digest
        return row

    def peek(self, subject: str) -> int | None:
        digest = _digest(subject)
        step = digest >> 32 | 1
        for probe in range(digest, digest + _TRIES * step, step):
            number = self.cells[_HEADER + probe % self._rows]
            if not number:
                return None
            row = self._first + (number - 1) * self._width
            if self.cells[row + _DIGEST] == digest:
                return row
        return None

    def streams(self, row: int) -> int:
        first = row + _STREAMS
        return sum(self.cells[first : first + self._processes])

    def reserved(self, row: int) -> int:
        first = row + _STREAMS + self._processes
        return sum(self.cells[first : first + self._processes])

    def bury(self) -> bool:
        """Looks a few times a second at most, for it is asked with every refusal."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        found = False
        for process, life in enumerate(self._lives[: self._processes]):
            if process != self._number and _is_free(life):
                found = self._empty(process) or found
        return found

    def close(self) -> None:
        self.lock()
        self._empty(self._number)
        self.cells.release()
        self._map.close()
        self._close_files()

    def _join(self, rows: int, processes: int) -> tuple[int, int, int]:
        """(rows, processes, our number) of the table there is, or of a new one when nobody uses it."""
        header = array("q", os.pread(self._file, _HEADER * _BYTES, 0) or bytes(_HEADER * _BYTES))
        is_ours = header[0] == _MAGIC
        self._lives = [
            _opened(self._path.with_suffix(f".{number}"))
            for number in range(max(processes, header[2] if is_ours else 0))
        ]
        free = [number for number, life in enumerate(self._lives) if _is_free(life)]
        if len(free) == len(self._lives):
            os.ftruncate(self._file, 0)
            os.ftruncate(self._file, _BYTES * (_HEADER + rows + rows * _width(processes)))
            os.pwrite(self._file, array("q", (_MAGIC, rows, processes, 0)).tobytes(), 0)
        elif is_ours:
            rows, processes = header[1], header[2]
        else:
            raise StartupError(f"{self._path} is in use by another version of this server; stop it first.")
        own = min(free, default=processes)
        if own >= processes:
            raise StartupError(f"{self._path} is in use by {processes} processes already, as many as may share it.")
        fcntl.flock(self._lives[own], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return rows, processes, own

    def _look_up(self, digest: int, slot: int, numbers: Mapping[Period, int]) -> int:
        """The row with this digest, else a new one, else one that nobody needs among those looked at."""
        cells, spare = self.cells, 0
        step = digest >> 32 | 1  # of its own for each subject, so that no long runs of taken places come up
        for probe in range(digest, digest + _TRIES * step, step):
            place = _HEADER + probe % self._rows
            number = cells[place]
            if not number:
                return self._taken(spare, digest) if spare else self._made(place, digest)
            row = self._first + (number - 1) * self._width
            if cells[row + _DIGEST] == digest:
                return row
            if not spare and self._is_spare(row, slot, numbers):
                spare = row
        if spare:
            return self._taken(spare, digest)
        raise LimitsUnavailable(FULL, retry_after=60)

    def _is_spare(self, row: int, slot: int, numbers: Mapping[Period, int]) -> bool:
        if not self.cells[row + _DIGEST]:
            return True
        return is_idle(self.cells, row, slot, numbers) and not self.streams(row) and not self.reserved(row)

    def _made(self, place: int, digest: int) -> int:
        """A new row. It counts only once the index names it, whenever we are killed."""
        number = self.cells[_USED] + 1
        if number > self._rows:
            raise LimitsUnavailable(FULL, retry_after=60)
        self.cells[_USED] = number
        row = self._first + (number - 1) * self._width
        self.cells[row + _DIGEST] = digest
        self.cells[place] = number
        return row

    def _taken(self, row: int, digest: int) -> int:
        """A row given to another subject. In between it is nobody's."""
        self.cells[row + _DIGEST] = 0
        self.cells[row : row + self._width] = array("q", bytes(_BYTES * self._width))
        self.cells[row + _DIGEST] = digest
        return row

    def _empty(self, process: int) -> bool:
        """Drop what a process holds; whether it held anything."""
        found = False
        used = self.cells[_USED]
        nothing = array("q", bytes(_BYTES * used))
        for column in (process, process + self._processes):
            first = self._first + _STREAMS + column
            held = self.cells[first : first + used * self._width : self._width]
            if any(held):
                found = True
                held[:] = nothing
        return found

    def _close_files(self) -> None:
        for file in (*self._lives, self._file):
            os.close(file)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(life: int) -> bool:
    """Whether no process keeps the lock on this file."""
    try:
        fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(life, fcntl.LOCK_UN)
    return True


def _room_for(subjects: int) -> int:
    """A power of two at least twice as large, so that a few looks find a free place."""
    return 1 << (2 * subjects - 1).bit_length()


def _width(processes: int) -> int:
    """Cells of a row, to whole cache lines."""
    return -(-(_STREAMS + 2 * processes) // 8) * 8


def _digest(subject: str) -> int:
    return int.from_bytes(blake2b(subject.encode(), digest_size=8).digest(), "big") >> 1 or 1
