"""The workers of one machine ask each other: a Unix socket for each, in a folder that only their user can enter.

Knows nothing of what is asked. A question and an answer are one JSON value each. A worker that does not answer in time
counts as one that knows nothing; the socket of one that ended is taken away by whoever notices.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)
_SECONDS = 2.0
_LONGEST_PATH = 100
"""Bytes of a socket's path; systems take 104 or 108."""
_MOST_BYTES = 1 << 16
Answer = Callable[[Any], Awaitable[Any]]


class Peers:
    """One worker's ear and mouth. `answer` takes a question of another worker."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self._folder = folder
        self._answer = answer
        self._own = folder / f"{os.getpid()}-{secrets.token_hex(4)}.peer"
        self._elsewhere: str | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Where no socket can be made, others do not see what this worker does, and the log says so."""
        try:
            address = self._address()
            self._server = await asyncio.start_unix_server(self._serve, address, limit=_MOST_BYTES)
            self._show(address)
        except OSError as error:
            log.warning("other workers cannot ask this one about its runs: %s", error)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        _take_away(self._own)
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)

    async def ask(self, question: Any) -> list[Any]:
        """The answers of all other workers that gave one."""
        others = self._others()
        if not others:
            return []
        told = orjson.dumps(question) + b"\n"
        answers = await asyncio.gather(*(_ask(path, told) for path in others))
        return [one for one in answers if one is not None]

    def _others(self) -> list[Path]:
        return [path for path in self._folder.glob("*.peer") if path != self._own]

    def _address(self) -> str:
        """A path that is short enough, and under which nobody asks yet: a socket that does not listen looks dead."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._own.with_suffix(".new")
        if len(os.fsencode(draft)) <= _LONGEST_PATH:
            return str(draft)
        self._elsewhere = tempfile.mkdtemp(prefix="headgate-")
        return f"{self._elsewhere}/peer"

    def _show(self, address: str) -> None:
        """Where others look; only our own user may connect."""
        Path(address).chmod(0o600)
        if self._elsewhere is None:
            Path(address).rename(self._own)
        else:
            self._own.symlink_to(address)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                question = orjson.loads(await reader.readline())
                writer.write(orjson.dumps(await self._answer(question)))
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("a question of another worker was not answered: %r", error)
        except Exception:
            log.exception("a question of another worker could not be answered")
        finally:
            writer.close()


async def _ask(path: Path, told: bytes) -> Any:
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(_followed(path))
            try:
                writer.write(told)
                return orjson.loads(await reader.read())
            finally:
                writer.close()
    except (ConnectionRefusedError, FileNotFoundError):
        _take_away(path)
    except (OSError, ValueError, TimeoutError) as error:
        log.warning("another worker does not answer: %r", error)
    return None


def _followed(path: Path) -> str:
    return os.path.realpath(path)


def _take_away(path: Path) -> None:
    """Nobody listens there any more."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
