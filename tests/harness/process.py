"""`headgate` as a process of its own, started and stopped by its id."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

START_BOUND = 30.0


@dataclass
class Process:
    """A running `headgate serve`. `out` holds its request log, `err` its messages."""

    popen: "subprocess.Popen[bytes]"
    url: str
    key: str
    out: Path
    err: Path

    def signal(self, number: int) -> None:
        os.kill(self.popen.pid, number)

    def wait(self, seconds: float = START_BOUND) -> int:
        return self.popen.wait(seconds)


def workers_of(process: Process) -> set[int]:
    """The ids of the processes that serve; multiprocessing's own resource tracker is left out."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.popen.pid)], capture_output=True, text=True, check=False
    )
    return {int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line}


class Processes:
    """Starts processes with data directories of their own and no keys from outside."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self._folder = folder
        self._python = python
        self._running: list[subprocess.Popen[bytes]] = []

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
        return {**kept, "HEADGATE_DATA_DIR": str(self._folder / "data"), **more}

    def run(self, *args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """A command that ends by itself."""
        return subprocess.run(
            [self._python, "-m", "headgate", *args],
            env=self.environment(**environment),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=START_BOUND,
            check=False,
        )

    def serve(self, *args: str, **environment: str) -> Process:
        """`headgate serve` on a free port, once it says that it is ready."""
        number = len(self._running)
        out, err = self._folder / f"out-{number}", self._folder / f"err-{number}"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            popen = subprocess.Popen(
                [self._python, "-m", "headgate", "serve", "--port", "0", *args],
                env=self.environment(**environment),
                cwd=self._folder,
                stdout=out_file,
                stderr=err_file,
            )
        self._running.append(popen)
        said = self._wait_until_ready(popen, err)
        url = re.search(r"API +(\S+)/v1", said)
        key = re.search(r"Key +(sk-\S+)", said)
        assert url is not None
        return Process(popen, url[1], key[1] if key else environment.get("HEADGATE_MASTER_KEY", ""), out, err)

    def _wait_until_ready(self, popen: "subprocess.Popen[bytes]", err: Path) -> str:
        deadline = time.monotonic() + START_BOUND
        while time.monotonic() < deadline:
            said = err.read_text()
            if "is ready" in said and "Config" in said:
                time.sleep(0.02)
                return err.read_text()
            if popen.poll() is not None:
                raise AssertionError(f"headgate ended with {popen.returncode}: {said}")
            time.sleep(0.02)
        raise AssertionError(f"headgate was not ready in time: {err.read_text()}")

    def stop(self) -> None:
        for popen in self._running:
            if popen.poll() is None:
                popen.send_signal(signal.SIGTERM)
        for popen in self._running:
            try:
                popen.wait(10)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
