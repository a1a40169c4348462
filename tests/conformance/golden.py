"""Recorded answers of providers, and what becomes of them: `golden/DIALECT/CASE.sse` or `.json` is what a provider sent
(after real streams, rewritten by hand), `CASE.txt` beside it what the gateway makes of it in every dialect.

`python -m tests.conformance.golden` writes the transcripts anew, to be read before they are committed.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.conformance import chat_rules, messages_rules, ollama_rules, responses_rules
from tests.conformance.said import Said
from tests.conformance.through import NAMES, Heard, hear, hear_whole, told, told_whole
from tests.conformance.wire import sent

FOLDER = Path(__file__).parent / "golden"
CHECK_STREAM: dict[str, Callable[..., Said]] = {
    "chat": chat_rules.check_stream,
    "messages": messages_rules.check_stream,
    "responses": responses_rules.check_stream,
    "ollama": ollama_rules.check_stream,
}
CHECK_WHOLE: dict[str, Callable[[bytes], Said]] = {
    "chat": chat_rules.check_whole,
    "messages": messages_rules.check_whole,
    "responses": responses_rules.check_whole,
    "ollama": ollama_rules.check_whole,
}
_SHOWN = ("status", "output", "usage", "error", "incomplete_details")
_REPEATED = ("sequence_number", "item_id", "usage")


class Case(NamedTuple):
    """One recorded answer."""

    dialect: str
    name: str
    is_stream: bool

    @property
    def path(self) -> Path:
        return FOLDER / self.dialect / f"{self.name}.{'sse' if self.is_stream else 'json'}"

    @property
    def transcript(self) -> Path:
        return self.path.with_suffix(".txt")

    @property
    def body(self) -> bytes:
        return self.path.read_bytes()

    def heard(self) -> Heard:
        return hear(self.dialect, [self.body]) if self.is_stream else hear_whole(self.dialect, self.body)

    def __str__(self) -> str:
        return f"{self.dialect}/{self.name}"


def cases() -> list[Case]:
    """All of them, in the order of their names."""
    return [
        Case(dialect, path.stem, path.suffix == ".sse")
        for dialect in NAMES
        for path in sorted((FOLDER / dialect).iterdir())
        if path.suffix != ".txt"
    ]


def transcript(case: Case) -> str:
    """What becomes of a case, in a form to be read: without what the rules check anyway."""
    heard = case.heard()
    lines = ["# events", *map(_event, heard.events)]
    if heard.error is not None:
        lines.append(f"! {type(heard.error).__name__}: {heard.error.message}")
    for dialect in NAMES:
        lines += ["", f"# {dialect}"]
        if case.is_stream:
            lines += _shown(told(heard, dialect))
        else:
            lines.append(_json(_short(orjson.loads(told_whole(heard, dialect)))))
    return "\n".join(lines) + "\n"


def _event(event: Any) -> str:
    usual = type(event)._field_defaults
    told = [f"{name}={value!r}" for name, value in event._asdict().items() if name not in usual or value != usual[name]]
    return f"{type(event).__name__}({', '.join(told)})"


def _shown(stream: bytes) -> Iterator[str]:
    for event in sent(stream):
        if event.data == "[DONE]":
            yield "[DONE]"
            continue
        data = event.object
        if "choices" in data:
            yield _json({name: data[name] for name in data if name not in ("id", "object", "created", "model")})
        elif "sequence_number" in data:
            more = {name: _short(value) for name, value in data.items() if name not in ("type", *_REPEATED)}
            yield f"{event.name} {_json(more)}"
        else:
            yield f"{event.name} {_json({name: value for name, value in data.items() if name != 'type'})}"


def _short(value: Any) -> Any:
    if isinstance(value, dict) and value.get("object") == "response":
        return {name: value[name] for name in _SHOWN if value[name] not in (None, [])}
    return value


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


if __name__ == "__main__":
    for found in cases():
        found.transcript.write_text(transcript(found))
