"""The loads of the benchmark and what one of them costs a process tree: CPU per unit of work, latencies, memory."""

from __future__ import annotations

from dataclasses import dataclass

import uvloop

from bench import cpu
from bench.load import json_load, stream_load
from bench.target import Target


@dataclass(frozen=True)
class Load:
    """One column: JSON requests over `width` connections, or `width` simultaneous streams of so many chunks."""

    name: str
    width: int
    requests: int = 0
    chunks: int = 100
    gap_ms: int = 20
    ramp_seconds: float = 2

    @property
    def is_stream(self) -> bool:
        return self.requests == 0


Figures = dict[str, float]


def run(load: Load, target: Target, pid: int) -> Figures:
    """Puts one load on a gateway; CPU is that of the tree below `pid`, per request or per SSE frame received."""
    before = cpu.usage(pid)
    if load.is_stream:
        units, figures = _streams(load, target)
    else:
        done = uvloop.run(json_load(target, load.width, load.requests))
        units = done.requests
        figures = {"errors": done.errors, "p50_ms": done.p50_ms, "p99_ms": done.p99_ms, "per_second": done.per_second}
    after = cpu.usage(pid)
    spent_us = (after.cpu_seconds - before.cpu_seconds) * 1e6
    return {"width": load.width, "cpu_us": spent_us / max(units, 1), "rss_mb": after.rss_mb, **figures}


def _streams(load: Load, target: Target) -> tuple[int, Figures]:
    ran = uvloop.run(stream_load(target, load.width, load.chunks, load.gap_ms, load.ramp_seconds))
    figures: Figures = {
        "errors": ran.errors,
        "first_p50_ms": ran.first_p50_ms,
        "first_p99_ms": ran.first_p99_ms,
        "gap_p50_ms": ran.gap_p50_ms,
        "gap_p99_ms": ran.gap_p99_ms,
        "gap_max_ms": ran.gap_max_ms,
        "frames": ran.frames,
    }
    return ran.frames, figures
