"""Turns the figures of all rounds into one row per gateway, as plain text, Markdown or JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Figures


@dataclass
class Row:
    """One gateway: what is on and off, its size, and the figures of each round by load name."""

    name: str
    note: str
    size_mb: float = 0.0
    problem: str = ""
    starts: list[Figures] = field(default_factory=list)
    rounds: dict[str, list[Figures]] = field(default_factory=dict)

    def median(self, load: str, key: str) -> float | None:
        values = [figures[key] for figures in self.rounds.get(load, ()) if key in figures]
        return statistics.median(values) if values else None

    def start_median(self, key: str) -> float | None:
        values = [figures[key] for figures in self.starts if key in figures]
        return statistics.median(values) if values else None


HEADINGS = (
    "",
    "CPU µs/JSON @1",
    "CPU µs/JSON @16",
    "CPU µs/chunk @50",
    "CPU µs/chunk @500",
    "CPU µs/chunk @1000",
    "added first byte p50/p99 ms",
    "gap p99 ms",
    "RSS idle → loaded MB",
    "ready s",
    "install MB",
)
STREAM_LOADS = {"stream@50": 50, "stream@500": 500, "stream@1000": 1000}
NOTHING = "-"


def cells(row: Row, direct: Row | None) -> list[str]:
    return [
        row.name,
        _cpu(row, "json@1", 1),
        _cpu(row, "json@16", 16),
        *(_cpu(row, load, width) for load, width in STREAM_LOADS.items()),
        _added_first_byte(row, direct),
        _gap(row),
        _memory(row),
        _number(row.start_median("ready_seconds"), 2),
        _number(row.size_mb or None, 0),
    ]


def _number(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _cpu(row: Row, load: str, width: int) -> str:
    value, actual, errors = (row.median(load, key) for key in ("cpu_us", "width", "errors"))
    if value is None or actual is None:
        return NOTHING
    units = row.median(load, "frames") if load in STREAM_LOADS else 1
    if not units or (errors and errors >= actual):
        return "fails"
    text = _number(value, 1 if load in STREAM_LOADS else 0)
    text += f" (@{actual:.0f})" if actual != width else ""
    return text + (f" ({errors:.0f} errors)" if errors else "")


def _added_first_byte(row: Row, direct: Row | None) -> str:
    """Both over the direct MEDIAN: the difference of two 99th percentiles would be mostly noise."""
    floor = direct.median("first byte", "first_p50_ms") if direct else None
    own = [row.median("first byte", key) for key in ("first_p50_ms", "first_p99_ms")]
    if row is direct or floor is None or not row.median("first byte", "frames"):
        return NOTHING
    return " / ".join(_number((value or 0) - floor, 2) for value in own)


def _gap(row: Row) -> str:
    """At the largest number of streams the row was measured with; the upstream's own gap is in brackets."""
    for load in reversed(STREAM_LOADS):
        value, upstream_gap = row.median(load, "gap_p99_ms"), row.median(load, "upstream_gap_ms")
        if value and upstream_gap is not None:
            return f"{value:.1f} ({upstream_gap:.0f})"
    return NOTHING


def _memory(row: Row) -> str:
    idle, loaded = row.start_median("idle_rss_mb"), row.start_median("loaded_rss_mb")
    return NOTHING if idle is None else f"{idle:.0f} → {_number(loaded)}"


def _grid(rows: Sequence[Row]) -> list[list[str]]:
    direct = next((row for row in rows if row.name == "direct"), None)
    return [list(HEADINGS), *(cells(row, direct) for row in rows)]


def plain(rows: Sequence[Row]) -> str:
    grid = _grid(rows)
    widths = [max(len(line[column]) for line in grid) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in grid]
    return "\n".join([lines[0], "-" * sum(widths), *lines[1:], *_notes(rows)])


def markdown(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    head, *body = (f"| {' | '.join(line)} |" for line in _grid(rows))
    rule = "| " + " | ".join("---" for _ in HEADINGS) + " |"
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([head, rule, *body, "", *(f"- {note}" for note in _notes(rows)), "", about, ""])


def _notes(rows: Sequence[Row]) -> list[str]:
    return [f"{row.name}: {row.note}{f' - {row.problem}' if row.problem else ''}" for row in rows]


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    models = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "CPU": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
