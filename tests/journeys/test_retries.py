"""Tries and targets: again before the first byte, in order, when it may help; never after it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well, last_error
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import DONE, Answer, Stub, chat, chunk, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("14")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
ERROR_FRAME = chunk(error={"message": "busy", "code": 503})


@pytest_asyncio.fixture
async def second() -> AsyncIterator[Stub]:
    """Where the calls go when the first target does not answer well."""
    async with Stub() as running:
        yield running


@asynccontextmanager
async def two_targets(stub: Stub, second: Stub, retries: int = 0, **timeouts: float) -> AsyncIterator[Gateway]:
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = timeouts
    settings["upstreams"].append({"name": "second", "provider": "openai_compatible", "base_url": second.url})
    settings["models"][0]["targets"].append({"upstream": "second", "model": "second-small"})
    settings["models"][0]["retries"] = retries
    async with running_gateway(settings) as gateway:
        yield gateway


SMALL = {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 1}


def failing(status: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, body=b'{"error":{"message":"first said no"}}', headers=named)


def tries(line: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(attempt["target"], attempt["error"]) for attempt in line["attempts"]]


MOVING_ON = {
    "503": (failing(503), "upstream_unavailable"),
    "500": (failing(500), "upstream_fault"),
    "429": (failing(429, retry_after="60"), "upstream_rate_limited"),
    "529": (failing(529), "upstream_unavailable"),
    "closed": (Answer(raw=b""), "upstream_unreachable"),
    "reset": (Answer(raw=b"", reset=True), "upstream_unreachable"),
    "garbage": (Answer(raw=b"garbage\r\n\r\n"), "upstream_garbled"),
    "a page": (Answer(body=b"<html>", content_type="text/html"), "upstream_garbled"),
    "silence": (Answer(raw=b"", hang=True), "upstream_timeout"),
}


@both_ways
@pytest.mark.parametrize("fault", MOVING_ON)
async def test_the_second_target_answers_when_the_first_does_not(
    stub: Stub, second: Stub, fault: str, streamed: bool
) -> None:
    answer, code = MOVING_ON[fault]
    stub.answer(answer)
    async with two_targets(stub, second, read=0.2) as gateway:
        response = await gateway.chat(stream=streamed)
        assert response.status_code == 200
        assert response.headers["x-headgate-target"] == "second/second-small"
        assert response.headers["x-headgate-attempts"] == "2"
        assert second.last.json["model"] == "second-small"
        assert b'"small"' in response.content
        [line] = await gateway.wait_for_lines(1)
        assert tries(line) == [("stub/stub-small", code), ("second/second-small", None)]
        assert (line["outcome"], line["target"]) == ("ok", "second/second-small")


async def test_a_refused_connection_moves_on(stub: Stub, second: Stub) -> None:
    async with two_targets(stub, second) as gateway:
        await stub.stop()
        response = await gateway.chat()
        assert response.headers["x-headgate-target"] == "second/second-small"


@pytest.mark.parametrize(
    "pieces",
    [[ERROR_FRAME], [b": one moment\n\n", ERROR_FRAME], [b"data: {]\n\n"], [ERROR_FRAME[:20]], [b": only this\n\n"]],
    ids=["error", "comment and error", "garbled", "half", "comment"],
)
async def test_a_stream_that_begins_badly_moves_on(stub: Stub, second: Stub, pieces: list[bytes]) -> None:
    stub.answer(stream(pieces))
    async with two_targets(stub, second) as gateway:
        response = await gateway.chat(stream=True)
        assert ends_well(response.content)
        assert response.headers["x-headgate-target"] == "second/second-small"


@both_ways
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_is_final(stub: Stub, second: Stub, status: int, streamed: bool) -> None:
    stub.answer(failing(status))
    async with two_targets(stub, second, retries=2) as gateway:
        response = await gateway.chat(stream=streamed)
        assert response.status_code == status
        assert (len(stub.calls), len(second.calls)) == (1, 0)


@both_ways
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_one_provider_does_not_allow_or_know_another_may(
    stub: Stub, second: Stub, status: int, streamed: bool
) -> None:
    stub.answer(failing(status))
    async with two_targets(stub, second, retries=2) as gateway:
        response = await gateway.chat(stream=streamed)
        assert response.status_code == 200
        assert response.headers["x-headgate-target"] == "second/second-small"
        assert (len(stub.calls), len(second.calls)) == (1, 1)


@both_ways
async def test_all_targets_are_tried_before_one_is_tried_again(stub: Stub, second: Stub, streamed: bool) -> None:
    stub.answer(failing(503, retry_after_ms="10"))
    second.answer(failing(503, retry_after_ms="10"), failing(503))
    async with two_targets(stub, second, retries=1) as gateway:
        response = await gateway.chat(stream=streamed)
        assert response.headers["x-headgate-target"] == "stub/stub-small"
        assert response.headers["x-headgate-attempts"] == "3"
        assert response.headers["x-headgate-failed"] == (
            "stub/stub-small=upstream_unavailable, second/second-small=upstream_unavailable"
        )
        assert (len(stub.calls), len(second.calls)) == (2, 1)
        assert stub.calls[0].body == stub.calls[1].body
        assert len({call.headers["x-request-id"] for call in [*stub.calls, *second.calls]}) == 1


async def test_a_short_retry_after_is_waited_for(stub: Stub) -> None:
    stub.answer(failing(503, retry_after="1"))
    async with running_gateway(settings_for(stub, models=[SMALL])) as gateway:
        started = time.monotonic()
        assert (await gateway.chat()).headers["x-headgate-attempts"] == "2"
        assert time.monotonic() - started >= 0.99


async def test_a_long_retry_after_moves_on_at_once(stub: Stub, second: Stub) -> None:
    stub.answer(failing(429, retry_after="30"))
    async with two_targets(stub, second, retries=5) as gateway:
        assert (await gateway.chat()).headers["x-headgate-target"] == "second/second-small"
        assert len(stub.calls) == 1


async def test_a_timeout_moves_on_without_another_try(stub: Stub, second: Stub) -> None:
    stub.answer(Answer(raw=b"", hang=True))
    async with two_targets(stub, second, retries=3, read=0.2) as gateway:
        assert (await gateway.chat()).headers["x-headgate-target"] == "second/second-small"
        assert len(stub.calls) == 1


@both_ways
async def test_when_all_fail_the_last_error_is_told_and_all_are_logged(
    stub: Stub, second: Stub, streamed: bool
) -> None:
    stub.answer(failing(503, retry_after_ms="10"), failing(500))
    second.answer(Answer(raw=b""), Answer(status=429, body=b'{"error":{"message":"later"}}'))
    async with two_targets(stub, second, retries=1) as gateway:
        response = await gateway.chat(stream=streamed)
        assert (response.status_code, response.json()["error"]["message"]) == (429, "later")
        [line] = await gateway.wait_for_lines(1)
        assert (line["status"], line["error"], line["outcome"]) == (429, "upstream_rate_limited", "error")
        assert tries(line) == [
            ("stub/stub-small", "upstream_unavailable"),
            ("second/second-small", "upstream_unreachable"),
            ("stub/stub-small", "upstream_fault"),
            ("second/second-small", "upstream_rate_limited"),
        ]


@pytest.mark.parametrize(
    "answer",
    [
        stream(stream_pieces()[:2], cut_after=1 << 20, hang=False, framing="close"),
        stream(cut_after=400),
        stream([*stream_pieces()[:2], ERROR_FRAME]),
        stream([stream_pieces()[0], b"data: {]\n\n"]),
        stream(stream_pieces()[:2], hang=True),
    ],
    ids=["ends early", "breaks off", "error", "garbled", "falls silent"],
)
async def test_nothing_is_tried_again_once_a_byte_was_sent(stub: Stub, second: Stub, answer: Answer) -> None:
    stub.answer(answer)
    async with two_targets(stub, second, retries=3, read=0.3) as gateway:
        content = await gateway.stream()
        assert content.startswith(stream_pieces(model="small")[0])
        assert last_error(content)
        assert (len(stub.calls), len(second.calls)) == (1, 0)


async def test_a_whole_answer_that_breaks_off_is_tried_again(stub: Stub) -> None:
    broken = chat()
    broken.cut_after = 20
    stub.answer(broken)
    async with running_gateway(settings_for(stub, models=[SMALL])) as gateway:
        assert (await gateway.chat()).headers["x-headgate-attempts"] == "2"
        assert len(stub.calls) == 2


async def test_a_stream_of_the_end_marker_alone_is_no_fault(stub: Stub, second: Stub) -> None:
    stub.answer(stream([DONE]))
    async with two_targets(stub, second) as gateway:
        assert await gateway.stream() == DONE
        assert second.calls == []
