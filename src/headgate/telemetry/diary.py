"""Conversations as JSON lines in files, one file for each, for whoever has to look at them. Nothing reads them back.

A thread of its own writes; who notes something never waits. What is too much is left out and counted, never an error.
"""

import hashlib
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from headgate.core.run import Run
from headgate.telemetry.redact import redact

log = logging.getLogger(__name__)
_TEXTS = frozenset(
    ("content", "text", "arguments", "result", "url", "data", "thought", "refusal", "prompt", "input", "raw", "query")
)
_SHORTEST = 64
_MOST_PARTS = 10_000
_LAST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DiaryBounds:
    """`line` and `file` in bytes, `waiting` in lines; without `content` texts are told by their length alone."""

    content: bool = True
    line: int = 262_144
    file: int = 16 << 20
    waiting: int = 10_000


class Diary:
    """Writes below one folder, which only its owner can read."""

    def __init__(self, folder: Path, bounds: DiaryBounds) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._bounds = bounds
        self._lines: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(bounds.waiting)
        self.left_out = 0
        self._thread = threading.Thread(target=self._work, name="diary", daemon=True)
        self._thread.start()

    def note(self, run: Run, kind: str, fields: Mapping[str, Any]) -> None:
        """Put down what happened in a run."""
        who = run.who
        line = {
            "type": kind,
            "ts": time.time(),
            "run": run.id,
            "session": run.wishes.session or None,
            "model": run.model,
            "tenant": who.tenant,
            "key": who.key_id,
            "user": who.user or None,
            **fields,
        }
        try:
            self._lines.put_nowait((name_of(run), line))
        except queue.Full:
            self.left_out += 1
            if self.left_out & (self.left_out - 1) == 0:  # told at 1, 2, 4, 8 …
                log.warning("%s lines of conversations were left out: the disk is too slow", self.left_out)

    def close(self) -> None:
        """Write what waits, within some seconds."""
        try:
            self._lines.put(None, timeout=_LAST_SECONDS)
        except queue.Full:
            return
        self._thread.join(_LAST_SECONDS)

    def _work(self) -> None:
        is_well = True
        while (entry := self._lines.get()) is not None:
            name, line = entry
            try:
                self._write(name, self._encoded(line))
                is_well = True
            except Exception as error:  # noqa: BLE001 - the thread goes on whatever a line does
                if is_well:
                    log.warning("a conversation could not be written: %s: %s", type(error).__name__, error)
                is_well = False

    def _encoded(self, line: dict[str, Any]) -> bytes:
        made = _plain(line, self._bounds.content)
        text = orjson.dumps(made)
        limit = self._bounds.line // 2
        while len(text) >= self._bounds.line and limit >= _SHORTEST:
            made = _cut(made, limit)
            text = orjson.dumps({**made, "cut": True})
            limit //= 4
        if len(text) >= self._bounds.line:
            kept = {name: value for name, value in made.items() if not isinstance(value, dict | list)}
            text = orjson.dumps({**kept, "cut": True})
        return text + b"\n"

    def _write(self, name: str, text: bytes) -> None:
        number = 0
        while True:
            path = self._folder / (f"{name}.{number}.jsonl" if number else f"{name}.jsonl")
            if number >= _MOST_PARTS or not path.exists() or path.stat().st_size + len(text) <= self._bounds.file:
                break
            number += 1
        with open(path, "ab", buffering=0, opener=_private) as file:
            file.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def name_of(run: Run) -> str:
    """The file of a run's conversation, without its ending: nobody else's session has the same."""
    session = run.wishes.session
    if not session:
        return run.id
    who = run.who
    digest = hashlib.sha256("\0".join((who.tenant, who.key_id, who.user, session)).encode()).hexdigest()[:24]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', session)[:40].strip('-') or 'session'}-{digest}"


def _plain(value: Any, content: bool, name: str = "") -> Any:
    """Values that JSON has, without secrets, and without texts if they are not to be told."""
    if isinstance(value, str):
        return redact(value) if content or name not in _TEXTS else f"[{len(value)} characters]"
    if isinstance(value, Mapping):
        return {str(key): _plain(one, content, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, content, name) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}[{len(value) - limit} characters left out]"
    if isinstance(value, dict):
        return {key: _cut(one, limit) for key, one in value.items()}
    return [_cut(one, limit) for one in value] if isinstance(value, list) else value
