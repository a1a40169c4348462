"""What makes room in the folder of recorded answers: those whose time is over go, then the oldest."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from headgate.idempotency.folder import DRAFT, SUFFIX, is_free

_ABANDONED_SECONDS = 60.0
_SPARE = 8
"""When there is too much, one part in so many is made free beyond."""
_LOCK = "sweep.lock"


class Swept(NamedTuple):
    """How many went because their time was over and for lack of room, and the bytes that are left."""

    expired: int = 0
    displaced: int = 0
    left: int = 0


class _Kept(NamedTuple):
    written: float
    size: int
    path: Path


def sweep(folder: Path, keep_seconds: float, max_bytes: int) -> Swept | None:
    """Make room; None while another process does. Answers that are being made stay. Raises OSError."""
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        return _sweep(folder, keep_seconds, max_bytes) if is_free(lock) else None
    finally:
        os.close(lock)


def _sweep(folder: Path, keep_seconds: float, max_bytes: int) -> Swept:
    now = time.time()
    kept: list[_Kept] = []
    expired = 0
    for one in _files(folder):
        age = now - one.written
        if one.path.suffix == DRAFT:
            if age > _ABANDONED_SECONDS:
                _remove(one.path)
        elif age > keep_seconds and _remove(one.path):
            expired += 1
        else:
            kept.append(one)
    left = sum(one.size for one in kept)
    displaced = 0
    if left > max_bytes:
        for one in sorted(kept):
            if left <= max_bytes - max_bytes // _SPARE:
                break
            if _remove(one.path):
                left -= one.size
                displaced += 1
    return Swept(expired, displaced, left)


def _files(folder: Path) -> list[_Kept]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((SUFFIX, DRAFT)):
                with suppress(FileNotFoundError):
                    known = entry.stat(follow_symlinks=False)
                    found.append(_Kept(known.st_mtime, max(known.st_size, known.st_blocks * 512), Path(entry.path)))
    return found


def _remove(path: Path) -> bool:
    """Remove a file that nobody writes."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not is_free(file) or path.stat().st_ino != os.fstat(file).st_ino:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    finally:
        os.close(file)
    return True
