"""Workers of one machine ask each other; one that is slow, dead or broken harms nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headgate.telemetry import peers as peers_file
from headgate.telemetry.peers import Peers
from tests.requirements import covers

pytestmark = covers("162", "workers")


@asynccontextmanager
async def worker(folder: Path, name: str) -> AsyncIterator[Peers]:
    async def answer(question: Any) -> Any:
        return {"name": name, "asked": question}

    one = Peers(folder, answer)
    await one.open()
    try:
        yield one
    finally:
        one.close()


def there(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_everybody_but_oneself_answers(tmp_path: Path) -> None:
    folder = tmp_path / "peers"
    async with worker(folder, "a") as a, worker(folder, "b"), worker(folder, "c"):
        told = await a.ask({"n": 1})
        assert sorted(one["name"] for one in told) == ["b", "c"]
        assert all(one["asked"] == {"n": 1} for one in told)
        assert folder.stat().st_mode & 0o777 == 0o700
    assert there(folder) == []


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("er" * 40)
    async with worker(folder, "a") as a, worker(folder, "b"):
        assert [one["name"] for one in await a.ask(1)] == ["b"]
        elsewhere = {path.resolve().parent for path in there(folder)}
    assert not any(path.exists() for path in elsewhere)


async def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    async def answer(question: Any) -> Any:
        return ["x" * 1000] * 3000

    many = Peers(tmp_path, answer)
    await many.open()
    async with worker(tmp_path, "a") as a:
        [told] = await a.ask(1)
    assert len(told) == 3000
    many.close()


async def test_the_socket_of_a_worker_that_was_killed_is_taken_away(tmp_path: Path) -> None:
    async with worker(tmp_path, "a") as a:
        server = await asyncio.start_unix_server(lambda reader, writer: None, str(tmp_path / "1-dead.peer"))
        server.close()
        (tmp_path / "2-gone.peer").symlink_to(tmp_path / "nowhere")
        assert await a.ask(1) == []
        assert len(there(tmp_path)) == 1


async def test_one_that_does_not_answer_in_time_counts_as_knowing_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peers_file, "_SECONDS", 0.05)
    stays = asyncio.Event()

    async def answer(question: Any) -> Any:
        await stays.wait()

    slow = Peers(tmp_path, answer)
    await slow.open()
    async with worker(tmp_path, "a") as a, worker(tmp_path, "b"):
        assert [one["name"] for one in await a.ask(1)] == ["b"]
    assert "does not answer" in caplog.text
    slow.close()


async def test_one_that_fails_does_not_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(question: Any) -> Any:
        if question == "fail":
            raise KeyError("broken")
        return "well"

    odd = Peers(tmp_path, answer)
    await odd.open()
    async with worker(tmp_path, "a") as a:
        assert await a.ask("fail") == []
        assert await a.ask("again") == ["well"]
    assert "could not be answered" in caplog.text
    odd.close()


async def test_where_no_socket_can_be_made_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    async with worker(tmp_path / "file" / "peers", "a") as a:
        assert await a.ask(1) == []
    assert "cannot ask this one" in caplog.text
