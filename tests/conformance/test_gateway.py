"""The recorded answers through a whole gateway, on real sockets: from each provider to each caller."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conformance.golden import CHECK_STREAM, CHECK_WHOLE, Case, cases
from tests.conformance.said import in_words_of, of_events
from tests.conformance.through import NAMES
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, stream
from tests.requirements import covers

pytestmark = covers("conformance", "dialects")
ENDED_BY_US = ("without_done", "content_filter")
"""A stream without its end mark gets it, and an empty name of a model becomes ours; all else is passed on as it is."""
DOORS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": "Hi", "store": False}),
}


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    """A provider of each dialect, and a model `of-DIALECT` at each."""
    upstream = {"provider": "openai_compatible", "base_url": stub.url, "api_key": "sk-upstream-secret-1"}
    settings = {
        "upstreams": [{**upstream, "name": name, "speaks": [name]} for name in NAMES],
        "models": [
            {"name": f"of-{name}", "targets": [{"upstream": name, "model": "provider-model"}], "retries": 0}
            for name in NAMES
        ],
    }
    async with running_gateway(settings) as running:
        yield running


async def ask(gateway: Gateway, stub: Stub, case: Case, caller: str) -> httpx.Response:
    stub.answer(stream([case.body]) if case.is_stream else Answer(body=case.body))
    path, fields = DOORS[caller]
    options = {"stream_options": {"include_usage": True}} if case.is_stream and caller == "chat" else {}
    body = {"model": f"of-{case.dialect}", "stream": case.is_stream, **fields, **options}
    return await gateway.http.post(path, json=body)


@pytest.mark.parametrize("caller", NAMES)
@pytest.mark.parametrize("provider", NAMES)
async def test_each_caller_gets_what_each_provider_said(
    gateway: Gateway, stub: Stub, provider: str, caller: str
) -> None:
    for case in cases():
        if case.dialect != provider:
            continue
        heard = case.heard()
        response = await ask(gateway, stub, case, caller)
        assert response.status_code == 200, (case, response.text)
        if provider == caller:
            if heard.error is None and case.is_stream and case.name not in ENDED_BY_US:
                named = response.content.replace(f"of-{provider}".encode(), b"provider-model")
                assert named == case.body, case
        elif not case.is_stream:
            said = CHECK_WHOLE[caller](response.content)
            assert said == in_words_of(caller, of_events(heard.events), whole=True), case
        else:
            said = CHECK_STREAM[caller](response.content)
            expected = in_words_of(caller, of_events(heard.events))
            assert said.is_broken == (heard.error is not None), case
            assert said.is_broken or said == replace(expected, is_broken=False), case
