"""The last row's number and hash, signed, in a file outside the database: what is cut off the end is noticed by it.

The file only follows the chain: it moves on to a row if that row comes after the one in the file.
"""

import fcntl
import hmac
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from headgate.audit.chain import Chain
from headgate.audit.types import Head

log = logging.getLogger(__name__)


class HeadFile:
    """One for all workers of a machine."""

    def __init__(self, path: Path, chain: Chain) -> None:
        self._path = path
        self._chain = chain

    def read(self) -> Head | None:
        """The row that was last here; None without a file. Raises ValueError for one that we did not write."""
        try:
            said = orjson.loads(self._path.read_bytes())
            head = Head(int(said["seq"]), str(said["hash"]))
            signature = str(said["signature"])
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"The file {self._path.name} cannot be read: {error!r}.") from None
        if not hmac.compare_digest(signature.encode(), self._signature(head).encode()):
            raise ValueError(f"The file {self._path.name} does not carry our signature.")
        return head

    def write(self, head: Head) -> None:
        """Raises OSError."""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        file = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, orjson.dumps({**head._asdict(), "signature": self._signature(head)}) + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(self._path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other worker writes meanwhile; take it for moments only."""
        lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _signature(self, head: Head) -> str:
        return self._chain.sign(orjson.dumps(["head", *head]))
