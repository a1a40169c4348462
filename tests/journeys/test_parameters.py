"""What is done to a request's fields, from the caller's socket to the provider's, and how the caller hears of it."""

import json
from typing import Any

import pytest

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub
from tests.requirements import covers

MESSAGES = [{"role": "user", "content": "Hi"}]


def settings(stub: Stub, top: dict[str, Any] | None = None, model: dict[str, Any] | None = None) -> dict[str, Any]:
    """A model `small`, and one `thinker` whose provider's list is known, both at the stub."""
    common = {"base_url": stub.url, "api_key": "sk-upstream-secret-1"}
    targets = {"small": ("plain", "stub-small"), "thinker": ("known", "o3"), "talker": ("known", "gpt-4o")}
    return {
        "upstreams": [
            {"name": "plain", "provider": "openai_compatible", **common},
            {"name": "known", "provider": "openai", **common},
        ],
        "models": [
            {"name": name, "targets": [{"upstream": upstream, "model": id_}], "retries": 0, **(model or {})}
            for name, (upstream, id_) in targets.items()
        ],
        "parameters": top or {},
    }


async def sent(gateway: Gateway, stub: Stub, **fields: Any) -> tuple[dict[str, Any], str | None, str | None]:
    """(fields at the provider, what the answer says was dropped, and applied), the latter two also as logged."""
    asked = len(gateway.lines)
    response = await gateway.chat(**fields)
    assert response.status_code == 200, response.text
    line = (await gateway.wait_for_lines(asked + 1))[-1]
    told = response.headers.get("x-headgate-dropped"), response.headers.get("x-headgate-applied")
    assert told == tuple(", ".join(line[name]) if line.get(name) else None for name in ("dropped", "applied"))
    reached = {name: value for name, value in stub.last.json.items() if name not in ("model", "messages")}
    return (reached, *told)


@covers("1", "16", "17")
async def test_without_settings_every_field_passes_as_it_is(stub: Stub) -> None:
    async with running_gateway(settings(stub)) as gateway:
        fields = {"reasoning_effort": "none", "temperature": 0.3, "max_tokens": 1, "x": {"y": [1]}}
        assert await sent(gateway, stub, **fields) == (fields, None, None)
        fields = {"reasoning_effort": "low", "temperature": 0.3, "max_tokens": 1}
        assert await sent(gateway, stub, model="thinker", **fields) == (fields, None, None)


@covers("15")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_small_bound_is_raised_to_the_floor(stub: Stub, stream: bool) -> None:
    async with running_gateway(settings(stub, model={"constraints": {"min_max_tokens": 64}})) as gateway:
        reached, dropped, applied = await sent(gateway, stub, max_tokens=10, stream=stream)
        assert (reached["max_tokens"], dropped, applied) == (64, None, "max_tokens_floored=64")
        assert await sent(gateway, stub, max_tokens=64) == ({"max_tokens": 64}, None, None)
        response = await gateway.http.post("/v1/completions", json={"model": "small", "prompt": "x", "max_tokens": 1})
        assert response.headers["x-headgate-applied"] == "max_tokens_floored=64"
        assert stub.last.json["max_tokens"] == 64


@covers("16")
async def test_unsupported_fields_are_left_out_when_set_so_and_passed_on_when_not(stub: Stub) -> None:
    fields = {"temperature": 0.5, "stop": ["x"], "seed": 7}
    async with running_gateway(settings(stub, {"drop_unsupported": True})) as gateway:
        assert await sent(gateway, stub, model="thinker", **fields) == ({"seed": 7}, "temperature, stop", None)
        assert await sent(gateway, stub, model="small", **fields) == (fields, None, None)
    async with running_gateway(settings(stub, {"drop_unsupported": False})) as gateway:
        assert await sent(gateway, stub, model="thinker", **fields) == (fields, None, None)


@covers("16")
async def test_the_bytes_of_what_stays_are_those_of_the_caller(stub: Stub) -> None:
    body = b'{ "user":"u", "messages" : [{"role":"user","content":"\\u00e9 1e2"}] ,"x":1e2, "model":"small" }'
    async with running_gateway(settings(stub, {"drop": ["user"], "defaults": {"seed": 5}})) as gateway:
        response = await gateway.http.post("/v1/chat/completions", content=body)
    assert response.status_code == 200
    assert stub.last.body == (
        b'{"messages" : [{"role":"user","content":"\\u00e9 1e2"}],"x":1e2,"model":"stub-small","seed":5}'
    )
    assert response.headers["x-headgate-dropped"] == "user"
    assert response.headers["x-headgate-applied"] == "default:seed"


@covers("17")
@pytest.mark.parametrize(
    ("top", "model", "asked", "reaches", "applied"),
    [
        ("low", None, None, "low", "reasoning_effort=low"),
        ("low", "medium", None, "medium", "reasoning_effort=medium"),
        ("low", "medium", "high", "high", None),
        ("low", "none", None, None, None),
        ("low", None, "none", None, "reasoning_effort=none"),
    ],
)
async def test_the_effort_is_the_requests_or_the_models_or_the_top(
    stub: Stub, top: str, model: str | None, asked: str | None, reaches: str | None, applied: str | None
) -> None:
    own = {"parameters": {"reasoning_effort": model}} if model else None
    async with running_gateway(settings(stub, {"reasoning_effort": top}, own)) as gateway:
        fields = {"reasoning_effort": asked} if asked else {}
        expected = {"reasoning_effort": reaches} if reaches else {}
        assert await sent(gateway, stub, model="thinker", **fields) == (expected, None, applied)


@covers("17", "16")
async def test_an_effort_for_a_model_that_does_not_reason_is_left_out_and_told(stub: Stub) -> None:
    async with running_gateway(settings(stub, {"reasoning_effort": "high"})) as gateway:
        assert await sent(gateway, stub, model="talker") == ({}, "reasoning_effort", None)
        reached, dropped, _ = await sent(gateway, stub, model="talker", reasoning_effort="low")
        assert (reached, dropped) == ({"reasoning_effort": "low"}, None)
    async with running_gateway(settings(stub, {"drop_unsupported": True})) as gateway:
        assert await sent(gateway, stub, model="talker", reasoning_effort="low") == ({}, "reasoning_effort", None)


@covers("16", "2")
async def test_a_stream_that_may_not_be_asked_for_usage_is_not(stub: Stub) -> None:
    own = {"parameters": {"drop": ["stream_options"]}}
    async with running_gateway(settings(stub, None, own)) as gateway:
        reached, dropped, _ = await sent(gateway, stub, stream=True, stream_options={"include_usage": True})
        assert (reached, dropped) == ({"stream": True}, "stream_options")
        reached, dropped, _ = await sent(gateway, stub, stream=True)
        assert (reached, dropped) == ({"stream": True}, None)


@covers("16", "surfaces")
async def test_embeddings_and_forms_lose_the_fields_that_are_never_passed_on(stub: Stub) -> None:
    top = {"drop": ["encoding_format", "language"], "defaults": {"temperature": 0.5, "dimensions": 8}}
    stub.otherwise = lambda request: Answer(body=json.dumps({"data": [], "text": ""}).encode())
    async with running_gateway(settings(stub, top)) as gateway:
        body = {"model": "small", "input": "x", "encoding_format": "base64"}
        response = await gateway.http.post("/v1/embeddings", json=body)
        assert stub.last.json == {"model": "stub-small", "input": "x", "dimensions": 8}
        assert response.headers["x-headgate-dropped"] == "encoding_format"
        form = {"model": "small", "language": "de", "prompt": "p"}
        await gateway.http.post("/v1/audio/transcriptions", data=form, files={"file": ("a.wav", b"RIFF--")})
        assert b"stub-small" in stub.last.body
        assert b"RIFF--" in stub.last.body
        assert b"language" not in stub.last.body


@covers("16", "14")
async def test_each_target_gets_what_it_takes_and_the_answer_tells_of_the_last(stub: Stub) -> None:
    made = settings(stub, {"drop_unsupported": True})
    made["models"][0]["targets"] = [
        {"upstream": "known", "model": "o3"},
        {"upstream": "plain", "model": "stub-small", "parameters": {"defaults": {"seed": 1}}},
    ]
    stub.answer(Answer(status=503))
    async with running_gateway(made) as gateway:
        reached, dropped, applied = await sent(gateway, stub, temperature=0.5)
    assert "temperature" not in stub.calls[0].json
    assert (reached, dropped, applied) == ({"temperature": 0.5, "seed": 1}, None, "default:seed")
