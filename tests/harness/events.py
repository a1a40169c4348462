"""Reads server-sent events as the standard says, line by line; shares no code with the gateway."""

import json
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Received:
    """One block between blank lines. `fields` are its lines as (name, value); a comment's name is empty."""

    fields: list[tuple[str, str]] = field(default_factory=list)

    @property
    def data(self) -> str | None:
        values = [value for name, value in self.fields if name == "data"]
        return "\n".join(values) if values else None

    @property
    def json(self) -> Any:
        assert self.data is not None
        return json.loads(self.data)

    @property
    def comments(self) -> list[str]:
        return [value for name, value in self.fields if not name]


def read_events(body: bytes) -> list[Received]:
    """All blocks of a stream; fails when the last one is not complete."""
    blocks: list[Received] = []
    fields: list[tuple[str, str]] = []
    lines = re.split("\r\n|\n|\r", body.decode())
    for line in lines[:-1]:
        if line:
            name, _, value = line.partition(":")
            fields.append((name, value.removeprefix(" ")))
        elif fields:
            blocks.append(Received(fields))
            fields = []
    assert not fields, f"the stream ends in the middle of an event: {fields}"
    assert not lines[-1], f"the stream ends in the middle of a line: {lines[-1]}"
    return blocks


def datas(body: bytes) -> list[str]:
    """The data of every event that has some."""
    return [event.data for event in read_events(body) if event.data is not None]


def chunks(body: bytes) -> list[Any]:
    """The JSON of every event but `[DONE]`."""
    return [json.loads(data) for data in datas(body) if data != "[DONE]"]


def text_of(body: bytes) -> str:
    """The text that a client would show."""
    parts = (choice["delta"].get("content") for one in chunks(body) for choice in one.get("choices", ()))
    return "".join(part for part in parts if part)


def ends_well(body: bytes) -> bool:
    """Whether the stream ends with exactly one `[DONE]` and holds no error."""
    seen = datas(body)
    return seen.count("[DONE]") == 1 and seen[-1] == "[DONE]" and not any("error" in one for one in chunks(body))


def last_error(body: bytes) -> Any:
    """The error object of a stream that ends with exactly one error event and has no `[DONE]`."""
    seen = datas(body)
    assert "[DONE]" not in seen
    errors = [number for number, data in enumerate(seen) if "error" in json.loads(data)]
    assert errors == [len(seen) - 1], seen
    return json.loads(seen[-1])["error"]
