"""`headgate serve` as a process: its keys, its way down and its workers."""

import asyncio
import json
import re
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Stub, stream
from tests.requirements import covers

CHAT: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
Configured = Callable[..., list[str]]


@pytest.fixture
def configured(tmp_path: Path, stub: Stub) -> Configured:
    """Writes a configuration in front of the stub; returns the arguments that use it."""

    def write(**server: Any) -> list[str]:
        upstream = {"name": "stub", "provider": "openai_compatible", "base_url": stub.url}
        model = {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
        file = tmp_path / "headgate.yaml"
        file.write_text(json.dumps({"server": server, "upstreams": [upstream], "models": [model]}))
        return ["--config", str(file)]

    return write


def client(process: Process) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {process.key}"}
    return httpx.AsyncClient(base_url=process.url, headers=headers, timeout=BOUND)


async def started(processes: Processes, *args: str, **environment: str) -> Process:
    return await asyncio.to_thread(processes.serve, *args, **environment)


async def ended(process: Process) -> int:
    return await asyncio.to_thread(process.wait, BOUND)


async def until_draining(http: httpx.AsyncClient) -> None:
    """Until the process says that it is not ready."""
    async with asyncio.timeout(BOUND):
        while (await http.get("/readyz")).status_code != 503:
            await asyncio.sleep(0.01)


@covers("146", "109")
async def test_one_command_serves_with_a_key_of_its_own_that_is_kept(
    processes: Processes, configured: Configured, tmp_path: Path
) -> None:
    first = await started(processes, *configured())
    kept = tmp_path / "data" / "master.key"
    assert kept.read_text().strip() == first.key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data" / "pepper").stat().st_mode) == 0o600
    async with client(first) as http:
        assert (await http.post("/v1/chat/completions", json=CHAT)).json()["model"] == "small"
        assert (await http.get("/v1/models", headers={"authorization": "Bearer x"})).status_code == 401
    first.signal(signal.SIGTERM)
    assert await ended(first) == 0
    second = await started(processes, *configured())
    assert second.key == first.key
    lines = [json.loads(line) for line in first.out.read_text().splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 401]
    assert first.key not in first.out.read_text()


@covers("109", "redaction")
async def test_a_configured_key_is_not_repeated(processes: Processes, configured: Configured, tmp_path: Path) -> None:
    process = await started(processes, *configured(), HEADGATE_MASTER_KEY="sk-configured-master-key")
    async with client(process) as http:
        assert (await http.get("/v1/models")).status_code == 200
    assert "configured-master" not in process.err.read_text() + process.out.read_text()
    assert not (tmp_path / "data" / "master.key").exists()


@covers("132")
async def test_at_sigterm_it_is_not_ready_refuses_new_calls_and_lets_streams_finish(
    processes: Processes, configured: Configured, stub: Stub
) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    process = await started(processes, *configured(drain_seconds=20))
    async with (
        client(process) as http,
        client(process) as other,
        http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response,
    ):
        pieces = response.aiter_raw()
        text = await anext(pieces)
        process.signal(signal.SIGTERM)
        await until_draining(other)
        assert (await other.get("/readyz")).json()["status"] == "draining"
        refused = await other.post("/v1/chat/completions", json=CHAT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert "retry-after" in refused.headers
        release.set()
        text += b"".join([piece async for piece in pieces])
    assert text.count(b"[DONE]") == 1
    assert b"error" not in text
    assert await ended(process) == 0
    lines = [json.loads(line) for line in process.out.read_text().splitlines()]
    assert [(line["status"], line["outcome"]) for line in lines if line["event"] == "request"] == [
        (503, "error"),
        (200, "ok"),
    ]


@covers("132", "18")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stream_that_outlasts_the_drain_ends_with_an_error_event(
    processes: Processes, configured: Configured, stub: Stub, workers: str
) -> None:
    stub.answer(stream(release=asyncio.Event()))
    process = await started(processes, *configured(drain_seconds=0.3), "--workers", workers)
    async with (
        client(process) as http,
        http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response,
    ):
        pieces = response.aiter_raw()
        text = await anext(pieces)
        process.signal(signal.SIGTERM)
        text += b"".join([piece async for piece in pieces])
    assert json.loads(text.split(b"data: ")[-1])["error"]["code"] == "draining"
    assert b"[DONE]" not in text
    assert await ended(process) == 0


@covers("132")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_anything_to_do_a_signal_ends_it_at_once(
    processes: Processes, configured: Configured, number: int
) -> None:
    process = await started(processes, *configured(drain_seconds=600))
    process.signal(number)
    assert await ended(process) == 0
    assert "Traceback" not in process.err.read_text() + process.out.read_text()


@covers("132")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_signal_ends_it_at_once(
    processes: Processes, configured: Configured, stub: Stub, workers: str
) -> None:
    stub.answer(stream(release=asyncio.Event()))
    process = await started(processes, *configured(drain_seconds=600), "--workers", workers)
    async with (
        client(process) as http,
        http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response,
    ):
        pieces = response.aiter_raw()
        await anext(pieces)
        process.signal(signal.SIGTERM)
        async with client(process) as other:
            await until_draining(other)
        process.signal(signal.SIGTERM)
        assert await ended(process) == 0
    assert "Traceback" not in process.err.read_text() + process.out.read_text()


@covers("109")
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HEADGATE_MASTER_KEY": "sk-1234"}, "The master key is well known or shorter"),
        (
            {"HEADGATE_MASTER_KEY": "sk-good-master-key-0001", "API_TOKENS": "short"},
            "The token is well known or shorter",
        ),
        ({"REQUIRE_AUTH": "false"}, "Without keys the gateway listens on loopback only"),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_weak_keys_or_none_are_refused_where_others_could_come(
    processes: Processes, configured: Configured, environment: dict[str, str], message: str, host: str
) -> None:
    done = processes.run("serve", "--port", "0", "--host", host, *configured(), **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "sk-1234" not in done.stderr
    assert "Traceback" not in done.stderr


@covers("109")
@pytest.mark.parametrize("environment", [{"HEADGATE_MASTER_KEY": "sk-1234"}, {"REQUIRE_AUTH": "false"}])
@pytest.mark.parametrize("args", [[], ["--host", "0.0.0.0", "--insecure"]])
async def test_they_are_accepted_on_loopback_or_when_insisted_upon(
    processes: Processes, configured: Configured, environment: dict[str, str], args: list[str]
) -> None:
    process = await started(processes, *configured(), *args, **environment)
    async with client(process) as http:
        http.headers["authorization"] = f"Bearer {environment.get('HEADGATE_MASTER_KEY', 'none')}"
        assert (await http.post("/v1/chat/completions", json=CHAT)).status_code == 200


@covers("cli")
def test_a_port_that_is_taken_is_told(processes: Processes, configured: Configured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = processes.run("serve", "--port", str(taken.getsockname()[1]), *configured())
    assert done.returncode == 2
    assert re.search(r"Cannot listen on 127\.0\.0\.1:\d+: .*in use", done.stderr)
    assert "Traceback" not in done.stderr


@covers("138", "146")
async def test_without_any_upstream_it_starts_and_says_what_is_missing(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    process = await started(processes, "--config", "empty.yaml")
    assert "No upstream yet" in process.err.read_text()
    async with client(process) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
