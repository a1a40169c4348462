"""CPU time and resident memory of a process tree, read from /proc: what a gateway spends, whatever it is written in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
VANISHED = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Usage:
    """CPU seconds spent since start by all threads, and resident bytes now."""

    cpu_seconds: float
    rss_bytes: int

    @property
    def rss_mb(self) -> float:
        return self.rss_bytes / 1e6


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command name (state first); none when the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except VANISHED:
        return []
    return text[text.rindex(")") + 2 :].split()


def tree(pid: int) -> list[int]:
    """The process and its living descendants."""
    parents = {int(entry.name): _stat_fields(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()}
    members = [pid]
    for member in members:
        members.extend(child for child, fields in parents.items() if fields and int(fields[1]) == member)
    return members


def start_tick(pid: int) -> int:
    """When a process began, in clock ticks since boot: with its id, what tells it from a later one; 0 when gone."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def _living_threads_seconds(pid: int) -> float:
    """CPU seconds of the threads now alive, in nanosecond resolution; 0 where the kernel keeps no schedstat."""
    total = 0
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except VANISHED:
        return 0.0
    return total / 1e9


def usage(pid: int) -> Usage:
    """What the tree below a process has used.

    utime + stime (with those of reaped children) miss nothing but come in 10 ms ticks, schedstat is exact but forgets
    ended threads; neither ever says too much, so the larger one is taken.
    """
    cpu_seconds, rss_bytes = 0.0, 0
    for member in tree(pid):
        fields = _stat_fields(member)
        if fields:
            ticks = sum(int(count) for count in fields[11:15])
            cpu_seconds += max(ticks / TICKS_PER_SECOND, _living_threads_seconds(member))
            rss_bytes += int(fields[21]) * PAGE_BYTES
    return Usage(cpu_seconds, rss_bytes)
