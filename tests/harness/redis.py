"""A Valkey or Redis of the test's own, where one is installed."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

BINARY = shutil.which("valkey-server") or shutil.which("redis-server")


class RedisServer:
    """On a free port, keeping nothing on disk; after `stop` it starts on the same port, having forgotten all."""

    def __init__(self, folder: Path) -> None:
        if BINARY is None:
            pytest.skip("neither valkey-server nor redis-server is installed: limits over machines stay unproved here")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([str(BINARY), *options], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert any("eady to accept connections" in line for line in self._process.stdout)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
