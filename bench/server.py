"""Starts a server as a child process, waits until it answers, and stops it with everything it started."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import uvloop

from bench import cpu

STOP_SECONDS = 10


class NotAnsweringError(Exception):
    """The server ended, or did not answer in time."""


_next_port = itertools.count(18_000 + os.getpid() % 5_000)


def free_port() -> int:
    """A port nobody listens on now and not given out before; so is the one 1,000 above it."""
    for port in itertools.islice(_next_port, 5_000):
        if _can_bind(port) and _can_bind(port + 1000):
            return port
    raise NotAnsweringError("no free port")


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, with its output in `log`; stopped on the way out, whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, then what is left of those it started, each by its id and only if it is still the same one."""
    children = {member: cpu.start_tick(member) for member in cpu.tree(process.pid)[1:]}
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    process.kill()
    process.wait(STOP_SECONDS)
    for child, begun in children.items():
        if begun and cpu.start_tick(child) == begun:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def stop_children_on_sigterm() -> None:
    """Makes SIGTERM end this process like Ctrl-C does, so that everything started here is stopped on the way out."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def wait_until(ready: Callable[[], Awaitable[bool]], process: subprocess.Popen[bytes], limit_seconds: float) -> float:
    """Seconds until `ready` says so, asked every 10 ms; raises when the process ends or the limit passes."""
    start = time.perf_counter()
    while (waited := time.perf_counter() - start) < limit_seconds:
        if process.poll() is not None:
            raise NotAnsweringError(f"ended with code {process.returncode}")
        if uvloop.run(_quietly(ready)):
            return time.perf_counter() - start
        time.sleep(0.01)
    raise NotAnsweringError(f"did not answer within {waited:.0f} s")


def wait_for_file(path: Path, process: subprocess.Popen[bytes], limit_seconds: float) -> None:
    """Until the process has written a file with something in it."""

    async def written() -> bool:
        return await asyncio.to_thread(lambda: path.exists() and path.stat().st_size > 0)

    wait_until(written, process, limit_seconds)


async def _quietly(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await ready()
    except (OSError, asyncio.IncompleteReadError):
        return False
