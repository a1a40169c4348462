"""Every kind of API a model has is relayed as it is, with and without /v1."""

import asyncio
import base64
import json
import os
from typing import Any

import httpx
import pytest

from headgate.core.surfaces import SURFACES, Surface
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chunk, stream
from tests.requirements import covers

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
RELAYED = [surface for surface in SURFACES if surface.dialect in ("", "chat")]
"""Those that every provider has; the others are translated where it has not."""
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"prompt": ["Once", "upon"], "max_tokens": 5, "echo": True},
    "embeddings": {"input": "Hi", "dimensions": 3},
    "moderations": {"input": [{"type": "text", "text": "x"}]},
    "rerank": {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1},
    "speech": {"input": "Hi", "voice": "alloy"},
    "images": {"prompt": "a gate", "n": 1, "size": "1024x1024"},
}
FORM = {"prompt": "Hi", "temperature": "0.2", "timestamp_granularities[]": "word"}


async def call(gateway: Gateway, surface: Surface, prefix: str = "/v1") -> httpx.Response:
    """A good request for any surface; forms carry a file."""
    path = prefix + surface.path
    if surface.form:
        files = {"file": ("a.wav", b"RIFF\x00\xff", "audio/wav")}
        return await gateway.http.post(path, data={"model": "small", **FORM}, files=files)
    return await gateway.http.post(path, json={"model": "small", **BODIES[surface.name]})


@covers("3", "surfaces")
@pytest.mark.parametrize("surface", RELAYED, ids=lambda surface: surface.name)
async def test_a_surface_is_relayed_with_and_without_v1(gateway: Gateway, stub: Stub, surface: Surface) -> None:
    answer = b'{"id":"x", "model":"stub-small","data":[ ],"unknown":{"model":"stub-small"}}'
    stub.answer(Answer(body=answer), Answer(body=answer))
    for prefix in ("/v1", ""):
        response = await call(gateway, surface, prefix)
        assert response.status_code == 200
        assert response.content == answer.replace(b'"model":"stub-small"', b'"model":"small"', 1)
        assert stub.last.path == "/v1" + surface.path
        assert stub.last.body.count(b"stub-small") == 1
        if not surface.form:
            assert stub.last.json == {"model": "stub-small", **BODIES[surface.name]}
    assert [line["route"] for line in await gateway.wait_for_lines(2)] == [surface.name] * 2


@covers("surfaces")
async def test_a_stream_of_completions_is_relayed(gateway: Gateway, stub: Stub) -> None:
    choices = [{"index": 0, "text": "a", "finish_reason": None}, {"index": 0, "text": "b", "finish_reason": "stop"}]
    texts = [{"choices": [choice]} for choice in choices]
    pieces = [b"data: " + json.dumps({"model": "stub-small", **text}).encode() + b"\n\n" for text in texts]
    stub.answer(stream([*pieces, b"data: [DONE]\n\n"]))
    body = {"model": "small", "prompt": "Hi", "stream": True}
    response = await gateway.http.post("/v1/completions", json=body)
    assert response.content == b"".join([*pieces, b"data: [DONE]\n\n"]).replace(b"stub-small", b"small")
    assert stub.last.json["stream_options"] == {"include_usage": True}


@covers("surfaces")
async def test_moderations_without_a_model_mean_the_usual_one(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["models"][0]["name"] = "omni-moderation-latest"
    async with running_gateway(settings) as gateway:
        response = await gateway.http.post("/v1/moderations", json={"input": "x"})
    assert response.status_code == 200
    assert stub.last.json == {"model": "stub-small", "input": "x"}


@covers("surfaces")
async def test_speech_arrives_piece_by_piece_byte_for_byte(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    pieces = [os.urandom(5000), b"\n\n" + os.urandom(5000), os.urandom(100_000)]
    stub.answer(stream(pieces, content_type="audio/mpeg", release=release))
    body = {"model": "small", **BODIES["speech"]}
    async with gateway.http.stream("POST", "/v1/audio/speech", json=body) as response:
        assert response.headers["content-type"] == "audio/mpeg"
        arrived = response.aiter_raw()
        first = await anext(arrived)
        assert pieces[0].startswith(first)
        release.set()
        rest = b"".join([piece async for piece in arrived])
    assert first + rest == b"".join(pieces)


@covers("surfaces", "18")
@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_speech_that_breaks_off_does_not_look_whole(gateway: Gateway, stub: Stub, framing: str) -> None:
    stub.answer(stream([b"x" * 1000, b"y" * 1000], content_type="audio/mpeg", framing=framing, cut_after=1500))
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.http.post("/v1/audio/speech", json={"model": "small", **BODIES["speech"]})
    (line,) = await gateway.wait_for_lines(1)
    assert (line["outcome"], line["error"]) == ("error", "upstream_broke_off")


@covers("surfaces")
async def test_speech_as_events_is_relayed_without_an_end_mark(gateway: Gateway, stub: Stub) -> None:
    events = [b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n', b'data: {"type":"speech.audio.done"}\n\n']
    stub.answer(stream(events))
    body = {"model": "small", **BODIES["speech"], "stream_format": "sse"}
    assert (await gateway.http.post("/v1/audio/speech", json=body)).content == b"".join(events)


@covers("surfaces")
@pytest.mark.parametrize(
    "path", ["/audio/transcriptions", "/audio/translations", "/images/edits", "/images/variations"]
)
async def test_a_form_reaches_the_provider_with_its_file_intact(gateway: Gateway, stub: Stub, path: str) -> None:
    content = os.urandom(200_000) + b"\r\n--not-the-boundary\r\n" + b'name="model"\r\n\r\nsmall'
    request = gateway.http.build_request(
        "POST", f"/v1{path}", data={"model": "small", **FORM}, files={"file": ("small.bin", content)}
    )
    sent = await request.aread()
    assert (await gateway.http.send(request)).status_code == 200
    assert stub.last.headers["content-type"] == request.headers["content-type"]
    assert stub.last.body == sent.replace(b'name="model"\r\n\r\nsmall', b'name="model"\r\n\r\nstub-small', 1)


@covers("surfaces")
async def test_a_transcript_may_be_plain_text_or_a_stream(gateway: Gateway, stub: Stub) -> None:
    events = [b'data: {"type":"transcript.text.delta","delta":"He"}\n\n', b'data: {"type":"transcript.text.done"}\n\n']
    stub.answer(Answer(body=b"Hello \xc3\xa9\n", content_type="text/plain; charset=utf-8"), stream(events))
    for data, expected in (({}, b"Hello \xc3\xa9\n"), ({"stream": "true"}, b"".join(events))):
        response = await gateway.http.post(
            "/v1/audio/transcriptions", data={"model": "small", **data}, files={"file": ("a", b"x")}
        )
        assert response.content == expected


@covers("7")
async def test_image_parts_reach_the_provider_verbatim(gateway: Gateway, stub: Stub) -> None:
    image = "data:image/png;base64," + base64.b64encode(os.urandom(300_000)).decode()
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": image, "detail": "high"}}]
    messages = [{"role": "user", "content": parts}, {"role": "user", "content": "https://x/a.png"}]
    assert (await gateway.chat(messages=messages)).status_code == 200
    assert stub.last.json["messages"] == messages


@covers("7", "20")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_without_eyes_refuses_images_and_names_the_part(stub: Stub, stream: bool) -> None:
    settings = settings_for(stub)
    settings["models"][0]["constraints"] = {"accepts_image_url": False}
    image = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}, "c", image]},
    ]
    async with running_gateway(settings) as gateway:
        response = await gateway.chat(messages=messages, stream=stream)
        assert not stub.calls
        assert (await gateway.chat(messages=messages[:1], stream=stream)).status_code == 200
        form = {"model": "small", "messages": "a form may hold any field"}
        files = {"file": ("a", b"x")}
        assert (await gateway.http.post("/v1/audio/transcriptions", data=form, files=files)).status_code == 200
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (
        400,
        "image_url_not_supported",
        "messages[1].content[2]",
    )


@covers("8", "6")
async def test_json_mode_and_its_kind_reach_the_provider_and_the_answer_is_untouched(
    gateway: Gateway, stub: Stub
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    text = '{"a": "\\u00e9 \\"model\\": \\"stub-small\\""}'
    stub.answer(stream([chunk({"role": "assistant", "content": text}), chunk({}, "stop"), b"data: [DONE]\n\n"]))
    relayed = await gateway.stream(response_format=schema, seed=7, logit_bias={"5": -100}, tools=[])
    assert {**stub.last.json, "model": 0, "messages": 0, "stream_options": 0} == {
        "model": 0,
        "messages": 0,
        "stream": True,
        "stream_options": 0,
        "response_format": schema,
        "seed": 7,
        "logit_bias": {"5": -100},
        "tools": [],
    }
    first = json.loads(relayed.split(b"\n\n")[0][6:])
    assert json.loads(first["choices"][0]["delta"]["content"]) == json.loads(text)
    await gateway.chat(response_format={"type": "json_object"})
    assert stub.last.json["response_format"] == {"type": "json_object"}


@covers("9")
@pytest.mark.parametrize("given", ["Hi", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("dimensions", [3, 20_000], ids=["small", "large"])
async def test_embeddings_are_relayed_byte_for_byte_and_their_usage_is_logged(
    gateway: Gateway, stub: Stub, given: Any, encoding: str | None, dimensions: int
) -> None:
    vector: Any = [0.1] * dimensions
    if encoding == "base64":
        vector = base64.b64encode(os.urandom(dimensions * 4)).decode()
    data = [{"object": "embedding", "index": 0, "embedding": vector, "model": "stub-small"}]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    whole = {"object": "list", "data": data, "model": "stub-small", "usage": usage}
    stub.answer(Answer(body=json.dumps(whole).encode()))
    body = {"model": "small", "input": given, **({"encoding_format": encoding} if encoding else {})}
    response = await gateway.http.post("/v1/embeddings", json=body)
    assert response.content == json.dumps({**whole, "model": "small"}).encode()
    assert stub.last.json == {**body, "model": "stub-small"}
    (line,) = await gateway.wait_for_lines(1)
    assert (line["prompt_tokens"], line["completion_tokens"], line["usage_missing"]) == (4, 0, False)


@covers("21")
@pytest.mark.parametrize("surface", RELAYED, ids=lambda surface: surface.name)
async def test_the_callers_ids_go_along_on_every_surface(gateway: Gateway, stub: Stub, surface: Surface) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    gateway.http.headers.update({"x-request-id": "their-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    response = await call(gateway, surface)
    assert response.headers["x-request-id"] == stub.last.headers["x-request-id"] == "their-1"
    assert stub.last.headers["traceparent"].startswith(f"00-{trace}-")
    gateway.http.headers["x-request-id"] = "not harmless"
    response = await call(gateway, surface)
    assert response.headers["x-request-id"] == stub.last.headers["x-request-id"]
    assert response.headers["x-request-id"].startswith("req_")


@covers("22")
@pytest.mark.parametrize("streams", [False, True])
async def test_turn_after_turn_the_provider_sees_a_prolongation(gateway: Gateway, stub: Stub, streams: bool) -> None:
    messages: list[dict[str, str]] = []
    before = b""
    for turn in range(5):
        messages.append({"role": "user", "content": f'turn {turn} é "model"'})
        await gateway.chat(messages=messages, stream=streams)
        end = stub.last.body.rindex(b"}]")
        assert stub.last.body.startswith(before)
        assert stub.last.json["messages"] == messages
        before = stub.last.body[: end + 1]
