"""Threads that work for an event loop, one thing after another. Knows no database.

A matter of the standard library's executors takes about twice as long there and back.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

Made = TypeVar("Made")


class _Done(NamedTuple):
    future: "asyncio.Future[Any]"
    made: Any
    error: BaseException | None


class _Bell:
    """Wakes an event loop, so that it settles what threads have done.

    A thread that writes to a pipe lets go of the interpreter meanwhile. With `call_soon_threadsafe` it would not: the
    loop would wake, find the interpreter taken, and sleep again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._done: deque[_Done] = deque()
        self._heard, self._rung = os.pipe()
        os.set_blocking(self._heard, False)
        os.set_blocking(self._rung, False)
        loop.add_reader(self._heard, self._settle)

    def ring(self, done: _Done) -> None:
        self._done.append(done)
        with suppress(BlockingIOError):  # so full of what was not heard yet that it will be
            os.write(self._rung, b".")

    def take_down(self) -> None:
        """In the loop's thread, once nobody rings any more."""
        if not self.loop.is_closed():
            self.loop.remove_reader(self._heard)
        os.close(self._heard)
        os.close(self._rung)

    def _settle(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._heard, 4096)
        while self._done:
            future, made, error = self._done.popleft()
            if future.cancelled():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(made)


class _Job(NamedTuple):
    call: Callable[[], Any]
    future: "asyncio.Future[Any]"
    bell: _Bell


class Workers:
    """`count` threads that share what there is to do; they begin with the first of it."""

    def __init__(self, name: str, count: int = 1) -> None:
        self._name = name
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._bell: _Bell | None = None

    def do(self, call: Callable[[], Made]) -> "asyncio.Future[Made]":
        """What is cancelled before its turn comes is not begun."""
        loop, bell = asyncio.get_running_loop(), self._bell
        if bell is None or bell.loop is not loop:
            bell = self._begin(loop)
        future: asyncio.Future[Made] = loop.create_future()
        self._jobs.put(_Job(call, future, bell))
        return future

    async def close(self) -> None:
        """Once all is done that was begun."""
        await asyncio.to_thread(self._end)
        if self._bell is not None:
            self._bell._settle()
            self._bell.take_down()
            self._bell = None

    def _end(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> _Bell:
        """For a loop; threads that worked for another one, which has ended, work for this one."""
        if self._bell is not None:
            self._end()
            self._bell.take_down()
        self._bell = bell = _Bell(loop)
        self._threads = [
            Thread(target=self._work, name=f"{self._name}-{number}", daemon=True) for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()
        return bell

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            try:
                done = _Done(job.future, job.call(), None)
            except BaseException as caught:  # noqa: BLE001 - it is told to whoever asked
                done = _Done(job.future, None, caught)
            job.bell.ring(done)
            del job, done
