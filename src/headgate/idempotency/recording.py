"""An answer while it is made in this process: in memory for the callers here, in a file for later and for others.

The file may fail, as on a full disk; the callers here get their answer all the same.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any
from zlib import crc32

from headgate.idempotency.folder import Folder, write_all
from headgate.idempotency.frames import ended_frame, head_frame, piece_frame, started_frame
from headgate.idempotency.types import Ended, Head, Started

log = logging.getLogger(__name__)
_WINDOW = 1 << 20


class Recording:
    """See Answer. One that passes `largest` bytes is no more kept: its maker then waits for those who listen."""

    def __init__(self, folder: Folder, name: str, head: Head, largest: int) -> None:
        self.head = head
        self.ended: Ended | None = None
        self.maker: asyncio.Task[Any] | None = None
        """Whose task makes it; cancelled when the answer can neither be kept nor does anybody listen."""
        self.is_too_large = False
        self.is_unheard = False
        """Its maker was cancelled because of that."""
        self.size = 0
        self.when_ended: Callable[[Recording], None] = _nothing
        self._folder = folder
        self._name = name
        self._largest = largest
        self._file = -1
        self._check = 0
        self._started: Started | None = None
        self._pieces: list[bytes] = []
        self._passed = 0
        """How many pieces were let go."""
        self._listeners: dict[object, int] = {}
        """How many pieces each has taken."""
        self._waiting: list[asyncio.Future[None]] = []

    def open(self, *, replaces: bool) -> bool:
        """Begin the file; false if there is one already. A disk that cannot be written is no reason not to answer."""
        head = head_frame(self.head)
        try:
            file = self._folder.publish(self._name, head, replaces=replaces)
        except OSError as error:
            log.error("an answer cannot be kept for repeats: %s", error)
            return True
        if file is None:
            return False
        self._file, self._check = file, crc32(head)
        return True

    @property
    def is_heard(self) -> bool:
        """Whether somebody here listens."""
        return bool(self._listeners)

    def start(self, started: Started) -> None:
        self._started = started
        self._write(started_frame(started))
        self._tell()

    async def piece(self, data: bytes) -> None:
        """Add a piece. Waits only where the answer is too large to be kept."""
        self._pieces.append(data)
        self.size += len(data)
        if self.is_too_large:
            self._tell()
            await self._room()
        elif self.size > self._largest:
            self._overflow()
            self._tell()
            await self._room()
        else:
            self._write(piece_frame(data))
            self._tell()

    def end(self, ended: Ended) -> None:
        """No more comes. A dropped answer is seen by those who listen, and by nobody who comes later."""
        self.ended = ended = Ended("too_large", *ended[1:]) if self._is_lost(ended) else ended
        if self._file >= 0:
            self._end_file(ended)
        self.when_ended(self)
        self._tell()

    async def events(self) -> AsyncGenerator[Started | bytes]:
        """See Answer."""
        me, told = object(), False
        self._listeners[me] = 0
        try:
            while True:
                if self._started is not None and not told:
                    told = True
                    yield self._started
                if (taken := self._listeners[me]) < (came := self._passed + len(self._pieces)):
                    new = self._pieces[taken - self._passed :]
                    yield new[0] if len(new) == 1 else b"".join(new)
                    self._listeners[me] = came
                    self._let_go()
                elif self.ended is not None:
                    return
                else:
                    await self._news()
        finally:
            del self._listeners[me]
            self._let_go()

    def close(self) -> None:
        """There is nothing to let go of: the file belongs to the maker."""

    def _is_lost(self, ended: Ended) -> bool:
        return self.is_too_large and ended.ending == "kept"

    def _overflow(self) -> None:
        """Others are told at once that no more comes; the lock is held on, and the place kept, until the end."""
        self.is_too_large = True
        self._write(ended_frame(Ended("too_large", "ok", is_whole=False), self._check))

    async def _room(self) -> None:
        """Until those who listen have taken most of what came."""
        self._let_go()
        while self._listeners and sum(map(len, self._pieces)) > _WINDOW:
            await self._news()
        if not self._listeners and self.maker is not None:
            self.is_unheard = True
            self.maker.cancel()
            await asyncio.sleep(0)  # where the maker learns of it

    def _let_go(self) -> None:
        """Of a large answer, keep only what somebody has not taken yet."""
        if not self.is_too_large:
            return
        slowest = min(self._listeners.values(), default=self._passed + len(self._pieces))
        del self._pieces[: slowest - self._passed]
        self._passed = slowest
        self._tell()

    def _write(self, frame: bytes) -> None:
        if self._file < 0:
            return
        try:
            write_all(self._file, frame)
        except OSError as error:
            self._give_up(error)
        else:
            self._check = crc32(frame, self._check)

    def _end_file(self, ended: Ended) -> None:
        try:
            if ended.ending == "dropped":
                self._folder.remove(self._name)
            elif ended.ending == "too_large":
                self._leave_note(ended)
            if not self.is_too_large:
                write_all(self._file, ended_frame(ended, self._check))
        except OSError as error:
            self._give_up(error)
        else:
            os.close(self._file)
            self._file = -1

    def _leave_note(self, ended: Ended) -> None:
        """In the answer's place, a file that only tells that there was one."""
        head = head_frame(self.head)
        note = self._folder.publish(self._name, head + ended_frame(ended, crc32(head)), replaces=True)
        assert note is not None
        os.close(note)

    def _give_up(self, error: OSError) -> None:
        log.error("the answer to %s cannot be kept for repeats: %s", self.head.run, error)
        with suppress(OSError):
            self._folder.remove(self._name)
        os.close(self._file)
        self._file = -1

    def _tell(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def _news(self) -> None:
        news = asyncio.get_running_loop().create_future()
        self._waiting.append(news)
        await news


def _nothing(_: Recording) -> None:
    return None
