"""A counter that all workers of a machine see at once: eight bytes of a file, mapped into memory.

Reading costs no call of the system, so that every request can ask whether anything changed.
"""

import fcntl
import mmap
import os
from pathlib import Path

from headgate.core.errors import StartupError

_SIZE = 8
_LARGEST = 2**64


class Signal:
    """Raised by whoever changed something. Only that the count differs means anything."""

    def __init__(self, file: Path) -> None:
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._file).st_size < _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        except OSError as error:
            raise StartupError(f"The file {file} cannot be kept: {error.strerror}. Set HEADGATE_DATA_DIR.") from None
        self.count: memoryview[int] = memoryview(self._map).cast("Q")
        """The counter in its first place, for who reads it often."""

    def read(self) -> int:
        return self.count[0]

    def bump(self) -> None:
        """Count one up; the lock of a process that dies is gone with it."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self.count[0] = (self.count[0] + 1) % _LARGEST
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self.count.release()
        self._map.close()
        os.close(self._file)
