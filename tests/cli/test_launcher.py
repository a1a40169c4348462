"""The launcher's two ways to name models without a file, as a process in front of a provider."""

import asyncio

import httpx
import pytest

from tests.harness.process import Processes
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

SCHEMA = {
    "PROXY_MODEL_KEYS": "gpt5,deepseek",
    "MODEL_GPT5_ALIAS": "gpt-5",
    "MODEL_GPT5_UPSTREAM_MODEL": "openai/gpt-5-0001",
    "MODEL_DEEPSEEK_UPSTREAM_MODEL": "deepseek/deepseek-v3.2",
    "MODEL_DEEPSEEK_UPSTREAM_KEY_ENV": "DEEPSEEK_KEY",
}
SPECS = (
    *("--model-spec", "key=gpt5,alias=gpt-5,upstream=openai/gpt-5-0001"),
    *("--model-spec", "key=deepseek,upstream=deepseek/deepseek-v3.2,key_env=DEEPSEEK_KEY"),
)
KEYS = {"OPENAI_API_KEY": "sk-first", "DEEPSEEK_KEY": "sk-second", "LITELLM_MASTER_KEY": "sk-local-master"}


@covers("122", "123", "124")
@pytest.mark.parametrize("way", ["environment", "flags"])
async def test_both_models_are_served_without_a_file(processes: Processes, stub: Stub, way: str) -> None:
    base = {"OPENAI_API_BASE": stub.url} if way == "environment" else {}
    variables = {**KEYS, **base, **(SCHEMA if way == "environment" else {})}
    args = ("--upstream-base", stub.url, *SPECS) if way == "flags" else ()
    process = await asyncio.to_thread(processes.serve, *args, **variables)
    headers = {"authorization": "Bearer sk-local-master"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=BOUND) as http:
        listed = (await http.get("/models")).json()["data"]
        assert [one["id"] for one in listed] == ["gpt-5", "deepseek-v3.2"]
        for name in ("gpt-5", "deepseek-v3.2"):
            body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
            answer = await http.post("/chat/completions", json=body)
            assert (answer.status_code, answer.json()["model"]) == (200, name)
    assert [(call.json["model"], call.headers["authorization"]) for call in stub.calls] == [
        ("gpt-5-0001", "Bearer sk-first"),
        ("deepseek/deepseek-v3.2", "Bearer sk-second"),
    ]
