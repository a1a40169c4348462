"""What Ollama's API says of models, and embeddings in its words; with Ollama's own client."""

import base64
import json
import struct
from pathlib import Path

import httpx
import ollama
import pytest

from tests.clients.answers import VECTOR
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub
from tests.journeys.test_money import new_key
from tests.journeys.test_ollama import HI, client, client_of
from tests.requirements import covers

pytestmark = covers("ollama")
__all__ = ["client"]


async def test_a_model_may_be_loaded_and_let_go_without_a_call(client: ollama.AsyncClient, stub: Stub) -> None:
    assert (await client.generate("small")).done_reason == "load"
    assert (await client.chat("small", [], keep_alive=0)).done_reason == "unload"
    [line] = [one async for one in await client.chat("small", stream=True)]
    assert (line.done, line.message.content) == (True, "")
    with pytest.raises(ollama.ResponseError) as error:
        await client.generate("nope")
    assert error.value.status_code == 404
    assert not stub.calls


async def test_embeddings_are_numbers_in_order(client: ollama.AsyncClient, stub: Stub) -> None:
    packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
    data = [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [0.5]}]
    stub.answer(Answer(body=json.dumps({"data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}}).encode()))
    answer = await client.embed("small", ["a", "b"], dimensions=3, truncate=True)
    assert (answer.embeddings, answer.prompt_eval_count) == ([[0.5], list(VECTOR)], 4)
    sent = {"model": "stub-small", "input": ["a", "b"], "encoding_format": "float", "dimensions": 3}
    assert stub.last.json == sent
    assert (await client.embeddings("small", "a")).embedding == [0.1, -0.2, 0.3]
    stub.answer(Answer(body=b'{"data":[]}'))
    with pytest.raises(ollama.ResponseError, match="no embeddings"):
        await client.embed("small", "a")


async def test_models_are_listed_and_shown(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["models"] += [
        {"name": "org/any-*", "targets": [{"upstream": "stub", "model": "*"}]},
        {
            "name": "eyes",
            "targets": [{"upstream": "stub", "model": "x", "context_window": 4096}],
            "capabilities": {"input": ["text", "image"], "reasoning": True, "tools": False, "family": "llama"},
        },
        {
            "name": "vec",
            "targets": [{"upstream": "stub", "model": "x"}],
            "capabilities": {"mode": "embedding"},
        },
    ]
    async with running_gateway(settings) as gateway, client_of(gateway) as client:
        assert [one.model for one in (await client.list()).models] == ["small", "eyes", "vec"]
        assert (await client.ps()).models == []
        small, eyes, vec = [await client.show(name) for name in ("small:latest", "eyes", "vec")]
        assert (small.capabilities, vec.capabilities) == (["completion", "tools"], ["embedding"])
        assert eyes.capabilities == ["completion", "vision", "thinking"]
        assert eyes.modelinfo is not None
        assert (eyes.modelinfo["general.architecture"], eyes.modelinfo["llama.context_length"]) == ("llama", 4096)
        assert (await client.chat("small:latest", HI)).message.content == "Hello there."
        with pytest.raises(ollama.ResponseError):
            await client.show("nope")
        version = (await gateway.http.get("/api/version")).json()["version"]
        assert tuple(map(int, version.split("."))) >= (0, 6, 4)


async def test_models_that_a_key_may_not_use_are_neither_listed_nor_shown_nor_loaded(
    stub: Stub, tmp_path: Path
) -> None:
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        caller = await new_key(gateway, models={"deny": ["small"]})
        async with caller:
            assert (await caller.get("/api/tags")).json() == {"models": []}
            for path in ("/api/show", "/api/generate", "/api/embed"):
                body = {"model": "small", "input": "x"}
                assert (await caller.post(path, json=body)).status_code == 403, path
    assert not stub.calls


@pytest.mark.parametrize("name", ["pull", "push", "create", "delete"])
async def test_models_cannot_be_pulled_made_or_deleted(client: ollama.AsyncClient, name: str) -> None:
    with pytest.raises(ollama.ResponseError, match="Models are those of the configuration") as error:
        await getattr(client, name)("small")
    assert error.value.status_code == 404


async def test_nobody_comes_in_without_a_key(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=BOUND) as anybody:
        for how, path in (("GET", "/api/tags"), ("POST", "/api/chat"), ("POST", "/api/pull"), ("GET", "/api/version")):
            assert (await anybody.request(how, path)).status_code == 401, path
