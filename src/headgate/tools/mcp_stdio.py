"""An MCP server as a child process: one line of JSON per message, each bounded; the whole process group ends with it.

Knows no session and no tool. The child sees a small environment of its own, never the gateway's keys.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import mcp_types as types
from mcp.client._transport import TransportStreams
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from headgate.telemetry.redact import redact
from headgate.tools.mcp_faults import StartFailed
from headgate.tools.mcp_types import McpServerSettings

_GRACE_SECONDS = 1.0
_MOST_GARBAGE = 1000
_LONGEST_SAID = 500


class Child:
    """The process. `said` are the last lines of its standard error; `fault` is why it was given up, if it was."""

    def __init__(self, settings: McpServerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.said: deque[str] = deque(maxlen=20)
        self.fault = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TransportStreams]:
        """Start it; raises StartFailed. At the end nothing of its process group is left."""
        process = self._process = await self._started()
        to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._read(process, to_session.send, to_session.close)),
            loop.create_task(self._write(process, from_session)),
            loop.create_task(self._listen(process)),
        ]
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(process)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
                for stream in (to_session, incoming, outgoing, from_session):
                    stream.close()

    async def _started(self) -> asyncio.subprocess.Process:
        settings = self._settings
        try:
            return await asyncio.create_subprocess_exec(
                settings.command or "",
                *settings.args,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**get_default_environment(), **settings.env},
                cwd=settings.cwd,
                start_new_session=True,
                limit=settings.largest_message,
            )
        except (OSError, ValueError) as error:
            where = f" in the folder '{settings.cwd}'" if settings.cwd else ""
            reason = getattr(error, "strerror", None) or error
            raise StartFailed(f"the program '{settings.command}' cannot be run{where}: {reason}") from None

    async def _read(
        self,
        process: asyncio.subprocess.Process,
        tell: Callable[[SessionMessage | Exception], object],
        close: Callable[[], None],
    ) -> None:
        """Messages until the child ends or is given up. Other lines are passed over: many servers print."""
        assert process.stdout is not None
        garbage = 0
        try:
            while garbage < _MOST_GARBAGE:
                line = await process.stdout.readuntil(b"\n")
                try:
                    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    garbage += 1
                    continue
                garbage = 0
                sent = tell(SessionMessage(message))
                if asyncio.iscoroutine(sent):
                    await sent
            self.fault = f"it sent {_MOST_GARBAGE} lines in a row that are no MCP"
        except asyncio.IncompleteReadError:
            pass  # it closed its output
        except asyncio.LimitOverrunError:
            self.fault = f"it sent a message of more than {self._settings.largest_message} bytes"
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            close()

    async def _write(
        self, process: asyncio.subprocess.Process, messages: "anyio.abc.ObjectReceiveStream[SessionMessage]"
    ) -> None:
        assert process.stdin is not None
        with suppress(OSError, anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                message = (await messages.receive()).message
                process.stdin.write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await process.stdin.drain()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Keep the last lines of standard error, and never let it fill up."""
        assert process.stderr is not None
        rest = b""
        while piece := await process.stderr.read(65_536):
            *lines, rest = (rest + piece)[-65_536:].split(b"\n")
            self.said.extend(redact(line.decode("utf-8", "replace")[:_LONGEST_SAID]) for line in lines if line.strip())

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Close its input, ask, then kill, each for a moment; at last whatever it started and left behind."""
        assert process.stdin is not None
        process.stdin.close()
        if not self.fault and not await _ended(process):
            _signal_group(process.pid, signal.SIGTERM)
        if process.returncode is None and (self.fault or not await _ended(process)):
            _signal_group(process.pid, signal.SIGKILL)
            await _ended(process)
        _signal_group(process.pid, signal.SIGKILL)
        # A grandchild that left the group may hold the pipes open; they are ours to close.
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()


async def _ended(process: asyncio.subprocess.Process) -> bool:
    """Whether it ended within a moment. `wait` would also wait for pipes that a grandchild holds."""
    deadline = asyncio.get_running_loop().time() + _GRACE_SECONDS
    while process.returncode is None:
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(0.01)
    return True


def _signal_group(pid: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, which)
