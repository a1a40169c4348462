"""The request log: one line per request, without prompt, answer or key; and the writer that never blocks."""

import asyncio
import io
import json
import logging
import threading
from typing import Any

import pytest

from headgate.telemetry.logs import JsonHandler, LineWriter
from tests.harness.gateway import KEY, Gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, chunk, stream
from tests.requirements import covers

FIELDS: dict[str, type | tuple[type, ...]] = {
    "ts": float,
    "event": str,
    "request_id": str,
    "trace_id": str,
    "key": str,
    "route": str,
    "model": str,
    "target": str,
    "status": int,
    "outcome": str,
    "error": str,
    "stream": bool,
    "attempts": list,
    "duration_ms": float,
    "first_byte_ms": float,
    "first_token_ms": float,
    "chunks": int,
    "bytes_in": int,
    "bytes_out": int,
    "usage_missing": bool,
    "prompt_tokens": int,
    "completion_tokens": int,
    "cached_tokens": int,
    "reasoning_tokens": int,
    "tenant": str,
    "user": str,
    "component": str,
    "cost_usd": (int, float),
    "cost_measure": str,
    "limited": bool,
}
PROMPT = {"messages": [{"role": "user", "content": "PROMPT-TEXT"}]}


def check(line: dict[str, Any], **expected: Any) -> None:
    assert set(line) == set(FIELDS)
    for name, kind in FIELDS.items():
        assert line[name] is None or isinstance(line[name], kind), name
    assert {name: line[name] for name in expected} == expected
    text = json.dumps(line)
    assert "PROMPT-TEXT" not in text
    assert "ANSWER-TEXT" not in text
    assert "sk-" not in text


@covers("137", "9")
async def test_a_whole_answer_leaves_one_line(gateway: Gateway, stub: Stub) -> None:
    stub.answer(chat("ANSWER-TEXT"))
    response = await gateway.chat(**PROMPT)
    (line,) = await gateway.wait_for_lines(1)
    check(
        line,
        event="request",
        request_id=response.headers["x-request-id"],
        route="chat",
        model="small",
        target="stub/stub-small",
        status=200,
        outcome="ok",
        error=None,
        stream=False,
        attempts=[{"target": "stub/stub-small", "error": None}],
        bytes_out=len(response.content),
        bytes_in=len(response.request.content),
        usage_missing=False,
        prompt_tokens=7,
        completion_tokens=3,
    )
    assert 0 < line["first_byte_ms"] <= line["first_token_ms"] <= line["duration_ms"] < 10_000


@covers("137")
async def test_a_stream_leaves_one_line(gateway: Gateway, stub: Stub) -> None:
    text = await gateway.stream(**PROMPT)
    (line,) = await gateway.wait_for_lines(1)
    check(line, stream=True, outcome="ok", status=200, bytes_out=len(text), prompt_tokens=7, chunks=7)
    assert line["first_byte_ms"] <= line["first_token_ms"] <= line["duration_ms"]


@covers("137")
async def test_a_call_without_usage_says_so(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(body=b'{"id":"x"}'))
    await gateway.chat(**PROMPT)
    check((await gateway.wait_for_lines(1))[0], usage_missing=True, prompt_tokens=None, completion_tokens=None)


@covers("137", "redaction")
@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (Answer(status=400, body=b'{"error":{"message":"bad sk-upstream-secret-1"}}'), 400, "upstream_rejected"),
        (Answer(status=500, body=b"PROMPT-TEXT"), 502, "upstream_fault"),
        (Answer(body=b"ANSWER-TEXT"), 502, "upstream_garbled"),
    ],
)
async def test_an_error_leaves_one_line_with_its_code(
    gateway: Gateway, stub: Stub, answer: Answer, status: int, error: str
) -> None:
    stub.answer(answer)
    await gateway.chat(**PROMPT)
    (line,) = await gateway.wait_for_lines(1)
    target = "stub/stub-small"
    check(line, status=status, outcome="error", error=error, attempts=[{"target": target, "error": error}])


@covers("137")
async def test_an_error_in_a_stream_leaves_one_line(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([chunk({"content": "ANSWER-TEXT"}), b'data: {"error":{"message":"no"}}\n\n']))
    await gateway.stream(**PROMPT)
    check((await gateway.wait_for_lines(1))[0], status=200, outcome="error", error="upstream_broke_off", stream=True)


@covers("137", "12")
@pytest.mark.parametrize("streams", [False, True])
async def test_a_caller_who_leaves_leaves_one_line(gateway: Gateway, stub: Stub, streams: bool) -> None:
    stub.answer(stream(release=asyncio.Event()) if streams else Answer(body=b"{", framing="chunked", hang=True))
    call = asyncio.get_running_loop().create_task(gateway.chat(stream=streams, **PROMPT))
    await stub.wait_for_calls(1)
    call.cancel()
    (line,) = await gateway.wait_for_lines(1)
    check(line, outcome="disconnected", error=None, stream=streams)


@covers("137")
@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("GET", "/v1/models", 200, "/v1/models"),
        ("GET", "/v1/models/nope", 404, "/v1/models/{model:path}"),
        ("GET", "/nope/PROMPT-TEXT", 404, "none"),
        ("DELETE", "/v1/chat/completions", 405, "none"),
    ],
)
async def test_other_routes_leave_one_line_too(
    gateway: Gateway, method: str, path: str, status: int, route: str
) -> None:
    await gateway.http.request(method, path)
    await gateway.http.get("/healthz")
    (line,) = await gateway.wait_for_lines(1)
    check(line, status=status, route=route, model=None, target=None, attempts=[])


@covers("21", "137")
async def test_the_ids_of_a_request_are_echoed_logged_and_forwarded(gateway: Gateway, stub: Stub) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-request-id": "their-id-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    body = {"model": "small", **PROMPT}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert response.headers["x-request-id"] == stub.last.headers["x-request-id"] == "their-id-1"
    _, forwarded, span, flags = stub.last.headers["traceparent"].split("-")
    assert (forwarded, flags) == (trace, "01")
    assert span != "00f067aa0ba902b7"
    (line,) = await gateway.wait_for_lines(1)
    assert (line["request_id"], line["trace_id"]) == ("their-id-1", trace)


class Stalling(io.BytesIO):
    """A reader of our output that stops reading until released."""

    def __init__(self) -> None:
        super().__init__()
        self.stalled = threading.Event()
        self.released = threading.Event()

    def write(self, data: Any) -> int:
        self.stalled.set()
        self.released.wait(BOUND)
        return super().write(data)


@covers("137")
def test_the_writer_drops_lines_rather_than_wait_and_says_how_many() -> None:
    out = Stalling()
    writer = LineWriter(out)
    writer.write({"n": -1})
    assert out.stalled.wait(BOUND)
    for number in range(50_100):
        writer.write({"n": number})
    out.released.set()
    writer.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["n"] for line in lines if "n" in line] == [-1, *range(50_000)]
    assert [line["count"] for line in lines if line.get("event") == "log_lines_dropped"] == [100]


@covers("137")
def test_closing_writes_what_waits() -> None:
    for count in (0, 1, 1000):
        out = io.BytesIO()
        writer = LineWriter(out)
        for number in range(count):
            writer.write({"n": number})
        writer.close()
        assert len(out.getvalue().splitlines()) == count


@covers("137")
def test_an_output_that_is_gone_ends_nothing() -> None:
    class Gone(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    writer = LineWriter(Gone())
    for _ in range(10):
        writer.write({"n": 1})
    writer.close()


@covers("redaction")
def test_log_records_are_lines_without_keys() -> None:
    lines: list[dict[str, Any]] = []
    log = logging.getLogger("test.redaction")
    log.propagate = False
    handler = JsonHandler(lines.append)
    log.addHandler(handler)
    try:
        log.warning("refused %s", KEY)
        try:
            raise ValueError(f"bad key {KEY}")
        except ValueError:
            log.exception("failed")
    finally:
        log.removeHandler(handler)
    assert [(line["level"], line["event"]) for line in lines] == [("warning", "log"), ("error", "log")]
    assert "ValueError" in lines[1]["traceback"]
    assert KEY not in json.dumps(lines)
