"""Many streams at once through one worker: none is lost, and with `--long` none stutters."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from bench import cpu, server
from bench.load import stream_load
from bench.target import Target
from tests.conftest import Amount
from tests.harness.process import Processes
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
KEY = "sk-soak-master-key-001"
GAP_MS = 40
pytestmark = [covers("2", "bench"), pytest.mark.timeout(300)]


@pytest.fixture
def upstream_port(tmp_path: Path) -> Iterator[int]:
    """The benchmark's stub in a process of its own."""
    port = server.free_port()
    command = [sys.executable, str(ROOT / "bench/upstream.py"), "--port", str(port)]

    async def answers() -> bool:
        return b"200" in await Target(port).exchange("GET", "/v1/models")

    with server.running(command, {"PYTHONPATH": str(ROOT)}, tmp_path / "upstream.log") as process:
        server.wait_until(answers, process, 10)
        yield port


def configuration(folder: Path, port: int) -> str:
    (folder / "headgate.yaml").write_text(
        f"upstreams: [{{name: stub, provider: openai_compatible, base_url: 'http://127.0.0.1:{port}/v1'}}]\n"
        "models: [{name: bench, targets: [{upstream: stub, model: bench-upstream}]}]\n"
    )
    return str(folder / "headgate.yaml")


def test_simultaneous_streams_all_arrive_evenly(
    processes: Processes, tmp_path: Path, upstream_port: int, amount: Amount
) -> None:
    streams, chunks = amount(100, 1000), amount(25, 500)
    serving = processes.serve("--config", configuration(tmp_path, upstream_port), HEADGATE_MASTER_KEY=KEY)
    fields = {"bench_chunks": chunks, "bench_gap_ms": GAP_MS}
    port = int(serving.url.rsplit(":", 1)[1])
    target = Target(port, headers={"authorization": f"Bearer {KEY}"}, fields=fields)
    before, started = cpu.usage(serving.popen.pid), time.monotonic()
    ran = uvloop.run(stream_load(target, streams, chunks, GAP_MS))
    after = cpu.usage(serving.popen.pid)
    spent = (after.cpu_seconds - before.cpu_seconds) / ran.frames * 1e6
    print(
        f"\n{streams} streams of {1000 // GAP_MS} chunks/s for {time.monotonic() - started:.0f} s: "
        f"{ran.frames} chunks, {spent:.1f} µs CPU each, gap p50 {ran.gap_p50_ms:.1f} p99 {ran.gap_p99_ms:.1f} "
        f"max {ran.gap_max_ms:.1f} ms, first byte p50 {ran.first_p50_ms:.1f} p99 {ran.first_p99_ms:.1f} ms, "
        f"RSS {after.rss_mb:.0f} MB"
    )
    assert ran.errors == 0
    assert ran.frames >= streams * chunks
    if streams == 1000:
        assert ran.gap_p99_ms < 2 * GAP_MS
