"""What is kept of answers for repeats, how long, how much, and what happens where it cannot be."""

import asyncio
import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from headgate.idempotency import folder, recording
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, chunk, stream
from tests.journeys.test_idempotency import ask, replayed, told
from tests.journeys.test_idempotency_leaving import begun, recordings, until_idle
from tests.requirements import covers

pytestmark = covers("154")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
LARGE = "x" * 3000


def settings(stub: Stub, **idempotency: Any) -> dict[str, Any]:
    return {**settings_for(stub), "idempotency": idempotency}


def kept(path: Path) -> list[Path]:
    return sorted((path / "idempotency").glob("*.answer"))


def age(path: Path, seconds: float) -> None:
    for file in kept(path):
        os.utime(file, (time.time() - seconds,) * 2)


@pytest.mark.parametrize("swept", [False, True])
async def test_after_its_time_a_key_is_free_again(stub: Stub, tmp_path: Path, swept: bool) -> None:
    async with running_gateway(settings(stub, keep_seconds=100), tmp_path) as gateway:
        assert gateway.gate.keeper is not None
        await ask(gateway)
        age(tmp_path, 90)
        assert replayed(await ask(gateway))
        age(tmp_path, 110)
        if swept:
            await gateway.gate.keeper.sweep()
            assert kept(tmp_path) == []
        assert not replayed(await ask(gateway, temperature=1))
        assert replayed(await ask(gateway, temperature=1))
    assert len(stub.calls) == 2


async def test_when_the_room_is_used_up_the_oldest_answers_go(
    stub: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_gateway(settings(stub, max_bytes=1 << 20), tmp_path) as gateway:
        assert gateway.gate.keeper is not None
        for number in range(4):
            stub.answer(chat("x" * 300_000))
            await ask(gateway, headers={"idempotency-key": f"k{number}"})
            if not number:
                age(tmp_path, 10)
        async with asyncio.timeout(BOUND):
            while len(kept(tmp_path)) > 3:
                await gateway.gate.keeper.sweep()
                await asyncio.sleep(0.01)
        assert sum(file.stat().st_size for file in kept(tmp_path)) <= 1 << 20
        for number, expected in ((3, True), (0, False)):
            assert replayed(await ask(gateway, headers={"idempotency-key": f"k{number}"})) is expected
    assert "let go before their time" in caplog.text


@both_ways
async def test_an_answer_that_is_too_large_is_given_once_and_a_repeat_says_so(
    stub: Stub, tmp_path: Path, streamed: bool
) -> None:
    pieces = [chunk({"content": LARGE}) for _ in range(5)]
    stub.answer(stream([*pieces, b"data: [DONE]\n\n"]) if streamed else chat(LARGE))
    async with running_gateway(settings(stub, max_answer_bytes=2000), tmp_path) as gateway:
        first = await ask(gateway, stream=streamed)
        assert first.status_code == 200
        assert first.content.count(LARGE.encode()) == (5 if streamed else 1)
        refused = await ask(gateway, stream=streamed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "answer_not_kept")
        assert "idempotency.max_answer_bytes" in refused.json()["error"]["message"]
        assert refused.headers["x-should-retry"] == "false"
        assert (await ask(gateway, stream=streamed, seed=1)).json()["error"]["code"] == "idempotency_key_reused"
        [note] = kept(tmp_path)
        assert note.stat().st_size < 500
        assert len(stub.calls) == 1


async def test_while_a_too_large_stream_goes_on_later_callers_are_told_and_earlier_ones_get_it(
    stub: Stub, tmp_path: Path
) -> None:
    release = asyncio.Event()
    pieces = [chunk({"role": "assistant", "content": LARGE}), chunk({"content": "end"}), b"data: [DONE]\n\n"]
    stub.answer(stream(pieces, release=release))
    made = settings(stub, max_answer_bytes=2000)
    async with (
        running_gateway(made, tmp_path) as gateway,
        running_gateway(made, tmp_path) as other,
        begun(gateway) as (_, rest),
    ):
        for late in (gateway, other):
            assert (await ask(late, stream=True)).json()["error"]["code"] == "answer_not_kept"
        release.set()
        assert b"".join([piece async for piece in rest]).endswith(b"data: [DONE]\n\n")


async def test_a_too_large_stream_ends_with_its_last_listener_and_the_key_is_free(stub: Stub, tmp_path: Path) -> None:
    piece = chunk({"role": "assistant", "content": LARGE})
    stub.answer(stream([piece] * 1000, gap=0.005))
    async with running_gateway(settings(stub, max_answer_bytes=2000), tmp_path) as gateway:
        async with begun(gateway):
            pass
        await asyncio.wait_for(stub.calls[0].left.wait(), 1)
        await until_idle(gateway)
        assert recordings(gateway) == []
        [line] = await gateway.wait_for_lines(1)
        assert line["outcome"] == "disconnected"
        assert (await ask(gateway, stream=True)).status_code == 200
    assert len(stub.calls) == 2


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["claim", "start", "middle", "end"])
async def test_a_full_disk_breaks_no_answer(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    """Callers of the moment get it; the next repeat is a new call; and all is well once there is room again."""
    room = {"claim": 0, "start": 0, "middle": 2, "end": 7}[when]
    real = folder.write_all
    written = 0

    def write(file: int, data: bytes) -> None:
        nonlocal written
        written += 1
        full() if written > room else real(file, data)

    async with running_gateway(settings(stub), tmp_path) as gateway:
        with monkeypatch.context() as patched:
            patched.setattr(folder if when == "claim" else recording, "write_all", write)
            calls = [asyncio.create_task(ask(gateway, stream=True)) for _ in range(2)]
            first, attached = await asyncio.gather(*calls)
            assert first.status_code == 200
            assert told(first) == told(attached)
            assert kept(tmp_path) == []
        assert "cannot be kept for repeats" in caplog.text
        assert written > room
        assert not replayed(await ask(gateway, stream=True))
        assert replayed(await ask(gateway, stream=True))
    assert len(stub.calls) == 2
    assert not list((tmp_path / "idempotency").glob("*.draft"))


async def test_a_file_that_cannot_be_read_breaks_no_answer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = await ask(gateway)
    with monkeypatch.context() as patched:
        patched.setattr(folder.Folder, "open", full)
        other = await ask(gateway)
        assert (other.status_code, replayed(other)) == (200, False)
    assert "cannot be read" in caplog.text
    assert told(await ask(gateway)) == told(first)


async def test_a_damaged_file_is_as_none(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        await ask(gateway)
        [file] = kept(tmp_path)
        data = bytearray(file.read_bytes())
        data[data.index(b"Hello")] ^= 1
        file.write_bytes(data)
        again = await ask(gateway)
        assert (again.status_code, replayed(again)) == (200, False)
        assert b"Hello there." in again.content
        assert told(await ask(gateway)) == told(again)
    assert len(stub.calls) == 2


async def test_a_large_answer_and_many_pieces_are_kept_byte_for_byte(stub: Stub, tmp_path: Path) -> None:
    stub.answer(
        Answer(body=chat("\u00e9" * 2_000_000).body),
        stream([*(chunk({"content": f"{number} "}) for number in range(3000)), b"data: [DONE]\n\n"]),
    )
    async with running_gateway(settings(stub), tmp_path) as gateway:
        for streamed in (False, True):
            more: dict[str, Any] = {"stream": streamed, "headers": {"idempotency-key": f"large-{streamed}"}}
            first, repeat = await ask(gateway, **more), await ask(gateway, **more)
            assert told(repeat) == told(first)
            assert len(repeat.content) > 300_000
    assert len(stub.calls) == 2
