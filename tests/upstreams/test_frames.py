"""The short way through a stream gives the same bytes and sees the same things as the long one."""

import json
import random
from typing import Any

import pytest

from headgate.core.errors import UpstreamError
from headgate.core.request import parse_json
from headgate.core.run import Attempt, now
from headgate.core.surfaces import CHAT
from headgate.upstreams.frames import FrameRelay
from tests.harness.stub import DONE, USAGE, chunk
from tests.requirements import covers

pytestmark = covers("sse", "2")
TEXTS = ["a", " b", "", "c d", 'quote " quote', "\\", "\n\n", "é😀"]
TEXTS += ['"usage":{"x":1}', '"error":{}', "[DONE]", '"content":"x']


def relay(*, asks_usage: bool = False) -> tuple[FrameRelay, Attempt]:
    fields = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    request = parse_json(CHAT, json.dumps(fields).encode())
    attempt = Attempt("stub", "stub-small", "stub/stub-small", "stub/stub-small", "small", now())
    return FrameRelay(request, attempt, hides_usage=not asks_usage), attempt


def seen(*pieces: bytes, asks_usage: bool = False, learns: bool = True) -> tuple[bytes, FrameRelay, Attempt]:
    frames, attempt = relay(asks_usage=asks_usage)
    if not learns:
        frames._patterns_left = 0
    return b"".join(map(frames.feed, pieces)), frames, attempt


def words(dice: random.Random, **more: Any) -> list[bytes]:
    """A stream of odd texts in all kinds of deltas."""
    kinds = ["content", "content", "content", "content", "reasoning_content", "refusal"]
    deltas: list[dict[str, Any]] = [{dice.choice(kinds): dice.choice(TEXTS)} for _ in range(40)]
    odd: list[dict[str, Any]] = [
        {"content": None},
        {"tool_calls": [{"index": 0, "function": {"arguments": dice.choice(TEXTS)}}]},
    ]
    return [chunk({"role": "assistant", "content": ""}, **more), *(chunk(delta, **more) for delta in deltas + odd)]


@pytest.mark.parametrize("asks_usage", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_learning_changes_nothing_that_the_caller_gets(seed: int, asks_usage: bool) -> None:
    dice = random.Random(seed)
    more: dict[str, Any] = {"usage": None} if seed % 2 else {}
    pieces = words(dice, **more)
    dice.shuffle(pieces)
    pieces += [chunk({}, "stop", **more), chunk(usage=USAGE), DONE]
    quick, slow = seen(*pieces, asks_usage=asks_usage), seen(*pieces, asks_usage=asks_usage, learns=False)
    assert quick[0] == slow[0]
    assert (quick[1].done, quick[1].finished) == (slow[1].done, slow[1].finished) == (True, True)
    assert quick[2].tokens == slow[2].tokens
    assert quick[2].chunks == slow[2].chunks


@pytest.mark.parametrize("seed", range(60))
def test_learning_changes_nothing_of_events_that_come_together(seed: int) -> None:
    dice = random.Random(seed)
    texts = ["a", " b", "c d", "é"] if seed % 2 else TEXTS
    events = [chunk({"content": dice.choice(texts)}) for _ in range(60)]
    pieces = [chunk({"role": "assistant", "content": "x"}), *events[:3]]
    while events := events[dice.randint(1, 4) :]:
        pieces.append(b"".join(events[: dice.randint(1, 4)]))
    pieces += [chunk({}, "stop"), chunk(usage=USAGE), DONE]
    quick, slow = seen(*pieces), seen(*pieces, learns=False)
    assert quick[0] == slow[0]
    assert quick[2].text_bytes == slow[2].text_bytes


def test_the_pattern_is_really_used() -> None:
    pieces = [chunk({"content": text}) for text in "abcdef"]
    frames, _ = relay()
    for piece in pieces[:3]:
        frames.feed(piece)
    before, behind, *_ = frames._pattern
    assert before + b"e" + behind == pieces[4]


@pytest.mark.parametrize("in_a_row", [False, True])
@pytest.mark.parametrize(
    "hidden",
    [
        b'x"},"finish_reason":null}],"usage":{"prompt_tokens":1},"choices":[{"index":0,"delta":{"content":"y',
        b'x"},"finish_reason":null}],"error":{"message":"it broke"},"choices":[{"index":0,"delta":{"content":"y',
    ],
)
def test_what_ends_the_text_early_is_looked_at(hidden: bytes, in_a_row: bool) -> None:
    pieces = [chunk({"content": text}) for text in "abc"]
    frames, attempt = relay()
    for piece in pieces:
        frames.feed(piece)
    event = pieces[0].replace(b'"content":"a', b'"content":"' + hidden)
    event = event + pieces[1] if in_a_row else event
    if b"error" in hidden:
        with pytest.raises(UpstreamError):
            frames.feed(event)
    else:
        frames.feed(event)
        assert attempt.tokens is not None
