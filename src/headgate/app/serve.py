"""The gateway behind its HTTP server, until a signal says to stop."""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable

from headgate.api.application import Application
from headgate.api.gate import Gate
from headgate.api.server import Server, ServerOptions
from headgate.app.gateway import gateway
from headgate.app.prepare import Prepared
from headgate.config.tree import Settings
from headgate.telemetry.logs import JsonHandler, LineWriter, PlainHandler, request_logger

__all__ = ["http_server", "serve"]
_COLLECT_AFTER = 10_000


async def serve(prepared: Prepared, listening: socket.socket, when_ready: Callable[[], None] | None = None) -> None:
    """Serve until a signal says to stop and the streams have ended."""
    writer = LineWriter(sys.stdout.buffer)
    _log_to(writer, logging.DEBUG if prepared.settings.logging.debug else logging.INFO)
    observers = (request_logger(writer.write, prepared.settings.logging.requests),)
    try:
        async with gateway(prepared, observers) as gate:
            server = http_server(gate, prepared.settings)
            _calm_collector()
            # Every generator of a request is closed by whoever iterates it. The loop would note each one besides, to
            # close it at the end, which costs as much as the look at its key.
            sys.set_asyncgen_hooks(firstiter=None)
            if when_ready:
                asyncio.get_running_loop().create_task(_when_started(server, when_ready))
            await server.serve(sockets=[listening])
    finally:
        writer.close()


def http_server(gate: Gate, settings: Settings) -> Server:
    """The HTTP server around a gate."""
    server = settings.server
    limits = server.limits
    return Server(
        Application(gate),
        gate,
        ServerOptions(server.drain_seconds, limits.headers, limits.body_seconds, server.idle_seconds),
    )


def _calm_collector() -> None:
    """Leave what was made at start out of every later collection, and collect less often.

    Walking it took the collector up to 38 ms, in which no stream moved.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


async def _when_started(server: Server, tell: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.005)
    tell()


def _log_to(writer: LineWriter, level: int) -> None:
    """At a terminal log records are text on standard error, elsewhere JSON lines among the request lines."""
    root = logging.getLogger()
    root.handlers[:] = [PlainHandler() if sys.stderr.isatty() else JsonHandler(writer.write)]
    root.setLevel(logging.WARNING)
    logging.getLogger("headgate").setLevel(level)
