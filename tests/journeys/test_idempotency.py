"""Repeats of calls with an `Idempotency-Key`, after the answer and while it comes: one call, the same bytes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("154")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
KEYED = {"idempotency-key": "order-4711"}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub), tmp_path) as running:
        yield running


async def ask(gateway: Gateway, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
    headers = {**KEYED, **more.pop("headers", {})}
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], **more}
    return await gateway.http.post(path, json=body, headers=headers)


def told(response: httpx.Response) -> tuple[Any, ...]:
    """All that a repeat has in common with the first answer."""
    headers = response.headers
    return response.status_code, headers["content-type"], headers["x-request-id"], response.content


def replayed(response: httpx.Response) -> bool:
    return bool(response.headers.get("idempotent-replayed") == "true")


@both_ways
async def test_a_repeat_after_the_answer_gets_the_same_bytes_without_a_call(
    gateway: Gateway, stub: Stub, streamed: bool
) -> None:
    first = await ask(gateway, stream=streamed)
    repeat = await ask(gateway, stream=streamed)
    assert told(repeat) == told(first)
    assert (replayed(first), replayed(repeat)) == (False, True)
    assert repeat.headers["x-headgate-target"] == first.headers["x-headgate-target"]
    assert len(stub.calls) == 1
    assert ends_well(repeat.content) if streamed else repeat.json()["model"] == "small"


@both_ways
async def test_without_the_header_every_call_is_a_new_one(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    for _ in range(2):
        assert not replayed(await gateway.chat(stream=streamed))
    assert len(stub.calls) == 2


async def test_a_repeat_during_a_stream_gets_it_from_its_first_byte_and_follows_it(
    gateway: Gateway, stub: Stub
) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    first = asyncio.create_task(ask(gateway, stream=True))
    await stub.wait_for_calls(1)
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=KEYED) as late:
        pieces = late.aiter_bytes()
        came = await anext(pieces)
        assert b"assistant" in came
        assert not first.done()
        release.set()
        came += b"".join([piece async for piece in pieces])
    assert came == (await first).content
    assert late.headers["x-request-id"] == (await first).headers["x-request-id"]
    assert ends_well(came)
    assert len(stub.calls) == 1


@both_ways
async def test_twenty_at_once_are_one_call(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    release = asyncio.Event()
    whole = Answer(pieces=[chat().body[:9], chat().body[9:]], release=release)
    stub.answer(stream(release=release) if streamed else whole)
    calls = [asyncio.create_task(ask(gateway, stream=streamed)) for _ in range(20)]
    async with asyncio.timeout(BOUND):
        while sum(gateway.gate.metrics.idempotent.values()) < 20:
            await asyncio.sleep(0.005)
    release.set()
    answers = await asyncio.gather(*calls)
    assert len({told(answer) for answer in answers}) == 1
    assert sum(map(replayed, answers)) == 19
    assert len(stub.calls) == 1
    assert gateway.gate.metrics.idempotent == {("chat", "first"): 1, ("chat", "attached"): 19}


@pytest.mark.parametrize(
    "other",
    [{"temperature": 0.5}, {"stream": True}, {"headers": {"x-headgate-retries": "1"}}],
    ids=["field", "stream", "wish"],
)
@both_ways
async def test_another_request_under_the_same_key_is_refused(
    gateway: Gateway, stub: Stub, other: dict[str, Any], streamed: bool
) -> None:
    """After the answer, and while it is made."""
    if during := streamed:
        stub.answer(Answer(raw=b"", hang=True))
    first = asyncio.create_task(ask(gateway))
    await (stub.wait_for_calls(1) if during else first)
    refused = await ask(gateway, **other)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert refused.json()["error"]["param"] == "idempotency-key"
    assert "Idempotency-Key" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert len(stub.calls) == 1
    first.cancel()


async def test_other_callers_users_and_routes_are_not_touched(gateway: Gateway, stub: Stub) -> None:
    await ask(gateway)
    other_key = {"authorization": f"Bearer {TOKEN}"}
    for headers in (other_key, {"x-user-id": "ann"}, {"x-user-id": "bob"}, {**other_key, "x-user-id": "ann"}):
        assert not replayed(await ask(gateway, headers=headers))
    assert not replayed(await ask(gateway, "/v1/completions", prompt="Hi"))
    assert len(stub.calls) == 6
    assert replayed(await ask(gateway, "/chat/completions"))
    assert replayed(await ask(gateway, headers={"x-user-id": "ann"}))
    assert len(stub.calls) == 6


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "caf\u00e9"])
async def test_a_key_that_is_none_is_refused_by_name(gateway: Gateway, stub: Stub, key: str) -> None:
    refused = await ask(gateway, headers={"idempotency-key": key.encode("latin-1")})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_header")
    assert refused.json()["error"]["param"] == "idempotency-key"
    assert stub.calls == []


@pytest.mark.parametrize("status", [429, 500, 503, 401, 404])
@both_ways
async def test_a_failure_that_may_pass_is_tried_again(
    gateway: Gateway, stub: Stub, status: int, streamed: bool
) -> None:
    stub.answer(Answer(status=status))
    assert (await ask(gateway, stream=streamed)).status_code >= 400
    again = await ask(gateway, stream=streamed)
    assert (again.status_code, replayed(again)) == (200, False)
    assert replayed(await ask(gateway, stream=streamed))
    assert len(stub.calls) == 2


@both_ways
async def test_a_refusal_of_the_request_itself_is_repeated(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(Answer(status=400, body=b'{"error":{"message":"No such voice.","param":"voice"}}'))
    first = await ask(gateway, stream=streamed)
    repeat = await ask(gateway, stream=streamed)
    assert first.status_code == 400
    assert told(repeat) == told(first)
    assert len(stub.calls) == 1


async def test_a_request_that_was_refused_here_leaves_the_key_free(gateway: Gateway, stub: Stub) -> None:
    assert (await ask(gateway, model="none")).status_code == 404
    assert (await ask(gateway, temperature="hot")).status_code == 400
    assert (await ask(gateway)).status_code == 200


async def test_a_stream_that_broke_is_made_anew_and_those_who_listened_saw_it_break(
    gateway: Gateway, stub: Stub
) -> None:
    release = asyncio.Event()
    stub.answer(stream(stream_pieces()[:3], cut_after=10**6, framing="close", release=release))
    calls = [asyncio.create_task(ask(gateway, stream=True)) for _ in range(2)]
    async with asyncio.timeout(BOUND):
        while sum(gateway.gate.metrics.idempotent.values()) < 2:
            await asyncio.sleep(0.005)
    release.set()
    first, attached = await asyncio.gather(*calls)
    assert first.content == attached.content
    assert b"upstream_broke_off" in first.content
    again = await ask(gateway, stream=True)
    assert ends_well(again.content)
    assert (replayed(again), len(stub.calls)) == (False, 2)


async def test_sound_that_broke_off_is_cut_for_all_who_listen(gateway: Gateway, stub: Stub) -> None:
    sound: dict[str, Any] = {"content_type": "audio/mpeg", "framing": "chunked"}
    stub.answer(Answer(pieces=[b"a" * 100, b"b" * 100], cut_after=150, **sound))
    fields = {"input": "Hi", "voice": "alloy"}
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(gateway, "/v1/audio/speech", **fields)
    stub.answer(Answer(pieces=[b"a" * 100, b"b" * 100], **sound), Answer(status=500))
    first = await ask(gateway, "/v1/audio/speech", **fields)
    repeat = await ask(gateway, "/v1/audio/speech", **fields)
    assert told(repeat) == told(first)
    assert repeat.content == b"a" * 100 + b"b" * 100


async def test_the_same_form_with_another_boundary_is_the_same_request(gateway: Gateway, stub: Stub) -> None:
    async def hear(file: bytes) -> httpx.Response:
        files = {"file": ("a.mp3", file)}
        return await gateway.http.post("/v1/audio/transcriptions", data={"model": "small"}, files=files, headers=KEYED)

    first, repeat = await hear(b"sound"), await hear(b"sound")
    assert stub.calls[0].headers["content-type"] != ""
    assert told(repeat) == told(first)
    assert (await hear(b"other")).status_code == 409
    assert len(stub.calls) == 1


async def test_switched_off_the_header_means_nothing(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway({**settings_for(stub), "idempotency": {"enabled": False}}, tmp_path) as gateway:
        for _ in range(2):
            assert not replayed(await ask(gateway))
    assert len(stub.calls) == 2
    assert not (tmp_path / "idempotency").exists()


async def test_without_a_data_directory_answers_are_kept_while_the_process_lives(stub: Stub) -> None:
    async with running_gateway(settings_for(stub)) as gateway:
        assert told(await ask(gateway)) == told(await ask(gateway))
        assert gateway.gate.keeper is not None
        folder = gateway.gate.keeper._folder.path
        assert folder.exists()
    assert not folder.exists()
    assert len(stub.calls) == 1


async def test_what_is_written_can_be_read_by_nobody_else_and_does_not_hold_the_key_or_the_question(
    gateway: Gateway, tmp_path: Path
) -> None:
    question = [{"role": "user", "content": "a question to be found"}]
    await ask(gateway, messages=question)
    folder = tmp_path / "idempotency"
    [file] = folder.glob("*.answer")
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    written = file.name.encode() + file.read_bytes()
    assert b"Hello there." in written
    for secret in (b"order-4711", b"question to be found", TOKEN.encode()):
        assert secret not in written


async def test_the_log_and_the_metrics_tell_of_repeats(gateway: Gateway) -> None:
    await ask(gateway)
    await ask(gateway)
    await ask(gateway, temperature=1)
    first, repeat, _ = await gateway.wait_for_lines(3)
    assert "replay_of" not in first
    assert repeat["replay_of"] == first["request_id"] != repeat["request_id"]
    assert (repeat["status"], repeat["attempts"], repeat["outcome"]) == (200, [], "ok")
    text = (await gateway.http.get("/metrics")).text
    for result in ("first", "replayed", "refused"):
        assert f'headgate_idempotent_total{{result="{result}",route="chat"}} 1.0' in text
    assert 'headgate_requests_total{model="small",outcome="ok",route="chat",status="200"} 2.0' in text


async def test_comments_while_the_model_thinks_are_the_same_for_all(stub: Stub, tmp_path: Path) -> None:
    stub.answer(stream(delay=0.12))
    async with running_gateway({**settings_for(stub), "server": {"ping_seconds": 0.05}}, tmp_path) as gateway:
        first, attached = await asyncio.gather(ask(gateway, stream=True), ask(gateway, stream=True))
        repeat = await ask(gateway, stream=True)
    assert b": ping\n\n" in first.content
    assert first.content == attached.content == repeat.content
