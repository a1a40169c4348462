"""Streams that break off or carry an error: what came is passed on, then one error event, and never an end marker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import datas, ends_well, last_error, read_events, text_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, DONE, Answer, Recorded, Stub, chunk, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("18", "faults", "14")
ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})


def error_event(**error: Any) -> bytes:
    return chunk(error={"message": "it broke", **error})


def as_seen(pieces: list[bytes]) -> bytes:
    return b"".join(pieces).replace(b"stub-small", b"small")


@pytest_asyncio.fixture(params=[15.0, 0.0], ids=["with pings", "without pings"])
async def gateway(stub: Stub, request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    settings = settings_for(stub, server={"ping_seconds": request.param})
    async with running_gateway(settings) as running:
        yield running


class Cuts:
    """Cuts each stream behind as many bytes as the request's `seed` says."""

    pieces = stream_pieces(["Hé", "\U0001f600"], usage=True)
    whole = b"".join(pieces)
    finish = b"".join(pieces[:-2])

    def __init__(self, framing: str) -> None:
        self.framing = framing

    def __call__(self, request: Recorded) -> Answer:
        return stream([self.whole], framing=self.framing, cut_after=request.json["seed"])

    def check(self, at: int, response: httpx.Response) -> None:
        """What of the whole frames went out, and how that ended."""
        frames = self.whole[: self.whole[:at].rfind(b"\n\n") + 2] if b"\n\n" in self.whole[:at] else b""
        if not frames:
            assert response.status_code == 502
            assert response.json()["error"]["code"] == "upstream_broke_off"
            return
        assert response.status_code == 200
        if self.is_whole(at):
            assert ends_well(response.content)
            assert text_of(response.content) == "Hé\U0001f600"
            return
        assert last_error(response.content)["code"] == "upstream_broke_off"
        assert response.content.startswith(as_seen([frames]))
        assert len(read_events(response.content)) == frames.count(b"\n\n") + 1

    def is_whole(self, at: int) -> bool:
        """An answer that ends with its connection is whole between two frames behind the last choice, as far as anyone
        can tell. The end marker may lack its blank line.
        """
        if self.framing == "chunked":
            return at == len(self.whole)
        between = self.whole[:at].endswith(b"\n\n") and at >= len(self.finish)
        return between or at >= len(self.whole) - 2


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_a_stream_cut_at_any_byte_ends_truly(stub: Stub, framing: str) -> None:
    cuts = Cuts(framing)
    stub.otherwise = cuts
    async with running_gateway(settings_for(stub), limits=httpx.Limits(max_connections=50)) as gateway:

        async def cut(at: int) -> None:
            cuts.check(at, await gateway.chat(stream=True, seed=at, stream_options={"include_usage": True}))

        positions = range(len(cuts.whole) + 1)
        for start in range(0, len(positions), 50):
            async with asyncio.timeout(BOUND):
                await asyncio.gather(*map(cut, positions[start : start + 50]))
            assert ends_well(await gateway.stream(seed=1 << 20))
        assert gateway.gate.metrics.in_flight == 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"code": 429}, 429, "upstream_rate_limited"),
        ({"code": "503"}, 503, "upstream_unavailable"),
        ({"status": 401}, 502, "upstream_key_refused"),
        ({"code": 400}, 400, "upstream_rejected"),
        ({"code": "context_length_exceeded"}, 502, "upstream_broke_off"),
        ({"type": "server_error"}, 502, "upstream_broke_off"),
    ],
)
@pytest.mark.parametrize(
    "before", [b"", b": PROCESSING\n\n", b"event: error\n"], ids=["first", "behind comment", "named"]
)
async def test_an_error_as_the_first_event_is_a_true_status(
    gateway: Gateway, stub: Stub, error: dict[str, Any], status: int, code: str, before: bytes
) -> None:
    stub.answer(stream([before + error_event(**error), DONE]))
    response = await gateway.chat(stream=True)
    assert response.status_code == status
    assert response.headers["x-headgate-error"] == code
    assert response.json()["error"]["message"] == "it broke"
    assert ends_well(await gateway.stream())


async def test_an_error_of_another_shape_is_an_error_too(gateway: Gateway, stub: Stub) -> None:
    plain = b'data: {"object":"error","message":"it broke","code":400}\n\n'
    stub.answer(stream([b'data: {"error":"it broke"}\n\n']), stream([plain, DONE]), stream([ROLE, HELLO, plain, DONE]))
    assert (await gateway.chat(stream=True)).json()["error"]["message"] == "it broke"
    assert (await gateway.chat(stream=True)).status_code == 400
    assert last_error(await gateway.stream())["message"] == "it broke"


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "in one read"])
@pytest.mark.parametrize("hang", [True, False], ids=["then silence", "then the end"])
async def test_an_error_later_is_the_last_event_behind_all_that_was_good(
    gateway: Gateway, stub: Stub, apart: bool, hang: bool
) -> None:
    pieces = [ROLE, HELLO, error_event(code=500), HELLO, DONE]
    stub.answer(stream(pieces if apart else [b"".join(pieces)], hang=hang))
    content = await asyncio.wait_for(gateway.stream(), 5)
    assert content.startswith(as_seen([ROLE, HELLO]))
    assert len(datas(content)) == 3
    assert last_error(content)["message"] == "it broke"
    assert ends_well(await gateway.stream())
    lines = await gateway.wait_for_lines(2)
    assert [(line["status"], line["outcome"], line["error"]) for line in lines] == [
        (200, "error", "upstream_fault"),
        (200, "ok", None),
    ]
    assert lines[0]["attempts"] == [{"target": "stub/stub-small", "error": "upstream_fault"}]


@pytest.mark.parametrize("bad", [b"data: {]\n\n", b"data: 7\n\n", b'data: {"choices":["a"]}\n\n'])
async def test_a_garbled_event_later_is_an_error_event(gateway: Gateway, stub: Stub, bad: bytes) -> None:
    stub.answer(stream([ROLE, bad, HELLO, DONE]))
    assert last_error(await gateway.stream())["code"] == "upstream_garbled"


async def test_a_key_in_an_error_event_is_taken_out(gateway: Gateway, stub: Stub) -> None:
    secret = chunk(error={"message": "bad key sk-upstream-secret-1"})
    stub.answer(stream([ROLE, HELLO, secret]), stream([secret]))
    assert b"secret" not in await gateway.stream()
    assert b"secret" not in await gateway.stream()


async def test_an_event_stream_of_another_surface_tells_its_error_too(gateway: Gateway, stub: Stub) -> None:
    piece = b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n'
    stub.answer(stream([piece, piece[:9]], cut_after=len(piece) + 9))
    body = {"model": "small", "input": "Hi", "voice": "a", "stream_format": "sse"}
    response = await gateway.http.post("/v1/audio/speech", json=body)
    assert last_error(response.content)["code"] == "upstream_broke_off"


async def test_a_binary_answer_that_breaks_off_does_not_look_complete(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(pieces=[b"RIFF" * 99] * 9, framing="chunked", content_type="audio/wav", cut_after=999, gap=0.01))
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        await gateway.http.post("/v1/audio/speech", json={"model": "small", "input": "Hi", "voice": "a"})
    stub.answer(Answer(body=b"RIFF", content_type="audio/wav"))
    response = await gateway.http.post("/v1/audio/speech", json={"model": "small", "input": "Hi", "voice": "a"})
    assert response.content == b"RIFF"
    assert [line["outcome"] for line in await gateway.wait_for_lines(2)] == ["error", "ok"]
