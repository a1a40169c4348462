"""Streams and answers that no provider should send: recorded ones, damaged by dice in every way that was thought of."""

from random import Random
from typing import Any

import orjson

from headgate.core import sse

ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, 10**30, "", "x", "é😀", [], [None], ["x"], [{}], {}, {"x": "y"}, [[]])
STRANGE = (
    b"data: [DONE]\n\n",
    b"data: {}\n\n",
    b"data: []\n\n",
    b"data: null\n\n",
    b"data: {\n\n",
    b"data:\n\n",
    b": comment\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b'event: new.kind\ndata: {"type": "new.kind", "x": 1}\n\n',
    b'id: 1\nretry: 10\ndata: {"type":\ndata: "new.kind"}\n\n',
    b'data: {"error": "no"}\n\n',
    b'data: {"error": {"message": [1], "code": {}}}\n\n',
    b'data: {"choices": [{"delta": {"content": "late"}}]}\n\n',
    b"\xff\xfe\n\n",
    b"\n\n",
)


def damaged(stream: bytes, others: list[bytes], dice: Random) -> bytes:
    """A stream with one to three damages."""
    for _ in range(dice.randint(1, 3)):
        events = list(sse.events(stream))
        stream = dice.choice(_DAMAGES)(events, others, dice)
    return stream


def pieces(stream: bytes, dice: Random) -> list[bytes]:
    """The bytes as a network may cut them."""
    cuts = sorted(dice.randrange(len(stream) + 1) for _ in range(dice.randint(0, 4)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) if end > start]


def odd_answer(body: bytes, dice: Random) -> bytes:
    """A whole answer with one to three values that do not belong there."""
    answer = orjson.loads(body)
    for _ in range(dice.randint(1, 3)):
        answer = _odd_value(answer, dice)
    cut = orjson.dumps(answer)
    return cut if dice.random() < 0.9 else cut[: dice.randrange(len(cut))]


def _left_out(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    gone = dice.randrange(len(events)) if events else 0
    return b"".join(event for at, event in enumerate(events) if at != gone)


def _doubled(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    return b"".join(event * dice.choice((1, 1, 1, 2)) for event in events)


def _swapped(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    if events:
        moved = events.pop(dice.randrange(len(events)))
        events.insert(dice.randrange(len(events) + 1), moved)
    return b"".join(events)


def _shuffled(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    dice.shuffle(events)
    return b"".join(events)


def _cut_off(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    stream = b"".join(events)
    return stream[: dice.randrange(len(stream) + 1)]


def _flipped(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    stream = bytearray(b"".join(events))
    for _ in range(dice.randint(1, 3)):
        if stream:
            stream[dice.randrange(len(stream))] = dice.randrange(256)
    return bytes(stream)


def _strange(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    events.insert(dice.randrange(len(events) + 1), dice.choice(STRANGE))
    return b"".join(events)


def _foreign(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    """An event of another stream, which may be of another dialect."""
    strangers = list(sse.events(dice.choice(others)))
    events.insert(dice.randrange(len(events) + 1), dice.choice(strangers))
    return b"".join(events)


def _odd(events: list[bytes], others: list[bytes], dice: Random) -> bytes:
    """A value of a wrong type, or a member left out, somewhere within an event."""
    if not events:
        return b""
    at = dice.randrange(len(events))
    data = sse.data_of(events[at])
    try:
        value = orjson.loads(data or b"")
    except orjson.JSONDecodeError:
        return b"".join(events)
    events[at] = events[at].replace(data or b"", orjson.dumps(_odd_value(value, dice)))
    return b"".join(events)


_DAMAGES = (_left_out, _doubled, _swapped, _shuffled, _cut_off, _flipped, _strange, _foreign, _odd, _odd, _odd, _odd)


def _odd_value(value: Any, dice: Random) -> Any:
    """The value with something else in one place of it, deeper places as likely as others."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(sorted(value))
        if dice.random() < 0.15:
            return {key: one for key, one in value.items() if key != name}
        return {**value, name: _odd_value(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        at = dice.randrange(len(value))
        return [*value[:at], _odd_value(value[at], dice), *value[at + 1 :]]
    return _safe(dice.choice(ODD))


def _safe(value: Any) -> Any:
    """orjson writes no integers above 64 bits; a provider could."""
    return float(value) if isinstance(value, int) and abs(value) > 2**63 else value
