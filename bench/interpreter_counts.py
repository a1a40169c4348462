"""Runs `python -m headgate` with counters on: Python calls, C calls and bytecodes, written to a file on SIGUSR2.

Started by `bench.hotpath`: `python -m bench.interpreter_counts OUTPUT serve --config …`.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


class Counts:
    """The counters of the main thread, where the event loop runs."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._calls: Counter[CodeType] = Counter()
        self._c_calls = 0
        self._bytecodes: Counter[CodeType] = Counter()

    def install(self) -> None:
        signal.signal(signal.SIGUSR2, self._write)
        self._count()

    def _count(self) -> None:
        sys.setprofile(self._profile)
        sys.settrace(self._trace)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            self._c_calls += 1

    def _trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        self._calls[frame.f_code] += 1
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "opcode":
            self._bytecodes[frame.f_code] += 1
        return self._inside

    def _write(self, number: int, frame: FrameType | None) -> None:
        sys.settrace(None)
        sys.setprofile(None)
        counts = {
            "python calls": self._calls.total(),
            "C calls": self._c_calls,
            "bytecodes": self._bytecodes.total(),
        }
        functions = {"calls": _named(self._calls), "bytecodes": _named(self._bytecodes)}
        partial = self._output.with_suffix(".partial")
        partial.write_text(json.dumps({"counts": counts, "functions": functions}))
        partial.rename(self._output)
        self._count()


def _named(counter: Counter[CodeType]) -> Counter[str]:
    named: Counter[str] = Counter()
    for code, count in counter.items():
        named["/".join(Path(code.co_filename).parts[-2:]) + f" {code.co_qualname}"] += count
    return named


def main() -> None:
    output, *arguments = sys.argv[1:]
    sys.argv = ["headgate", *arguments]
    Counts(Path(output)).install()
    runpy.run_module("headgate", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
