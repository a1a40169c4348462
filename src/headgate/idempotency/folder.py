"""The folder of recorded answers: one file each, known by its name alone. Knows neither callers nor models.

Whoever makes an answer holds the lock of its file until the end; the kernel takes a dead process's locks away, so that
a file without a lock and without an end is one whose maker died. A file gets its name when it is locked and says whose
answer it will be; a name is given to another file only by whoever holds the lock of the one before.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from headgate.idempotency.frames import Damaged, Reader
from headgate.idempotency.types import Ended, Head, MakerGone, Started

_READ = 1 << 18
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
_LOOKS_PER_CHECK = 5
SUFFIX = ".answer"
DRAFT = ".draft"


def is_free(file: int) -> bool:
    """Whether nobody holds the file's lock; if so it is ours from now on."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Folder:
    """All answers that are kept."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path

    def place(self, name: str) -> Path:
        return self.path / f"{name}{SUFFIX}"

    def publish(self, name: str, content: bytes, *, replaces: bool = False) -> int | None:
        """A file of this name, locked and open for writing; None if there is one already. Raises OSError.

        `replaces` is for whoever holds the lock of the one that is there.
        """
        draft = self.path / f"{name}.{time.time_ns()}-{os.getpid()}{DRAFT}"
        file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(file, content)
            if replaces:
                draft.rename(self.place(name))
                return file
            self.place(name).hardlink_to(draft)
            draft.unlink()
        except OSError as error:
            os.close(file)
            draft.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):
                return None
            raise
        return file

    def open(self, name: str) -> "Spooled | None":
        """What is kept under a name; raises OSError."""
        try:
            return Spooled(os.open(self.place(name), os.O_RDONLY | os.O_CLOEXEC), self.place(name))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Raises OSError."""
        self.place(name).unlink(missing_ok=True)


def write_all(file: int, data: bytes) -> None:
    """Raises OSError when not all could be written."""
    written = os.write(file, data)
    if written < len(data):
        raise OSError(f"{written} of {len(data)} bytes were written")


class Spooled:
    """An answer as its file tells it: a complete one, or one that is being made in another process."""

    def __init__(self, file: int, place: Path) -> None:
        self._file = file
        self._place = place
        self._reader = Reader()
        self._started: Started | None = None
        self._pieces: list[bytes] = []
        self.head = Head("", "")
        self.ended: Ended | None = None
        self.is_damaged = False
        self.look()

    def look(self) -> bool:
        """Read what came since the last look; whether anything did."""
        came = False
        try:
            while self.ended is None and (data := os.read(self._file, _READ)):
                came = True
                for frame in self._reader.feed(data):
                    self._take(frame)
        except Damaged:
            self.is_damaged = True
        return came

    def _take(self, frame: Head | Started | bytes | Ended) -> None:
        if type(frame) is bytes:
            self._pieces.append(frame)
        elif type(frame) is Started:
            self._started = frame
        elif type(frame) is Ended:
            self.ended = frame
        elif type(frame) is Head:
            self.head = frame

    @property
    def is_usable(self) -> bool:
        """Complete, and not one that nobody shall see again."""
        return not self.is_damaged and self.ended is not None and self.ended.ending != "dropped"

    def age(self) -> float:
        """Seconds since it was last written."""
        return time.time() - os.fstat(self._file).st_mtime

    def take(self) -> bool:
        """Hold its lock, if it is nobody's and the file is still the one of its name."""
        if not is_free(self._file):
            return False
        try:
            known = self._place.stat()
        except FileNotFoundError:
            known = None
        mine = os.fstat(self._file)
        if known is not None and (known.st_ino, known.st_dev) == (mine.st_ino, mine.st_dev):
            return True
        self.release()
        return False

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    async def events(self) -> AsyncGenerator[Started | bytes]:
        """See Answer. Another process cannot wake us: the file is looked at up to fifty times a second."""
        pause, looks = _SHORTEST_PAUSE, 0
        while True:
            if self._started is not None:
                started, self._started = self._started, None
                yield started
            if self._pieces:
                data = b"".join(self._pieces)
                self._pieces.clear()
                yield data
            if self.ended is not None:
                return
            if self.is_damaged:
                raise MakerGone
            if self.look():
                pause = _SHORTEST_PAUSE
                continue
            looks += 1
            if looks % _LOOKS_PER_CHECK == 0 and self._is_left():
                raise MakerGone
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _is_left(self) -> bool:
        """Whether its maker is gone and left nothing more to read."""
        if not is_free(self._file):
            return False
        self.release()
        return not self.look()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
