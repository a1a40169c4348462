"""Chunks that hold text alone are read in a short way. They say the same as by the long one."""

import json
from typing import Any

import pytest

from headgate.core.errors import UpstreamBroke
from headgate.dialects.chat_reader import Reader
from headgate.dialects.think import ThinkSplitter
from tests.requirements import covers

pytestmark = covers("dialects")
HELLO = {"index": 0, "delta": {"content": "Hello"}, "logprobs": None, "finish_reason": None}


def chunk(*choices: Any, **more: Any) -> bytes:
    return (
        b"data: " + json.dumps({"id": "chatcmpl-1", "model": "m", "choices": list(choices), **more}).encode() + b"\n\n"
    )


def read(pieces: list[bytes]) -> tuple[list[Any], Any]:
    reader = Reader(streams_calls=True)
    told = [event for piece in pieces for event in reader.feed(piece)]
    return [*told, *reader.finish()], reader.answer


@pytest.mark.parametrize(
    "odd",
    [
        chunk(HELLO),
        chunk({**HELLO, "delta": {"content": ""}}),
        chunk({**HELLO, "delta": {"content": None}}),
        chunk({**HELLO, "delta": {"content": "<think>Hm"}}),
        chunk({**HELLO, "delta": {"content": "  "}}),
        chunk({**HELLO, "delta": {"role": "assistant", "content": "Well"}}),
        chunk({**HELLO, "delta": {"content": "Well", "reasoning_content": "Hm"}}),
        chunk({**HELLO, "delta": {"content": [{"type": "text", "text": "Well"}]}}),
        chunk({**HELLO, "delta": None}),
        chunk({**HELLO, "index": 1}),
        chunk({**HELLO, "finish_reason": "length"}),
        chunk({**HELLO, "logprobs": {"content": [{"token": "Hello"}]}}),
        chunk({**HELLO, "unknown": {"a": 1}}),
        chunk(HELLO, {**HELLO, "index": 1}),
        chunk(HELLO, {**HELLO, "delta": {"content": "again"}}),
        chunk(),
        chunk(HELLO, system_fingerprint="fp_1", obfuscation="xyz", service_tier="flex"),
        chunk(HELLO, usage={"prompt_tokens": 1}),
    ],
)
@pytest.mark.parametrize("before", [[], [chunk(HELLO)], [chunk({**HELLO, "delta": {"content": "<think>"}})]])
def test_the_short_way_reads_what_the_long_one_does(
    before: list[bytes], odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = [*before, odd, chunk(HELLO), odd, chunk({"index": 0, "delta": {}, "finish_reason": "stop"})]
    found = read(stream)
    monkeypatch.setattr(Reader, "_text_alone", lambda *_: "")
    assert found == read(stream)


def test_an_error_beside_a_text_breaks_the_stream_off() -> None:
    with pytest.raises(UpstreamBroke, match="too busy"):
        read([chunk(HELLO), chunk(HELLO, error={"message": "too busy"})])


def test_a_text_that_may_begin_with_a_thought_does_not_pass() -> None:
    for piece in ("<", "<think>", " ", "\n"):
        assert not ThinkSplitter().passes(piece)
    splitter = ThinkSplitter()
    assert list(splitter.feed("<th")) == []
    assert not splitter.passes("ink>Hm")
    assert ThinkSplitter().passes("Hello")
