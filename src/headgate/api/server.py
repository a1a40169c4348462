"""The HTTP server: sockets, signals and the way down. Knows the application only as something to call."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from headgate.api.gate import Gate
from headgate.api.protocol import bounded
from headgate.api.routes import SOCKET_PATHS

log = logging.getLogger(__name__)
_BACKLOG = 2048
_LAST_WORDS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`drain` is how long streams may go on after SIGTERM; times in seconds, sizes in bytes."""

    drain: float
    header_limit: int
    arrival_seconds: float
    idle_seconds: float


class Server(uvicorn.Server):
    """uvicorn with a drain: on SIGTERM not ready at once, but streams may finish."""

    def __init__(self, application: Any, gate: Gate, options: ServerOptions) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                interface="asgi3",
                http=bounded(options.header_limit, options.arrival_seconds, SOCKET_PATHS),
                ws="none",
                ws_max_size=gate.bounds.body,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=options.idle_seconds,  # type: ignore[arg-type]
                backlog=_BACKLOG,
                timeout_graceful_shutdown=2,
            )
        )
        self._gate = gate
        self._drain_seconds = options.drain
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals; unlike uvicorn's own, never raise them again, so that a drained process exits with 0."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread, as in tests
                loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                with contextlib.suppress(ValueError, RuntimeError):
                    loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; the second signal ends at once."""
        if self._draining is not None:
            self.should_exit = self.force_exit = True
            return
        self._gate.draining = True
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        log.info("draining: %d requests in flight, %g seconds at most", len(self._gate.active), self._drain_seconds)
        deadline = asyncio.get_running_loop().time() + self._drain_seconds
        while self._gate.active and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        cut = set(self._gate.active)
        for task in cut:
            task.cancel()
        if cut:
            log.warning("cut %d requests that outlasted the drain", len(cut))
            await asyncio.wait(cut, timeout=_LAST_WORDS_SECONDS)
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(_BACKLOG)
    made.set_inheritable(True)
    return made
