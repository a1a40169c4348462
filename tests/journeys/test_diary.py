"""Conversations as JSON lines: what is in them, whose file it is, and what never is in one."""

import asyncio
import json
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from headgate.core.run import Run
from headgate.telemetry import diary as diary_file
from headgate.telemetry.diary import Diary, DiaryBounds
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream
from tests.journeys.test_agents import calling, calling_in_pieces, settings
from tests.journeys.test_money import new_key
from tests.requirements import covers

pytestmark = covers("81")
NAME = "augmented/helper"
SECRET = "sk-hg-planted-secret-0123456789"
Lines = list[dict[str, Any]]


def logging_to(stub: Stub, folder: Path, **more: Any) -> dict[str, Any]:
    return {**settings(stub), "logging": {"runs": {"folder": str(folder), **more}}}


def lines_of(folder: Path) -> dict[str, Lines]:
    return {file.name: [json.loads(line) for line in file.read_text().splitlines()] for file in folder.glob("*")}


async def lines(folder: Path, count: int) -> Lines:
    """Those of the only file, once there are so many."""
    async with asyncio.timeout(BOUND):
        while len(found := [line for several in lines_of(folder).values() for line in several]) < count:
            await asyncio.sleep(0.01)
    return found


def files_below(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if "journal" not in str(path)]


def kinds(found: Lines) -> list[str]:
    return [f"{line['type']}:{line['stage']}" if "stage" in line else line["type"] for line in found]


async def test_without_the_setting_nothing_is_written(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path / "data") as gateway:
        assert gateway.gate.deps.note is None
        await gateway.chat(model=NAME)
    assert files_below(tmp_path, "*.jsonl") == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_agents_run_is_told_from_the_request_to_the_answer(stub: Stub, tmp_path: Path, streamed: bool) -> None:
    call = calling_in_pieces("calculator", '{"expression": "6*7"}') if streamed else None
    stub.answer(call or calling(("calculator", {"expression": "6*7"})), stream() if streamed else chat("Hello there."))
    async with running_gateway(logging_to(stub, tmp_path / "log")) as gateway:
        answer = await gateway.chat(model=NAME, stream=streamed)
        found = await lines(tmp_path / "log", 5)
    assert kinds(found) == ["request:as_came", "request:as_sent", "tool_call", "request:as_sent", "response"]
    came, first, tool, second, response = found
    assert came["body"]["messages"] == [{"role": "user", "content": "Hi"}]
    assert first["body"]["messages"][0] == {"role": "system", "content": "You compute."}
    assert (tool["name"], tool["arguments"], tool["result"]) == ("calculator", '{"expression": "6*7"}', "42")
    assert tool["failed"] is False
    assert second["body"]["messages"][-1]["content"] == "42"
    assert (response["content"], response["finish_reason"], response["complete"]) == ("Hello there.", "stop", True)
    assert {line["run"] for line in found} == {answer.headers["x-request-id"]}
    [file] = (tmp_path / "log").iterdir()
    assert file.name == f"{answer.headers['x-request-id']}.jsonl"
    assert (file.stat().st_mode & 0o777, (tmp_path / "log").stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_plain_models_answer_is_told_in_the_same_words(stub: Stub, tmp_path: Path, streamed: bool) -> None:
    async with running_gateway(logging_to(stub, tmp_path / "log")) as gateway:
        answer = await gateway.chat(stream=streamed)
        found = await lines(tmp_path / "log", 3)
    assert answer.status_code == 200
    assert kinds(found) == ["request:as_came", "request:as_sent", "response"]
    assert (found[1]["target"], found[2]["content"]) == ("stub/stub-small", "Hello there.")


async def test_a_call_that_was_held_back_is_told(stub: Stub, tmp_path: Path) -> None:
    made = logging_to(stub, tmp_path / "log")
    made["agents"][0]["tool_policy"] = "always_ask"
    stub.answer(calling(("calculator", {"expression": "1"})), chat("I may not."))
    async with running_gateway(made) as gateway:
        await gateway.chat(model=NAME)
        found = await lines(tmp_path / "log", 5)
    assert kinds(found) == ["request:as_came", "request:as_sent", "tool_call", "request:as_sent", "response"]
    assert (found[2]["name"], found[2]["held"], "result" in found[2]) == ("calculator", True, False)


async def test_an_error_is_told(stub: Stub, tmp_path: Path) -> None:
    stub.answer(Answer(status=500))
    async with running_gateway(logging_to(stub, tmp_path / "log")) as gateway:
        await gateway.chat()
        found = await lines(tmp_path / "log", 2)
    assert (kinds(found), found[1]["code"]) == (["request:as_came", "error"], "upstream_fault")


async def test_each_conversation_of_each_caller_has_a_file_of_its_own(stub: Stub, tmp_path: Path) -> None:
    async def say(gateway: Gateway, session: str, client: Any = None, user: str = "") -> None:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"x-session-id": session, **({"x-user-id": user} if user else {})}
        answer = await (client or gateway.http).post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200

    async with running_gateway(logging_to(stub, tmp_path / "log"), tmp_path / "data") as gateway:
        other = await new_key(gateway)
        async with other:
            await say(gateway, "s1")
            await say(gateway, "s1")
            await say(gateway, "s2")
            await say(gateway, "s1", other)
            await say(gateway, "s1", user="ann")
            await say(gateway, "../../s1/x")
            await lines(tmp_path / "log", 18)
    counts = sorted(len(found) for found in lines_of(tmp_path / "log").values())
    assert counts == [3, 3, 3, 3, 6]
    assert {path.parent for path in files_below(tmp_path, "*s1*.jsonl")} == {tmp_path / "log"}


@pytest.mark.parametrize("content", [True, False])
async def test_no_secret_gets_into_a_file_and_texts_only_if_wanted(stub: Stub, tmp_path: Path, content: bool) -> None:
    stub.answer(calling(("calculator", {"expression": SECRET})), chat(f"It is {SECRET} and more words."))
    async with running_gateway(logging_to(stub, tmp_path / "log", content=content)) as gateway:
        await gateway.chat(model=NAME, messages=[{"role": "user", "content": f"A key: {SECRET}, {KEY}. Plain words."}])
        found = await lines(tmp_path / "log", 5)
    text = json.dumps(found)
    assert SECRET not in text
    assert KEY not in text
    assert ("Plain words." in text) is content
    assert ("more words." in text) is content
    assert ("characters]" in text) is not content


async def test_a_caller_that_leaves_is_told(stub: Stub, tmp_path: Path) -> None:
    stub.answer(Answer(raw=b"", hang=True))
    async with running_gateway(logging_to(stub, tmp_path / "log")) as gateway:
        asking = asyncio.get_running_loop().create_task(gateway.chat())
        async with asyncio.timeout(BOUND):
            while not stub.calls:
                await asyncio.sleep(0.005)
        asking.cancel()
        found = await lines(tmp_path / "log", 2)
    assert (found[-1]["type"], found[-1]["code"]) == ("error", "disconnected")


def run(gateway: Gateway) -> Run:
    return gateway.gate.begin("chat", {})


async def test_lines_and_files_are_bounded(gateway: Gateway, tmp_path: Path) -> None:
    made = run(gateway)
    diary = Diary(tmp_path / "log", DiaryBounds(line=1024, file=4096))
    for number in range(20):
        diary.note(made, "response", {"n": number, "content": "x" * 5000, "more": {"text": ["y" * 900] * 40}})
    diary.close()
    files = sorted((tmp_path / "log").iterdir())
    assert len(files) > 1
    assert all(file.stat().st_size <= 4096 for file in files)
    found = [line for several in lines_of(tmp_path / "log").values() for line in several]
    assert sorted(line["n"] for line in found) == list(range(20))
    assert all(len(json.dumps(line)) < 1200 and line["cut"] for line in found)


async def test_whoever_notes_something_never_waits(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that stands still: lines are left out and counted; what was taken is written once it goes on."""
    stands, goes_on = threading.Event(), threading.Event()
    write = Diary._write

    def slow(self: Diary, name: str, text: bytes) -> None:
        stands.set()
        goes_on.wait(BOUND)
        write(self, name, text)

    monkeypatch.setattr(diary_file.Diary, "_write", slow)
    diary = Diary(tmp_path / "log", DiaryBounds(waiting=100))
    made = run(gateway)
    diary.note(made, "response", {"n": 0})
    assert await asyncio.to_thread(stands.wait, BOUND)
    began = perf_counter()
    for number in range(1, 151):
        diary.note(made, "response", {"n": number})
    assert perf_counter() - began < 0.5  # 50 of them find no room
    assert diary.left_out == 50
    goes_on.set()
    await asyncio.to_thread(diary.close)
    [found] = lines_of(tmp_path / "log").values()
    assert [line["n"] for line in found] == list(range(101))
