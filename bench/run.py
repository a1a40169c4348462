"""Runs Headgate and its peers on the same stub upstream and prints one table of what each of them costs.

Each round starts every gateway once, one after the other, puts the same loads on it and stops it.
The table has medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import cpu, install, measure, server, table
from bench.load import json_load
from bench.measure import Load
from bench.peers import PEERS, Peer, Site
from bench.table import Row
from bench.target import Target

FIRST_BYTE = Load("first byte", 200, chunks=3, gap_ms=5, ramp_seconds=6)
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Plan:
    """What one run does: the peers, where they are installed, how much load and how many rounds."""

    peers: tuple[Peer, ...]
    folder: Path
    rounds: int
    quick: bool

    def loads(self, peer: Peer) -> list[Load]:
        """The peer's columns; streams are capped at what it can carry, and a second capped column is left out."""
        one, many = (max(count // 4, 50) if self.quick else count for count in peer.json_requests)
        loads = [Load("json@1", 1, requests=one), Load("json@16", 16, requests=many), FIRST_BYTE]
        widths = {"stream@50": (50, 20), "stream@500": (500, 20), "stream@1000": (1000, 40)}
        for name, (width, gap_ms) in widths.items():
            chunks = 40 if self.quick else 100
            loads.append(Load(name, min(width, peer.most_streams), chunks=chunks, gap_ms=gap_ms))
            if width >= peer.most_streams:
                break
        return loads


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def _answers(target: Target) -> bool:
    """Whether a chat completion comes through: the same probe for every gateway."""
    status, _, body = (await target.raw(target.request(stream=False))).partition(b"\r\n")
    return b" 200" in status and target.words.answer in body


def _set_stream_shape(stub: Target, load: Load) -> None:
    shape = json.dumps({"chunks": load.chunks, "gap_ms": load.gap_ms}).encode()
    uvloop.run(stub.exchange("POST", "/bench/shape", shape))


def _put_loads(plan: Plan, peer: Peer, row: Row, target: Target, stub: Target, pid: int) -> None:
    uvloop.run(json_load(target, 16, min(500, peer.json_requests[0])))
    for load in plan.loads(peer):
        if load.is_stream:
            _set_stream_shape(stub, load)
        figures = measure.run(load, target, pid)
        if load.is_stream:
            figures["upstream_gap_ms"] = load.gap_ms
        row.rounds.setdefault(load.name, []).append(figures)
        _say(f"{peer.name} {load.name}: " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items()))


def _port(peer: Peer, port_file: Path | None, port: int, process: subprocess.Popen[bytes]) -> int:
    """The port a gateway listens on, read from its file when it chooses its own."""
    if port_file is None:
        return port

    server.wait_for_file(port_file, process, peer.start_seconds)
    return int(port_file.read_text())


def _one_turn(plan: Plan, peer: Peer, row: Row, stub: Target, home: Path) -> None:
    """One gateway's part of a round: start, measure, stop."""
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as scratch:
        site = Site(Path(scratch), home, server.free_port(), stub.port)
        launch = peer.launch(site)
        begun = time.perf_counter()
        with server.running(launch.command, launch.environment, site.folder / "log") as process:
            try:
                port = _port(peer, launch.port_file, site.port, process)
                target = Target(port, peer.model, path=peer.path, headers=peer.headers(site), words=peer.words)
                server.wait_until(lambda: _answers(target), process, peer.start_seconds)
            except server.NotAnsweringError as error:
                row.problem = f"not measured: {error}"
                _say(f"{peer.name}: {error}\n{(site.folder / 'log').read_text(errors='replace')[-2000:]}")
                return
            ready_seconds = time.perf_counter() - begun
            time.sleep(0.5)
            idle = cpu.usage(process.pid)
            _put_loads(plan, peer, row, target, stub, process.pid)
            loaded = cpu.usage(process.pid)
            row.starts.append(
                {"ready_seconds": ready_seconds, "idle_rss_mb": idle.rss_mb, "loaded_rss_mb": loaded.rss_mb}
            )


def _direct(plan: Plan, row: Row, stub: Target, pid: int) -> None:
    """The stub itself under the same loads: the floor that added times are measured against."""
    peer = Peer("direct", PEERS[0].launch, "")
    _put_loads(plan, peer, row, stub, stub, pid)


def _prepare(plan: Plan) -> dict[str, Path]:
    homes: dict[str, Path] = {}
    for peer in plan.peers:
        if not peer.available():
            _say(f"{peer.name}: not here, left out")
            continue
        try:
            homes[peer.name] = install.ensure(peer, plan.folder)
        except (OSError, subprocess.SubprocessError) as error:
            _say(f"{peer.name}: installation failed, left out ({error})")
    return homes


def _row(peer: Peer, home: Path) -> Row:
    version = install.version(peer, home)
    return Row(peer.name, f"{version}: {peer.note}" if version else peer.note, install.size_mb(peer, home))


def run(plan: Plan) -> list[Row]:
    """All rounds; rows in the order of the peers, the stub first."""
    homes = _prepare(plan)
    peers = [peer for peer in plan.peers if peer.name in homes]
    direct = Row("direct", "the stub upstream alone (its own cost)")
    rows = {peer.name: _row(peer, homes[peer.name]) for peer in peers}
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as scratch:
        stub = Target(server.free_port())
        command = [sys.executable, str(ROOT / "bench" / "upstream.py"), "--port", str(stub.port)]
        with server.running(command, {}, Path(scratch) / "log") as process:
            server.wait_until(lambda: _answers(stub), process, 10)
            for number in range(plan.rounds):
                _say(f"round {number + 1} of {plan.rounds}")
                _direct(plan, direct, stub, process.pid)
                for peer in peers:
                    _one_turn(plan, peer, rows[peer.name], stub, homes[peer.name])
    return [direct, *rows.values()]


def _plan(options: argparse.Namespace) -> Plan:
    chosen: list[str] = options.only or [peer.name for peer in PEERS]
    peers = tuple(peer for peer in PEERS if peer.name in chosen)
    rounds = options.rounds or (1 if options.quick else 3)
    return Plan(peers, options.peers_dir, rounds, options.quick)


def _write(options: argparse.Namespace, rows: list[Row], machine: Mapping[str, str]) -> None:
    if options.markdown:
        options.markdown.write_text(table.markdown(rows, machine))
    if options.json:
        raw = {"machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}
        options.json.write_text(json.dumps(raw, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (3; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a quarter of the load")
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS], help="may be repeated")
    parser.add_argument("--peers-dir", type=Path, default=install.default_folder(), help="where peers are installed")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every round's figures")
    options = parser.parse_args()
    server.stop_children_on_sigterm()
    machine = table.machine()
    rows = run(_plan(options))
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(table.plain(rows))
    _write(options, rows, machine)


if __name__ == "__main__":
    main()
