"""The relay of Responses streams: bytes as they came, but for the model's name; what is noted; what breaks it."""

import json

import pytest

from headgate.core import surfaces
from headgate.core.errors import UpstreamBroke, UpstreamError, UpstreamFault, UpstreamGarbled, UpstreamRateLimited
from headgate.core.request import parse_json
from headgate.core.run import Attempt, now
from headgate.upstreams.responses_frames import ResponsesRelay
from tests.harness.responses import call, message, pieces, reasoning
from tests.requirements import covers

pytestmark = covers("responses")
STREAM = b"".join(pieces(reasoning("Hm."), message("Hello."), call()))
NAMED = STREAM.replace(b'"model":"stub-small"', b'"model":"small"')


def relay() -> tuple[ResponsesRelay, Attempt]:
    attempt = Attempt("u", "stub-small", "u/stub-small", "k", "small", now())
    request = parse_json(surfaces.RESPONSES, b'{"model":"small","input":"Hi","stream":true}')
    return ResponsesRelay(request, attempt), attempt


def told(stream: bytes, size: int) -> tuple[bytes, Attempt]:
    """What the caller gets of a stream that comes in pieces of so many bytes."""
    one, attempt = relay()
    sent = b"".join(one.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    return sent + one.end(), attempt


@pytest.mark.parametrize("size", [1, 3, 50, 1 << 20])
def test_every_byte_comes_through_but_the_models_name(size: int) -> None:
    sent, attempt = told(STREAM, size)
    assert sent == NAMED
    assert attempt.tokens is not None
    assert (attempt.tokens.prompt, attempt.tokens.completion, attempt.tokens.cached) == (7, 3, 2)
    assert attempt.first_token
    assert attempt.text_bytes == len(b'Hm.Hello.{\\"city\\":\\"Oslo\\"}')


def test_the_model_is_not_renamed_in_what_it_says() -> None:
    words = '"response":{"model":"stub-small"}'
    sent, _ = told(b"".join(pieces(message(words))), 1 << 20)
    text = b"".join(pieces(message(words))).replace(b'"model":"stub-small"', b'"model":"small"')
    assert sent == text
    assert json.dumps(words).encode() in sent


def test_nothing_follows_the_last_event() -> None:
    sent, _ = told(STREAM + b"data: [DONE]\n\nevent: x\ndata: {}\n\n", 1 << 20)
    assert sent == NAMED


def test_comments_and_new_events_come_through() -> None:
    begun, rest = STREAM.split(b"\n\n", 1)
    new = b': ping\n\nevent: response.new\ndata: {"type":"response.new"}\n\n'
    sent, _ = told(begun + b"\n\n" + new + rest, 1 << 20)
    assert new in sent


def failed(kind: str = "response.failed") -> bytes:
    error = {"code": "rate_limit_exceeded", "message": "Slow down."}
    return pieces(last=kind, error=error)[-1]


def test_a_failure_before_the_model_began_is_not_passed_on() -> None:
    one, _ = relay()
    begun = b"".join(pieces()[:2])
    assert one.feed(begun)
    assert not one.began
    with pytest.raises(UpstreamError, match=r"Slow down\."):
        one.feed(failed())


def test_a_failure_in_the_middle_is_passed_on_and_ends_the_stream() -> None:
    one, attempt = relay()
    middle = b"".join(pieces(message())[:5])
    assert one.feed(middle + failed() + STREAM).endswith(failed().replace(b"stub-small", b"small"))
    with pytest.raises(UpstreamError):
        one.end()
    assert one.broken(502, {}) == b"", "the provider said it already"
    assert attempt.tokens is not None


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            b'event: error\ndata: {"type":"error","code":"server_error","message":"Burnt.","param":null}\n\n',
            UpstreamFault,
        ),
        (b'data: {"type":"error","error":{"code":"429","message":"Burnt."}}\n\n', UpstreamRateLimited),
    ],
)
def test_an_error_event_says_what_went_wrong(event: bytes, kind: type[UpstreamError]) -> None:
    one, _ = relay()
    with pytest.raises(kind, match=r"Burnt\."):
        one.feed(event)


def test_a_stream_that_ends_too_soon_is_broken_and_says_so_with_the_next_number() -> None:
    one, _ = relay()
    one.feed(b"".join(pieces(message())[:5]))
    with pytest.raises(UpstreamBroke):
        one.end()
    last = one.broken(502, {"code": "upstream_broke_off", "message": "It broke off.", "type": "x", "param": None})
    event = json.loads(last.partition(b"data: ")[2])
    assert (event["type"], event["sequence_number"]) == ("error", 5)
    assert event["message"] == event["error"]["message"] == "It broke off."


def test_what_is_no_json_is_garbled() -> None:
    one, _ = relay()
    with pytest.raises(UpstreamGarbled):
        one.feed(b"data: hello\n\n")


def test_the_cost_is_told_where_it_is_to_be() -> None:
    one, attempt = relay()
    attempt.cost_of = lambda _attempt, tokens: tokens.prompt * 1_000_000
    last = one.feed(STREAM).rstrip().rpartition(b"data: ")[2]
    assert json.loads(last)["response"]["usage"]["cost"] == 0.007
    assert json.loads(last)["response"]["usage"]["input_tokens"] == 7
