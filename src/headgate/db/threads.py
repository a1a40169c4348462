"""Threads that work for an event loop, one thing after another. Knows no database.

A matter of the standard library's executors takes about twice as long there and back.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

Made = TypeVar("Made")


class _Job(NamedTuple):
    call: Callable[[], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Workers:
    """`count` threads that share what there is to do; they begin with the first of it."""

    def __init__(self, name: str, count: int = 1) -> None:
        self._name = name
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def do(self, call: Callable[[], Made]) -> "asyncio.Future[Made]":
        """What is cancelled before its turn comes is not begun."""
        if not self._threads:
            self._begin()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()
        self._jobs.put(_Job(call, future, loop))
        return future

    def close(self) -> None:
        """Once all is done that was begun."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _begin(self) -> None:
        self._threads = [
            Thread(target=self._work, name=f"{self._name}-{number}", daemon=True) for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            try:
                made, error = job.call(), None
            except BaseException as caught:  # noqa: BLE001 - it is told to whoever asked
                made, error = None, caught
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                job.loop.call_soon_threadsafe(_tell, job.future, made, error)
            del job, made, error


def _tell(future: "asyncio.Future[Any]", made: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(made)
