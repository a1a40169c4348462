"""Several workers on one listening socket: started, replaced when they end, stopped together."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from time import monotonic
from types import FrameType

import uvloop

from headgate import app
from headgate.core.errors import StartupError

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.2
_FAREWELL_SECONDS = 5.0
_MOST_FAILED_STARTS = 5


class Supervisor:
    """Keeps the workers running until SIGTERM or SIGINT, then lets them drain; a second signal ends them at once.

    Signal handlers only count: they may interrupt anything, a lock that is being taken included.
    """

    def __init__(self, prepared: app.Prepared, listening: socket.socket, when_ready: Callable[[], None]) -> None:
        self._prepared = prepared
        self._listening = listening
        self._when_ready = when_ready
        self._spawning = multiprocessing.get_context("spawn")
        self._ready: Semaphore = self._spawning.Semaphore(0)
        self._workers: list[BaseProcess] = []
        self._signals = 0
        self._became_ready = 0
        self._failed_starts = 0

    def run(self) -> None:
        """Raises StartupError when workers keep ending before they are ready."""
        signal.signal(signal.SIGTERM, self._count_signal)
        signal.signal(signal.SIGINT, self._count_signal)
        wanted = self._prepared.settings.server.workers
        self._workers = [self._start() for _ in range(wanted)]
        try:
            while not self._signals:
                self._wait()
                self._replace_ended()
                if self._failed_starts >= _MOST_FAILED_STARTS:
                    raise StartupError("The workers keep ending before they are ready; the log says why.")
        finally:
            self._stop()

    def _wait(self) -> None:
        """For a moment, or until a worker is ready; greets once all are."""
        while self._ready.acquire(timeout=_LOOK_SECONDS):
            self._failed_starts = 0
            self._became_ready += 1
            if self._became_ready == len(self._workers):
                self._when_ready()

    def _start(self) -> BaseProcess:
        process = self._spawning.Process(target=_work, args=(self._prepared, self._listening, self._ready))
        process.start()
        return process

    def _replace_ended(self) -> None:
        for number, worker in enumerate(self._workers):
            if not worker.is_alive() and not self._signals:
                self._failed_starts += 1
                log.error("worker %s ended with status %s; starting another", worker.pid, worker.exitcode)
                self._workers[number] = self._start()

    def _stop(self) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = monotonic() + self._prepared.settings.server.drain_seconds + _FAREWELL_SECONDS
        told_again = False
        while any(worker.is_alive() for worker in self._workers) and monotonic() < deadline:
            if self._signals > 1 and not told_again:
                told_again = True
                for worker in self._workers:
                    worker.terminate()
            self._workers[0].join(_LOOK_SECONDS if self._workers[0].is_alive() else 0)
            self._workers.append(self._workers.pop(0))
        for worker in self._workers:
            if worker.is_alive():
                worker.kill()
            worker.join()

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1


def _work(prepared: app.Prepared, listening: socket.socket, ready: Semaphore) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches us too; the parent decides
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    uvloop.run(app.serve(prepared, listening, ready.release))


def _leave_with_parent() -> None:
    """Nobody would stop or replace us if the supervisor were killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
