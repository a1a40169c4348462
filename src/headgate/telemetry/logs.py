"""Log lines as JSON, written by one thread so that a slow reader of our output never stops the event loop.

Requests are logged without prompt or answer text.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import orjson

from headgate.core.bounds import Refusal
from headgate.core.errors import LimitReached
from headgate.core.run import Attempt, Run, now
from headgate.core.tokens import Tokens
from headgate.telemetry.redact import redact

_MOST_WAITING = 50_000
_UNKNOWN = (None,) * len(Tokens._fields)
_NO_ATTEMPT = Attempt("", "", "", "", "", 0.0)


class LineWriter:
    """Writes lines to a stream from a thread of its own; when the reader stalls, the newest lines are dropped.

    The thread looks twenty times a second while lines come and sleeps on an event otherwise: waking it for each line
    would cost the event loop more than all the rest of logging.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._asleep = False
        self._ending = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: dict[str, Any]) -> None:
        if len(self._lines) >= _MOST_WAITING:
            self._dropped += 1
            return
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if self._asleep:
            self._wake.set()

    def close(self) -> None:
        """Write what is waiting, for two seconds at most."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout=2)

    def _write_all(self) -> None:
        while True:
            ending = self._ending
            if lines := self._taken():
                try:
                    self._stream.write(b"".join(lines))
                    self._stream.flush()
                except (OSError, ValueError):
                    return
            elif ending:
                return
            else:
                self._sleep()
            if not ending:
                time.sleep(0.05)  # lines that come together are written together

    def _sleep(self) -> None:
        """Until a line comes. A line that came before we said that we sleep is seen by the second look."""
        self._wake.clear()
        self._asleep = True
        if not self._lines and not self._ending:
            self._wake.wait()
        self._asleep = False

    def _taken(self) -> list[bytes]:
        """All waiting lines, and one that counts those that were dropped."""
        waiting = self._lines
        lines = [waiting.popleft() for _ in range(len(waiting))]
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(orjson.dumps({"event": "log_lines_dropped", "count": dropped}) + b"\n")
        return lines


def request_logger(write: Callable[[dict[str, Any]], None], usual: bool = True) -> Callable[[Run], None]:
    """An observer of runs that writes one line for each. `usual`: also for tenants whose settings say nothing of it."""

    def log_run(run: Run) -> None:
        of_tenant = run.who.terms.is_logged
        if usual if of_tenant is None else of_tenant:
            write(request_line(run))

    return log_run


def request_line(run: Run) -> dict[str, Any]:
    """What a request's line says. Durations in milliseconds; token counts are null where the provider gave none."""
    attempts, started, who, cost = run.attempts, run.started, run.who, run.cost
    last = attempts[-1] if attempts else _NO_ATTEMPT
    tokens = last.tokens if len(attempts) < 2 else _reported(attempts)
    prompt, completion, cached, reasoning, cache_write, *_ = tokens or _UNKNOWN
    line = {
        "ts": time.time() - now() + run.ended,
        "event": "request",
        "request_id": run.id,
        "trace_id": run.trace.trace_id,
        "key": who.key_id,
        "tenant": who.tenant,
        "user": who.user or None,
        "component": run.component,
        "route": run.route,
        "model": run.model,
        "target": last.target or None,
        "status": run.status,
        "outcome": run.outcome,
        "error": run.error.code if run.error else None,
        "stream": run.stream,
        "attempts": [{"target": one.target, "error": one.error.code if one.error else None} for one in attempts],
        "duration_ms": int((run.ended - started) * 1e6 + 0.5) / 1e3,  # `round` takes five times as long
        "first_byte_ms": int((last.first_byte - started) * 1e6 + 0.5) / 1e3 if last.first_byte else None,
        "first_token_ms": int((last.first_token - started) * 1e6 + 0.5) / 1e3 if last.first_token else None,
        "chunks": last.chunks,
        "bytes_in": run.bytes_in,
        "bytes_out": run.bytes_out,
        "usage_missing": tokens is None,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cached_tokens": cached,
        "reasoning_tokens": reasoning,
        "cost_usd": None if cost is None else cost / 1e9,
        "cost_measure": last.measure or None,
        "limited": run.ticket is not None,
    }
    if cache_write:
        line["cache_write_tokens"] = cache_write
    if (attempts or run.passed_over or run.error) and (told := _decisions(run, last)):
        line |= told
    if run.replay_of:
        line["replay_of"] = run.replay_of
    if run.tools or run.parent or run.absent or run.stop or run.passages:
        line |= _inside(run)
    return line


def _reported(attempts: Sequence[Attempt]) -> Tokens | None:
    """What providers reported, of all turns and tries together; None where the last one reported nothing."""
    if attempts[-1].tokens is None:
        return None
    return Tokens(*map(sum, zip(*(one.tokens for one in attempts if one.tokens is not None), strict=True)))


def _decisions(run: Run, last: Attempt) -> dict[str, Any]:
    """What was out of the ordinary; the fields are absent otherwise."""
    told: dict[str, Any] = {}
    if run.passed_over:
        told["passed_over"] = run.passed_over
    if len(run.attempts) > 1 and last.model_name != run.answering[0].model_name:
        told["fallback"] = last.model_name
    if last.dropped:
        told["dropped"] = last.dropped
    if last.applied or (run.applied and run.attempts):
        told["applied"] = (*run.applied, *last.applied)
    if run.error and isinstance(run.error, LimitReached) and (refusal := run.error.refusal) is not None:
        told["refused_by"] = _limit(refusal)
    if run.ticket is not None and run.ticket.over:
        told["over"] = [_limit(one) for one in run.ticket.over]
    if run.mirror_of:
        told["mirror_of"] = run.mirror_of
    return told


def _inside(run: Run) -> dict[str, Any]:
    """The tools that ran, without what they were given and said, those missing, and the run that asked for this one.

    Of passages that the model was told, the ids.
    """
    tools = [{"tool": one.name, "result": one.result, "ms": round(one.seconds * 1000, 1)} for one in run.tools]
    told = {"tools": tools, "tools_absent": list(run.absent), "parent": run.parent, "stopped": run.stop}
    told["passages"] = [one.id for one in run.passages]
    return {name: value for name, value in told.items() if value}


def _limit(refusal: Refusal) -> dict[str, Any]:
    """Which limit of whom; what is allowed is USD for a budget."""
    allowed = refusal.allowed / 1e9 if refusal.limit == "budget" else refusal.allowed
    return {"limit": refusal.limit, "of": refusal.subject, "period": refusal.period, "allowed": allowed}


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
