"""A gateway in this process, on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from headgate import app
from headgate.api.gate import Gate
from headgate.api.server import Server, listen
from headgate.app.prepare import Source
from headgate.config.load import load
from headgate.config.tree import Settings
from headgate.core.run import Run
from headgate.telemetry.logs import request_line
from tests.harness.databases import url_of
from tests.harness.stub import BOUND

KEY = "sk-test-master-key-0001"
TOKEN = "sk-test-token-key-00002"


@dataclass
class Gateway:
    """`written` are the request log's lines so far; `http` sends the master key."""

    port: int
    gate: Gate
    server: Server
    http: httpx.AsyncClient
    written: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Those of all runs that are settled."""
        self.gate.deps.observers.flush()
        return self.written

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def chat(self, **fields: Any) -> httpx.Response:
        """A chat completion with model `small` and one message, unless told otherwise."""
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], **fields}
        return await self.http.post("/v1/chat/completions", json=body)

    async def stream(self, **fields: Any) -> bytes:
        """The bytes of a streamed chat completion."""
        return (await self.chat(stream=True, **fields)).content

    async def wait_for_lines(self, count: int) -> list[dict[str, Any]]:
        """The log lines, once there are so many; bounded."""
        async with asyncio.timeout(BOUND):
            while len(self.lines) < count:
                await asyncio.sleep(0.005)
        return self.lines


@asynccontextmanager
async def running_gateway(
    settings: dict[str, Any] | Path, data_dir: Path | None = None, **client: Any
) -> AsyncIterator[Gateway]:
    """A gateway with these settings, its master key KEY and one token TOKEN. With a folder it keeps keys and money.

    Settings in a file can be read anew. Its database is the one of the folder, see databases.py, unless they name one.
    """
    if data_dir is not None and isinstance(settings, dict):
        settings = {"database": {"url": url_of(data_dir)}, **settings}
    source = Source(settings, {}) if isinstance(settings, Path) else None
    tree = load(settings).settings if isinstance(settings, Path) else Settings.model_validate(settings)
    keys = ((KEY, True), (TOKEN, False))
    prepared = app.Prepared(tree, keys, b"pepper-of-the-tests", {}, data_dir=data_dir, source=source)
    lines: list[dict[str, Any]] = []

    def note(run: Run) -> None:
        lines.append(request_line(run))

    async with app.gateway(prepared, (note,)) as gate:
        server = app.http_server(gate, tree)
        listening = listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {KEY}"}, timeout=BOUND, **client
        ) as http:
            async with asyncio.timeout(BOUND):
                while not server.started:
                    await asyncio.sleep(0.001)
            try:
                yield Gateway(port, gate, server, http, lines)
            finally:
                await stopped(server, task)


async def stopped(server: Server, task: "asyncio.Task[None]") -> None:
    """End at once: a server's own way down looks at its flags every tenth of a second, too slow for so many tests."""
    task.cancel()
    await asyncio.wait([task], timeout=BOUND)
    for listening in server.servers:
        listening.close()
    server._gate.draining = True  # whoever is cut now does not come back
    if (watch := server._gate.deps.watch) is not None:
        await watch.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    if running := set(server.server_state.tasks):
        await asyncio.wait(running, timeout=BOUND)


async def raw_exchange(port: int, request: bytes, *, seconds: float = BOUND) -> bytes:
    """Send bytes, return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()
