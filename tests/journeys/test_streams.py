"""What a stream looks like on the caller's side, however the provider cuts, spells and ends it."""

import asyncio
import json
import random

import pytest

from tests.harness.events import chunks, datas, ends_well, read_events, text_of
from tests.harness.gateway import Gateway
from tests.harness.stub import DONE, USAGE, Stub, chunk, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("sse", "2")
ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")


def as_seen(pieces: list[bytes]) -> bytes:
    """What the caller gets: the same but for the model's name."""
    return b"".join(pieces).replace(b'"model":"stub-small","choices"', b'"model":"small","choices"')


def cut(whole: bytes, seed: int) -> list[bytes]:
    """The bytes in pieces of random length; small seeds cut small."""
    choose = random.Random(seed)
    pieces = []
    while whole:
        length = choose.randint(1, 3 + 40 * seed)
        pieces.append(whole[:length])
        whole = whole[length:]
    return pieces


WORDS = ["Grüße", " \U0001f600", ' \\"model\\":\\"stub-small\\"', "\n\ndata: [DONE]\n\n", "\u2028", ""]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
async def test_frames_cut_and_merged_anywhere_come_out_the_same(
    gateway: Gateway, stub: Stub, seed: int, line_end: bytes
) -> None:
    pieces = [*stream_pieces(WORDS)[:-1], b": a comment\n\n", DONE]
    stub.answer(stream(cut(b"".join(pieces).replace(b"\n", line_end), seed)))
    content = await gateway.stream()
    assert ends_well(content)
    assert text_of(content) == "".join(WORDS)
    assert content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") == as_seen(pieces)


async def test_every_single_byte_may_come_alone(gateway: Gateway, stub: Stub) -> None:
    data = json.loads(ROLE[6:]) | {"choices": [{"index": 0, "delta": {"content": "é\U0001f600"}}]}
    raw = f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
    whole = b"".join([ROLE, raw, raw, STOP, DONE])
    stub.answer(stream([bytes([byte]) for byte in whole]))
    content = await gateway.stream()
    assert content == as_seen([ROLE, raw, raw, STOP, DONE])
    assert text_of(content) == "é\U0001f600é\U0001f600"


async def test_data_of_several_lines_is_one_event(gateway: Gateway, stub: Stub) -> None:
    spread = (
        b'event: message\nid: 9\ndata: {"model":\ndata:   "stub-small",\ndata: "choices":'
        b'[{"delta":{"content":"a"}}]}\n\n'
    )
    stub.answer(stream([spread, spread, STOP, DONE]))
    content = await gateway.stream()
    assert text_of(content) == "aa"
    assert {one["model"] for one in chunks(content)} == {"small"}
    assert [event.fields[:2] for event in read_events(content)[:2]] == [[("event", "message"), ("id", "9")]] * 2
    assert ends_well(content)


async def test_other_fields_and_comments_are_kept(gateway: Gateway, stub: Stub) -> None:
    pieces = [
        b": PROCESSING\n\n",
        b"id: 1\nevent: message\n" + ROLE,
        b": still here\n\n",
        b"retry: 3000\n\n",
        b"id: 2\n" + chunk({"content": "a"}),
        b": between\n" + chunk({"content": "b"}),
        STOP,
        DONE,
    ]
    stub.answer(stream(pieces, gap=0.005), stream([b"".join(pieces)]))
    for _ in range(2):
        content = await gateway.stream()
        assert content == as_seen(pieces)
        assert [event.comments for event in read_events(content) if event.comments] == [
            ["PROCESSING"],
            ["still here"],
            ["between"],
        ]


@pytest.mark.parametrize("merged", [True, False])
async def test_the_model_is_renamed_however_it_is_spelled_and_whenever_it_changes(
    gateway: Gateway, stub: Stub, merged: bool
) -> None:
    def spelled(model: str) -> bytes:
        choices = '[{"index":0,"delta":{"content":"a"},"finish_reason":null}]'
        return f'data: {{"id":"c",{model},"choices":{choices},"x":{{"model":"stub-small"}}}}\n\n'.encode()

    models = ['"model":""', '"model":"small"', '"model":"stub-small"', '"model": "stub-small"', '"model" : "gpt-4o"']
    models += ['"model":null', '"y":"model"', '"model":"stub-small"', '"model":"small"', '"model":"a\\"b"']
    pieces = [spelled(model) for model in [*models, *models[::-1], *models]] + [STOP, DONE]
    stub.answer(stream([b"".join(pieces)] if merged else pieces, gap=0 if merged else 0.002))
    content = await gateway.stream()
    seen = chunks(content)
    assert {one.get("model", "none") for one in seen} == {"small", None, "none"}
    assert sum(one.get("model") == "small" for one in seen) == 3 * 8 + 1
    assert all(one["x"] == {"model": "stub-small"} for one in seen[:-1])
    assert ends_well(content)


async def test_a_model_is_renamed_though_the_first_token_comes_without_one(gateway: Gateway, stub: Stub) -> None:
    nameless = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    stub.answer(stream([nameless, chunk({"content": "b"}), nameless, chunk({"content": "c"}), STOP, DONE], gap=0.005))
    content = await gateway.stream()
    assert b"stub-small" not in content
    assert text_of(content) == "abac"


async def test_text_that_looks_like_the_model_is_not_touched(gateway: Gateway, stub: Stub) -> None:
    text = '{"model":"stub-small","usage":{"prompt_tokens":1},"error":{"a":1},"finish_reason":"stop"}'
    pieces = [ROLE, *[chunk({"content": text})] * 3, STOP, DONE]
    stub.answer(stream(pieces, gap=0.005))
    content = await gateway.stream()
    assert text_of(content) == text * 3
    assert content.count(b"stub-small") == 3
    assert ends_well(content)


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
async def test_a_missing_end_marker_is_added_once(gateway: Gateway, stub: Stub, framing: str) -> None:
    stub.answer(stream(stream_pieces()[:-1], framing=framing))
    assert await gateway.stream() == as_seen(stream_pieces())


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n"])
async def test_an_end_marker_in_any_form_is_the_end(gateway: Gateway, stub: Stub, end: bytes) -> None:
    stub.answer(stream([ROLE, chunk({"content": "a"}), end]))
    assert ends_well(await gateway.stream())


@pytest.mark.parametrize("merged", [True, False])
async def test_what_follows_the_end_marker_is_dropped(gateway: Gateway, stub: Stub, merged: bool) -> None:
    pieces = [ROLE, chunk({"content": "a"}), STOP, DONE, chunk({"content": "late"}), b"data: {]\n\n", DONE]
    stub.answer(stream([b"".join(pieces)] if merged else pieces, gap=0.005))
    content = await gateway.stream()
    assert ends_well(content)
    assert text_of(content) == "a"


@pytest.mark.parametrize("merged", [True, False])
async def test_the_stream_ends_soon_although_the_provider_holds_its_connection(
    gateway: Gateway, stub: Stub, merged: bool
) -> None:
    pieces = stream_pieces()
    stub.answer(stream([b"".join(pieces)] if merged else pieces, hang=True))
    assert await asyncio.wait_for(gateway.stream(), 3) == as_seen(pieces)
    await asyncio.wait_for(stub.last.left.wait(), 1)
    assert ends_well(await gateway.stream())


async def test_the_headers_are_those_of_an_event_stream(gateway: Gateway, stub: Stub) -> None:
    response = await gateway.chat(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-headgate-target"] == "stub/stub-small"
    assert response.headers["x-request-id"] == stub.last.headers["x-request-id"]
    assert not {"content-encoding", "content-length"} & set(response.headers)


async def test_usage_beside_the_last_choice_is_kept_and_counted(gateway: Gateway, stub: Stub) -> None:
    pieces = [ROLE, chunk({"content": "a"}), chunk({}, "stop", usage=USAGE), DONE]
    stub.answer(stream(pieces), stream([b"".join(pieces)]))
    for _ in range(2):
        assert await gateway.stream() == as_seen(pieces)
    assert [line["completion_tokens"] for line in await gateway.wait_for_lines(2)] == [3, 3]


@pytest.mark.parametrize("wanted", [True, False, None])
@pytest.mark.parametrize("merged", [True, False])
async def test_the_usage_event_is_shown_to_those_who_asked(
    gateway: Gateway, stub: Stub, wanted: bool | None, merged: bool
) -> None:
    pieces = stream_pieces(usage=True)
    stub.answer(stream([b"".join(pieces)] if merged else pieces))
    asked = {} if wanted is None else {"stream_options": {"include_usage": wanted}}
    expected = pieces if wanted else [*pieces[:-2], DONE]
    assert await gateway.stream(**asked) == as_seen(expected)
    assert (await gateway.wait_for_lines(1))[0]["completion_tokens"] == 3


@covers("6")
async def test_everything_else_in_a_frame_is_left_byte_for_byte(gateway: Gateway, stub: Stub) -> None:
    def calls(*parts: tuple[int, str | None, str]) -> bytes:
        called = [
            {"index": index, "id": name and f"call_{index}", "type": "function",
             "function": {"name": name, "arguments": arguments}}
            for index, name, arguments in parts
        ]  # fmt: skip
        return chunk({"tool_calls": called}, None, system_fingerprint="fp_é", x_new={"a": [1.0, 1e2, None]})

    pieces = [
        chunk({"role": "assistant", "content": None, "reasoning_content": "Let me \u2026"}),
        calls((0, "look", ""), (1, "find", "")),
        calls((1, None, '{"model":'), (0, None, '{"q":"a')),
        calls((0, None, '\\n\\"b"}'), (1, None, '"stub-small"}')),
        b'data: {"id":"chatcmpl-1","created":1750000000.0,"model":"stub-small","choices":[{"index":1,"delta":{},'
        b'"logprobs":null,"finish_reason":null},{"index":0,"delta":{"annotations":[]},"finish_reason":null}]}\n\n',
        chunk({}, "tool_calls"),
        DONE,
    ]
    stub.answer(stream(pieces, gap=0.005), stream([b"".join(pieces)]))
    for _ in range(2):
        content = await gateway.stream()
        assert content == as_seen(pieces)
        assert len(datas(content)) == len(pieces)
