"""Log lines as JSON, written by one thread so that a slow reader of our output never stops the event loop.

Requests are logged without prompt or answer text.
"""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import orjson

from headgate.core.run import Run
from headgate.telemetry.redact import redact

_MOST_WAITING = 50_000


class LineWriter:
    """Writes lines to a stream from a thread of its own; when the reader stalls, the newest lines are dropped."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: dict[str, Any]) -> None:
        if self._lines.qsize() >= _MOST_WAITING:
            self._dropped += 1
            return
        self._lines.put(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Write what is waiting, for two seconds at most."""
        self._lines.put(None)
        self._thread.join(timeout=2)

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            lines = [line]
            time.sleep(0.05)  # lines that come together are written together
            ends = False
            while not self._lines.empty():
                more = self._lines.get()
                if more is None:
                    ends = True
                    break
                lines.append(more)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                lines.append(orjson.dumps({"event": "log_lines_dropped", "count": dropped}) + b"\n")
            try:
                self._stream.write(b"".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                return
            if ends:
                return


def request_logger(write: Callable[[dict[str, Any]], None]) -> Callable[[Run], None]:
    """An observer of runs that writes one line for each."""

    def log_run(run: Run) -> None:
        write(request_line(run))

    return log_run


def request_line(run: Run) -> dict[str, Any]:
    """What a request's line says. Durations in milliseconds; token counts are null where the provider gave none."""
    last = run.attempts[-1] if run.attempts else None
    tokens = last.tokens if last else None
    return {
        "ts": time.time(),
        "event": "request",
        "request_id": run.id,
        "trace_id": run.trace.trace_id,
        "key": run.who.key_id,
        "route": run.route,
        "model": run.model,
        "target": last.target if last else None,
        "status": run.status,
        "outcome": run.outcome,
        "error": run.error.code if run.error else None,
        "stream": run.stream,
        "attempts": [
            {"target": attempt.target, "error": attempt.error.code if attempt.error else None}
            for attempt in run.attempts
        ],
        "duration_ms": _milliseconds(run.started, run.ended),
        "first_byte_ms": _milliseconds(run.started, last.first_byte) if last and last.first_byte else None,
        "first_token_ms": _milliseconds(run.started, last.first_token) if last and last.first_token else None,
        "chunks": last.chunks if last else 0,
        "bytes_in": run.bytes_in,
        "bytes_out": run.bytes_out,
        "usage_missing": tokens is None,
        "prompt_tokens": tokens.prompt if tokens else None,
        "completion_tokens": tokens.completion if tokens else None,
        "cached_tokens": tokens.cached if tokens else None,
        "reasoning_tokens": tokens.reasoning if tokens else None,
    }


def _milliseconds(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)


class JsonHandler(logging.Handler):
    """The standard library's log records as JSON lines."""

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        line = {
            "ts": record.created,
            "event": "log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = redact(logging.Formatter().formatException(record.exc_info))
        self._write(line)


class PlainHandler(logging.StreamHandler[Any]):
    """Log records for a person at a terminal, on standard error."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(levelname)-8s %(message)s"))
        self.addFilter(_redact_record)


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True
