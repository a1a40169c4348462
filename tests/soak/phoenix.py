"""A real Phoenix in an environment of its own, installed from hash-locked requirements; and its spans, to compare."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench.install import INSTALL_SECONDS, default_folder
from tests.harness.collector import SeenSpan

REQUIREMENTS = Path(__file__).parents[2] / "requirements/phoenix.txt"
START_SECONDS = 120.0
_ASK_SECONDS = 30.0


def installed() -> Path:
    """Its home (about 620 MB), made now if it is missing or of other versions; raises OSError or SubprocessError."""
    home = default_folder() / "phoenix"
    stamp = home / "requirements.txt"
    if stamp.exists() and stamp.read_bytes() == REQUIREMENTS.read_bytes():
        return home
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    python = str(home / "bin/python")
    made = [uv, "venv", "--clear", "--python", sys.executable] if uv else [sys.executable, "-m", "venv", "--clear"]
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    for command in ([*made, str(home)], [*install, "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)]):
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL)
    shutil.copy(REQUIREMENTS, stamp)
    return home


@asynccontextmanager
async def running_phoenix(home: Path, folder: Path) -> AsyncIterator[str]:
    """Phoenix as it is shipped, on loopback, without telemetry of its own; its address."""
    port, grpc_port = free_ports(2)
    environment = {
        "PATH": f"{home / 'bin'}:{os.environ.get('PATH', '')}",
        "HOME": str(folder),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    with (folder / "phoenix.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(home / "bin/phoenix"), "serve", env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _until_alive(url, process)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


async def _until_alive(url: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                if (await http.get("/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.2)
    raise AssertionError("Phoenix did not start; its log lies in its folder")


async def spans_of(url: str, project: str, count: int) -> list[SeenSpan]:
    """The project's spans as Phoenix's API shows them, once there are so many; bounded."""
    async with httpx.AsyncClient(base_url=url, timeout=_ASK_SECONDS) as http, asyncio.timeout(_ASK_SECONDS):
        while True:
            response = await http.get(f"/v1/projects/{project}/spans", params={"limit": 1000})
            found = response.json()["data"] if response.status_code == 200 else []
            if len(found) >= count:
                return [_seen(one) for one in found]
            await asyncio.sleep(0.1)


async def sums_of(url: str, project: str) -> dict[str, Any]:
    """What its pages show of the project: traces, tokens and cost."""
    query = "{projects{edges{node{name traceCount tokenCountTotal costSummary{total{cost}}}}}}"
    async with httpx.AsyncClient(base_url=url, timeout=_ASK_SECONDS) as http:
        answer = (await http.post("/graphql", json={"query": query})).json()
    nodes = [edge["node"] for edge in answer["data"]["projects"]["edges"]]
    (found,) = [node for node in nodes if node["name"] == project]
    return {
        "traces": found["traceCount"],
        "tokens": found["tokenCountTotal"],
        "cost": found["costSummary"]["total"]["cost"],
    }


def _seen(one: dict[str, Any]) -> SeenSpan:
    return SeenSpan(
        one["name"],
        one["context"]["trace_id"],
        one["context"]["span_id"],
        one["parent_id"] or "",
        one["span_kind"],
        one["status_code"] == "ERROR",
        one["status_message"],
        datetime.fromisoformat(one["start_time"]).timestamp(),
        datetime.fromisoformat(one["end_time"]).timestamp(),
        one["attributes"],
        tuple(event["name"] for event in one["events"]),
    )
