"""What was spent, kept in files until it is in the database: one write per settled run, so that a killed process loses
nothing it had told. Knows no database.

A file belongs to the worker that holds its lock. One without a lock is complete, whether its worker sealed it or died:
the kernel takes a dead process's locks away. Each line has a check sum, for a machine that stops may leave half of one.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import orjson

from headgate.usage.types import Entry

log = logging.getLogger(__name__)
_LARGEST = 1 << 20
_MOST_WAITING = 64 << 20
_MOST_REMEMBERED = 4
"""Files whose entries are kept in memory too: about what comes in a second under the heaviest load, some 10 MB."""
_FIELDS = len(Entry._fields)
_DEFAULTS = list(Entry._field_defaults.values())
_FEWEST = _FIELDS - len(_DEFAULTS)
"""Fields of the oldest lines that are still read; what came later has a default."""
_ZERO = b"\\u0000"
"""A zero byte within a text, as JSON writes it."""
_HEADER = 9
"""Eight digits of the check sum and a space."""


def line_of(entry: Entry) -> bytes:
    """One line of a journal."""
    text = orjson.dumps(tuple(entry))
    return b"%08x %b\n" % (crc32(text), text)


def entry_in(line: bytes) -> Entry | None:
    """The entry of a line without its end; None if the line is not whole.

    Zero bytes within texts, which a caller can send and no database takes, are replaced.
    """
    text = line[_HEADER:]
    if line[:_HEADER] != b"%08x " % crc32(text):
        return None
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if _ZERO in text:
        values = [value.replace("\0", "?") if isinstance(value, str) else value for value in values]
    missing = _FIELDS - len(values)
    if missing:
        if not 0 < missing <= len(_DEFAULTS):
            return None
        values += _DEFAULTS[-missing:]
    return Entry._make(values)


class Journal:
    """One worker's file, made when the first entry comes and again after it was sealed.

    What cannot be written now, because the disk is full, is kept and written with the next.
    """

    def __init__(self, folder: Path, largest: int = _LARGEST) -> None:
        self._folder = folder
        self._largest = largest
        self._file = -1
        self._name = ""
        self._size = 0
        self._own: list[Entry] | None = []
        """What the open file holds; None where it has to be read."""
        self._remembered: dict[str, list[Entry]] = {}
        self._waiting = bytearray()
        self.trouble = ""
        """Why the last write failed; empty when it did not."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the entries of one run at once; never raises for the disk's sake."""
        if not entries:
            return
        data = line_of(entries[0]) if len(entries) == 1 else b"".join(map(line_of, entries))
        if not self._waiting:
            if self._own is not None:
                self._own += entries
            if data.find(_ZERO) >= 0:  # `in` tries first whether it is a number, at ten times the price
                self._own = None
            self._write(data)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting += data
        else:
            log.error("no room is left for %d entries of what was spent; they are lost", len(entries))

    def seal(self) -> None:
        """Give the file away, so that it is drained; tries again to write what waits."""
        if self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            self._own = None
            self._write(data)
        if self._file >= 0:
            os.close(self._file)
            if self._own is not None and len(self._remembered) < _MOST_REMEMBERED:
                self._remembered[self._name] = self._own
            self._file, self._own = -1, []

    def remembered(self) -> dict[str, list[Entry]]:
        """Entries of files that were sealed since the last call, by name, so that they need not be read. Not of all."""
        remembered, self._remembered = self._remembered, {}
        return remembered

    @property
    def waiting(self) -> int:
        """Bytes that could not be written yet."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether what comes next would be lost."""
        return len(self._waiting) >= _MOST_WAITING

    def _write(self, data: bytes) -> None:
        try:
            if self._file < 0:
                self._open()
            written = os.write(self._file, data)
            if written < len(data):
                os.ftruncate(self._file, self._size)
                raise OSError(f"{written} of {len(data)} bytes were written")
        except OSError as error:
            if not self.trouble:
                log.error("the journal of what was spent cannot be written; entries wait in memory: %s", error)
            self.trouble = str(error)
            self._waiting += data
            self._own = None
            return
        if self.trouble:
            self.trouble = ""
            log.warning("the journal of what was spent is written again")
        self._size += written
        if self._size >= self._largest:
            self.seal()

    def _open(self) -> None:
        """Lock the file before it gets its name: nobody may take it for one that was left."""
        name = f"{time.time_ns():019d}-{os.getpid()}"
        draft = self._folder / f"{name}.draft"
        file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.rename(self._folder / f"{name}.journal")
        except OSError:
            os.close(file)
            raise
        self._file, self._name, self._size = file, f"{name}.journal", 0


class Leftover:
    """A complete file, held while it is drained."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file
        self.damaged: list[bytes] = []
        """Lines that are not whole, but for a last one that was cut."""

    def entries(self) -> Iterator[Entry]:
        """All that is whole, in order."""
        content = self.path.read_bytes()
        lines = content.split(b"\n")
        cut = lines.pop()
        for line in lines:
            if entry := entry_in(line):
                yield entry
            else:
                self.damaged.append(line)
        if cut:
            log.warning("the journal %s ends in the middle of an entry, which was not settled", self.path.name)

    def remove(self) -> None:
        """Its entries are kept elsewhere now. Lines that could not be read are set aside for a person to look at."""
        if self.damaged:
            kept = self.path.with_suffix(".damaged")
            kept.write_bytes(b"\n".join(self.damaged) + b"\n")
            log.error("%d lines of a journal could not be read; they are in %s", len(self.damaged), kept)
        self.path.unlink(missing_ok=True)

    def release(self) -> None:
        os.close(self._file)


def take(path: Path) -> Leftover | None:
    """Hold a file that nobody writes; None if somebody does, or it is gone."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return Leftover(path, file)


def files(folder: Path) -> list[Path]:
    """Every journal, the oldest first."""
    return sorted(folder.glob("*.journal"))


def waiting(folder: Path, most: int) -> list[Entry]:
    """What is not in the database yet, of all workers, read without taking it; of `most` bytes, the newest."""
    entries: list[Entry] = []
    for path in reversed(files(folder)):
        if most <= 0:
            break
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # drained meanwhile
            continue
        lines = content[-most:].split(b"\n")
        most -= len(content)
        entries += [entry for line in lines if (entry := entry_in(line)) is not None]
    return entries


def age(folder: Path) -> float:
    """Seconds since the oldest journal was begun; 0.0 if there is none."""
    oldest = min((path.name for path in folder.glob("*.journal")), default="")
    begun = oldest.partition("-")[0]
    return max(0.0, time.time() - int(begun) / 1e9) if begun.isdecimal() else 0.0


def size(folder: Path) -> int:
    """Bytes of all journals."""
    total = 0
    for path in folder.glob("*.journal"):
        with contextlib.suppress(FileNotFoundError):  # it was drained meanwhile
            total += path.stat().st_size
    return total
