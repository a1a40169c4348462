"""Counts what Headgate executes per relayed request and per streamed chunk: a regression shows on a busy machine too.

Python calls, C calls and bytecodes are events of the interpreter, not time: the same code gives the same counts,
whatever else runs. With --machine it counts CPU instructions under Valgrind, which sees the work inside C too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import server
from bench.load import json_load, stream_load
from bench.peers import PEERS, Site
from bench.target import Target

ROOT = Path(__file__).parent.parent
BATCHES = 7
REQUESTS = 20
CHUNKS = 60
INSTRUCTIONS = re.compile(r"I\s+refs:\s+([\d,]+)")
Counts = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """A running gateway in front of a stub, its process, and where its output and its counters go."""

    target: Target
    process: subprocess.Popen[bytes]
    folder: Path


@contextmanager
def _gateway(name: str, prefix: Callable[[Path], list[str]], start_seconds: float) -> Iterator[Subject]:
    """Headgate with one of the bench's configurations, its interpreter started through `prefix`."""
    peer = next(peer for peer in PEERS if peer.name == name)
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as scratch:
        folder = Path(scratch)
        site = Site(folder, folder, server.free_port(), server.free_port())
        launch = peer.launch(site)
        arguments = launch.command[launch.command.index("serve") :]
        environment = {**launch.environment, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        stub = [sys.executable, str(ROOT / "bench" / "upstream.py"), "--port", str(site.stub_port)]
        target = Target(
            site.port, peer.model, words=peer.words, headers=peer.headers(site), fields={"bench_chunks": CHUNKS}
        )
        with (
            server.running(stub, {}, folder / "stub.log"),
            server.running([*prefix(folder), *arguments], environment, folder / "log") as process,
        ):
            server.wait_until(lambda: _answers(target), process, start_seconds)
            yield Subject(target, process, folder)


async def _answers(target: Target) -> bool:
    return target.words.answer in await target.raw(target.request(stream=False))


def _json(target: Target, requests: int = REQUESTS) -> int:
    result = uvloop.run(json_load(target, 1, requests))
    return 0 if result.errors else result.requests


def _stream(target: Target) -> int:
    result = uvloop.run(stream_load(target, 1, CHUNKS, 20, 0))
    return 0 if result.errors else result.frames


UNITS: dict[str, Callable[[Target], int]] = {"JSON request": _json, "streamed chunk": _stream}


@dataclass(frozen=True)
class Reading:
    """What was counted so far: in all, and per function how often it was called and the bytecodes of its own."""

    counts: Counter[str]
    calls: Counter[str]
    bytecodes: Counter[str]


def _read(subject: Subject) -> Reading:
    output = subject.folder / "counts"
    output.unlink(missing_ok=True)
    os.kill(subject.process.pid, signal.SIGUSR2)
    for _ in range(500):
        if output.exists():
            read = json.loads(output.read_text())
            functions = read["functions"]
            return Reading(Counter(read["counts"]), Counter(functions["calls"]), Counter(functions["bytecodes"]))
        time.sleep(0.01)
    raise server.NotAnsweringError("the counters were not written")


def interpreter(name: str, top: int) -> dict[str, Counts]:
    """Counts per unit of work, the median over several batches; prints the busiest functions of each."""

    def prefix(folder: Path) -> list[str]:
        return [sys.executable, "-m", "bench.interpreter_counts", str(folder / "counts")]

    found: dict[str, Counts] = {}
    with _gateway(name, prefix, 120) as subject:
        for unit, work in UNITS.items():
            work(subject.target)
            batches: list[Counts] = []
            for _ in range(BATCHES):
                before = _read(subject)
                done = work(subject.target)
                after = _read(subject)
                batches.append({name: (n - before.counts[name]) / max(done, 1) for name, n in after.counts.items()})
            found[unit] = {name: round(statistics.median(batch[name] for batch in batches), 1) for name in batches[0]}
            _print_functions(unit, before, after, done, top)
    return found


def _print_functions(unit: str, before: Reading, after: Reading, done: int, top: int) -> None:
    print(f"Python functions with the most bytecodes of their own per {unit}, and calls:")
    for name, count in (after.bytecodes - before.bytecodes).most_common(top):
        calls = after.calls[name] - before.calls[name]
        print(f"  {count / max(done, 1):7.1f} {calls / max(done, 1):7.2f}  {name}")


def machine(name: str) -> dict[str, Counts]:
    """CPU instructions per JSON request: two runs that differ only in how many requests they answer."""
    few, many = 100, 500
    per_request = (_instructions(name, many) - _instructions(name, few)) / (many - few)
    return {"JSON request": {"CPU instructions": round(per_request)}}


def _instructions(name: str, requests: int) -> int:
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    with _gateway(name, lambda _: [*valgrind, sys.executable, "-m", "headgate"], 300) as subject:
        done = _json(subject.target, requests)
        subject.process.send_signal(signal.SIGTERM)
        subject.process.wait(60)
        found = INSTRUCTIONS.search((subject.folder / "log").read_text(errors="replace"))
    if found is None or done != requests:
        raise server.NotAnsweringError("no instruction count: the gateway failed under Valgrind")
    return int(found[1].replace(",", ""))


def _compare(found: dict[str, Counts], reference: Path, tolerance: float) -> bool:
    """Prints every count beside the saved one; whether all are within the tolerance."""
    saved: dict[str, Counts] = json.loads(reference.read_text())
    good = True
    for unit, counts in found.items():
        for name, count in counts.items():
            before = saved.get(unit, {}).get(name)
            grown = before is not None and count > before * (1 + tolerance)
            good = good and not grown
            print(f"{unit}: {count:g} {name} (saved: {before}){'  <- more than before' if grown else ''}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", action="store_true", help="count CPU instructions with Valgrind (some minutes)")
    ours = [peer.name for peer in PEERS if peer.name.startswith("headgate")]
    parser.add_argument("--peer", choices=ours, default="headgate", help="which of our configurations")
    parser.add_argument("--top", type=int, default=25, help="how many functions to list")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the counts as the reference")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with a reference; exit 1 when more")
    parser.add_argument("--tolerance", type=float, default=0.03)
    options = parser.parse_args()
    if options.machine and not shutil.which("valgrind"):
        parser.error("valgrind is not installed")
    server.stop_children_on_sigterm()
    found = machine(options.peer) if options.machine else interpreter(options.peer, options.top)
    for unit, counts in found.items():
        print(f"per {unit}: " + ", ".join(f"{count:g} {name}" for name, count in counts.items()))
    if options.save:
        options.save.write_text(json.dumps(found, indent=1) + "\n")
    if options.against and not _compare(found, options.against, options.tolerance):
        sys.exit(1)


if __name__ == "__main__":
    main()
