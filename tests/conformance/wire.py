"""Server-sent events as a strict client reads them: no gateway code, so that both cannot be wrong in the same way."""

from typing import Any, NamedTuple

import orjson

from tests.conformance.said import rule


class Sent(NamedTuple):
    """One event: its name, empty for none, and its data as it came."""

    name: str
    data: str

    @property
    def object(self) -> dict[str, Any]:
        told = orjson.loads(self.data)
        rule(isinstance(told, dict), "an event's data is an object", self.data)
        return dict(told)


def sent(stream: bytes) -> list[Sent]:
    """The events of a stream, comments left out. Nothing may stand outside of an event."""
    text = stream.decode()
    rule(not text or text.endswith("\n\n"), "a stream ends behind a complete event", text[-80:])
    found = []
    for block in text.split("\n\n")[:-1]:
        lines = block.split("\n")
        rule(block and "\r" not in block, "events are parted by one empty line", block)
        if all(line.startswith(":") for line in lines):
            continue
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        rule(len(names) <= 1 and len(data) == 1, "an event has one name at most and one line of data", block)
        rule(len(names) + len(data) == len(lines), "an event holds nothing but its name and its data", block)
        found.append(Sent(names[0] if names else "", data[0]))
    return found
