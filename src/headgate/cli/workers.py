"""Several workers on one listening socket: started, replaced when they end, stopped together."""

import logging
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FrameType

import uvloop

from headgate import app
from headgate.config.tree import ServerSettings

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.2
_FAST_END_SECONDS = 5.0
_MOST_FAST_ENDS = 5


def supervise(
    prepared: app.Prepared, listening: socket.socket, server: ServerSettings, when_ready: Callable[[], None]
) -> None:
    """Keep the workers running until SIGTERM or SIGINT, then let them drain; a second signal ends them at once."""
    stopping = threading.Event()
    workers: list[BaseProcess] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            for worker in workers:
                worker.terminate()
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    spawning = multiprocessing.get_context("spawn")
    ready = spawning.Semaphore(0)

    def start() -> BaseProcess:
        process = spawning.Process(target=_work, args=(prepared, listening, ready), daemon=False)
        process.start()
        return process

    workers += (start() for _ in range(server.workers))
    for _ in workers:
        while not ready.acquire(timeout=_LOOK_SECONDS):
            if stopping.is_set() or all(not worker.is_alive() for worker in workers):
                break
    if not stopping.is_set():
        when_ready()
    _watch(workers, start, stopping)
    _stop(workers, server.drain_seconds)


def _watch(workers: list[BaseProcess], start: Callable[[], BaseProcess], stopping: threading.Event) -> None:
    """Replace workers that end; give up when they keep ending at once."""
    fast_ends = 0
    last_start = time.monotonic()
    while not stopping.wait(_LOOK_SECONDS):
        for number, worker in enumerate(workers):
            if worker.is_alive():
                continue
            fast_ends = fast_ends + 1 if time.monotonic() - last_start < _FAST_END_SECONDS else 0
            if fast_ends >= _MOST_FAST_ENDS:
                log.error("workers keep ending; giving up")
                return
            log.error("worker %s ended with status %s; starting another", worker.pid, worker.exitcode)
            workers[number] = start()
            last_start = time.monotonic()


def _stop(workers: list[BaseProcess], drain_seconds: float) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + drain_seconds + 5
    for worker in workers:
        worker.join(max(0.1, deadline - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()


def _work(prepared: app.Prepared, listening: socket.socket, ready: "threading.Semaphore") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches us too; the parent decides
    uvloop.run(app.serve(prepared, listening, ready.release))
