"""Streams of a provider that speaks the Messages API pass byte for byte, but for the name of the model."""

import json
import random

import pytest

from headgate.core.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFault,
    UpstreamGarbled,
    UpstreamRateLimited,
    UpstreamUnavailable,
)
from headgate.core.request import parse_json
from headgate.core.run import Attempt, now
from headgate.core.surfaces import MESSAGES
from headgate.core.tokens import Tokens
from headgate.upstreams.messages import MessagesRelay, version_line
from tests.harness.messages import CALL, TEXT, THINKING, event, pieces
from tests.requirements import covers

pytestmark = covers("157", "sse")
ODD = {**TEXT, "text": 'a "error" b\n\ndata: x\r\n "message_start" {"type":"ping"} "model":"m" 🙂'}
STREAM = b"".join(pieces(THINKING, ODD, CALL, stop="tool_use"))
EXPECTED = STREAM.replace(b'"model":"claude-stub"', b'"model":"opus"', 1)
STOP = event("message_stop")


def relay() -> tuple[MessagesRelay, Attempt]:
    fields = {"model": "opus", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    attempt = Attempt("claude", "claude-stub", "claude/claude-stub", "claude/claude-stub", "opus", now())
    return MessagesRelay(parse_json(MESSAGES, json.dumps(fields).encode()), attempt), attempt


def test_however_it_is_cut_a_stream_passes_with_our_name_for_the_model() -> None:
    for cut in range(len(STREAM)):
        frames, attempt = relay()
        passed = b"".join(map(frames.feed, (STREAM[:cut], STREAM[cut:])))
        assert passed + frames.end() == EXPECTED, cut
        assert (frames.done, attempt.tokens) == (True, Tokens(127, 5, 100, 0, 20)), cut


@pytest.mark.parametrize("seed", range(10))
def test_in_pieces_of_any_size_it_is_the_same(seed: int) -> None:
    dice = random.Random(seed)
    frames, attempt = relay()
    at, passed = 0, b""
    while at < len(STREAM):
        size = dice.randint(1, 200)
        passed += frames.feed(STREAM[at : at + size])
        at += size
    assert passed == EXPECTED
    assert attempt.text_bytes >= len("Let me see." + ODD["text"])
    assert attempt.chunks >= STREAM.count(b"event: content_block") + 3
    assert attempt.first_token


def test_line_ends_and_data_in_several_lines_are_kept_or_put_in_one() -> None:
    frames, _ = relay()
    assert frames.feed(STREAM.replace(b"\n\n", b"\r\n\r\n")).replace(b"\r\n", b"\n").count(b'"model":"opus"') == 1
    frames, _ = relay()
    spread = b'event: message_start\ndata: {"type":"message_start",\ndata: "message":{"model":"claude-stub"}}\n\n'
    passed = frames.feed(spread)
    assert json.loads(passed.partition(b"data: ")[2]) == {"type": "message_start", "message": {"model": "opus"}}


def test_a_ping_before_the_message_is_no_beginning() -> None:
    frames, _ = relay()
    assert frames.feed(event("ping")) == event("ping")
    assert not frames.began
    with pytest.raises(UpstreamUnavailable):
        frames.feed(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", UpstreamUnavailable),
        ("rate_limit_error", UpstreamRateLimited),
        ("api_error", UpstreamFault),
        ("an_error_of_tomorrow", UpstreamBroke),
    ],
)
def test_an_error_in_the_middle_is_raised_once_what_stood_before_it_was_passed(
    kind: str, fault: type[UpstreamError]
) -> None:
    frames, attempt = relay()
    good, bad = STREAM[: STREAM.index(STOP) // 2], event("error", error={"type": kind, "message": "no"})
    good = good[: good.rindex(b"\n\n") + 2]
    assert frames.feed(good + bad + STREAM).count(b"event: ") == good.count(b"event: ")
    assert isinstance(frames.failure, fault)
    with pytest.raises(fault, match="no"):
        frames.end()
    assert attempt.tokens is None


def test_a_stream_that_ends_too_soon_is_broken_and_one_without_its_last_event_gets_it() -> None:
    frames, _ = relay()
    frames.feed(STREAM[: STREAM.index(b"event: message_delta")])
    with pytest.raises(UpstreamBroke):
        frames.end()
    for tail in (b"", STOP[:-2], STOP[:-1]):
        frames, _ = relay()
        begun = frames.feed(STREAM.removesuffix(STOP) + tail)
        assert begun + frames.end() == EXPECTED, tail


@pytest.mark.parametrize(
    ("fixed", "forwarded", "line"),
    [
        (b"host: h\r\n", b"", b"anthropic-version: 2023-06-01\r\n"),
        (b"host: h\r\n", b"anthropic-beta: b\r\n", b"anthropic-version: 2023-06-01\r\n"),
        (b"host: h\r\n", b"anthropic-version: 2099-01-01\r\n", b""),
        (b"anthropic-version: 2024-01-01\r\n", b"", b""),
    ],
)
def test_the_version_is_told_once(fixed: bytes, forwarded: bytes, line: bytes) -> None:
    assert version_line(fixed, forwarded) == line


def test_what_is_no_json_is_garbled_and_nothing_follows_the_end() -> None:
    frames, _ = relay()
    with pytest.raises(UpstreamGarbled):
        frames.feed(b"event: message_start\ndata: nonsense\n\n")
    frames, _ = relay()
    assert frames.feed(STREAM + STREAM) == EXPECTED
