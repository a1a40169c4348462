"""A chat completion from the caller's socket to the provider's and back."""

import asyncio
import json

from tests.harness.gateway import Gateway
from tests.harness.stub import Stub, chat, chunk, stream, stream_pieces
from tests.requirements import covers


@covers("1", "25")
async def test_the_provider_gets_the_very_bytes_but_for_the_model(gateway: Gateway, stub: Stub) -> None:
    body = (
        b'{ "temperature": 1.0,"x_unknown" : {"model":"small", "n":1e2},\n "model" : "small" , '
        b'"messages":[{"role":"user","content":"\\u00e9 \\"model\\": \\ud83d\\ude00"}]}'
    )
    response = await gateway.http.post("/v1/chat/completions", content=body)
    assert response.status_code == 200
    assert stub.last.body == body.replace(b'"model" : "small"', b'"model" : "stub-small"')
    assert len(stub.calls) == 1


@covers("1")
async def test_the_caller_gets_the_very_answer_but_for_the_model(gateway: Gateway, stub: Stub) -> None:
    answer = chat(x_unknown={"model": "stub-small", "deep": [1, {"a": None}]})
    stub.answer(answer)
    response = await gateway.chat()
    assert response.content == answer.body.replace(b'"model": "stub-small", "choices"', b'"model": "small", "choices"')
    assert response.headers["content-type"] == "application/json"


@covers("2")
async def test_the_first_chunk_arrives_before_the_provider_ends(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_raw()
        first = await anext(pieces)
        assert b'"role":"assistant"' in first
        release.set()
        rest = b"".join([piece async for piece in pieces])
    expected = b"".join(stream_pieces()).replace(b"stub-small", b"small")
    assert first + rest == expected
    assert rest.count(b"[DONE]") == 1


@covers("2")
async def test_usage_is_asked_for_but_hidden_unless_the_caller_asked(gateway: Gateway, stub: Stub) -> None:
    hidden = await gateway.stream()
    assert stub.last.json["stream_options"] == {"include_usage": True}
    assert b"usage" not in hidden
    shown = await gateway.stream(stream_options={"include_usage": True})
    frames = [json.loads(line[6:]) for line in shown.decode().split("\n\n") if line.startswith("data: {")]
    assert frames[-1]["choices"] == []
    assert frames[-1]["usage"]["total_tokens"] == 10
    lines = await gateway.wait_for_lines(2)
    assert [line["prompt_tokens"] for line in lines] == [7, 7]


@covers("2")
async def test_null_usage_in_every_chunk_is_hidden_too(gateway: Gateway, stub: Stub) -> None:
    pieces = [chunk({"role": "assistant", "content": "a"}, usage=None), chunk({"content": "b"}, usage=None)]
    pieces += [
        chunk({}, "stop", usage=None),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 2}),
        b"data: [DONE]\n\n",
    ]
    stub.answer(stream(pieces))
    assert b"usage" not in await gateway.stream()


@covers("22")
async def test_turn_after_turn_the_provider_can_reuse_what_it_has(gateway: Gateway, stub: Stub) -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("zeta", "alpha")]
    messages = [{"role": "user", "content": "One"}]
    for turn in range(3):
        usage = {"prompt_tokens": 20, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 6 * turn}}
        stub.answer(chat(f"Answer {turn}", usage=usage))
        await gateway.chat(tools=tools, messages=messages)
        messages += [{"role": "assistant", "content": f"Answer {turn}"}, {"role": "user", "content": "More"}]
    bodies = [call.body for call in stub.calls]
    starts = [body[: body.index(b"]", body.index(b'"messages"'))] for body in bodies]
    assert starts[1].startswith(starts[0])
    assert starts[2].startswith(starts[1])
    assert all(body.index(b"zeta") < body.index(b"alpha") for body in bodies)
    assert [line["cached_tokens"] for line in gateway.lines] == [0, 6, 12]
