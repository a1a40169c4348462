"""Providers are rows: each well-formed, and each reached at its address with its key as it wants it."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from headgate.core.errors import StartupError
from headgate.core.version import __version__
from headgate.upstreams.registry import PROVIDERS, Provider
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.messages import native
from tests.harness.stub import Recorded, Stub
from tests.requirements import covers

pytestmark = covers("providers")
ROWS = list(PROVIDERS.values())


def settings(stub: Stub, path: str = "/v1", **upstream: Any) -> dict[str, Any]:
    """One upstream at the stub, below a path."""
    base = {"name": "up", "provider": "openai_compatible", "base_url": f"http://127.0.0.1:{stub.port}{path}"}
    target = {"upstream": "up", "model": "org/my model"}
    return {"upstreams": [{**base, **upstream}], "models": [{"name": "small", "targets": [target], "retries": 0}]}


async def sent(stub: Stub, path: str = "/v1", **upstream: Any) -> Recorded:
    """What the provider gets for one call."""
    async with running_gateway(settings(stub, path, **upstream)) as gateway:
        assert (await gateway.chat()).status_code == 200
    return stub.last


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_well_formed(row: Provider) -> None:
    assert PROVIDERS[row.name] is row
    assert row.name.replace("_", "").isalnum()
    assert row.name == row.name.lower()
    if row.base_url:
        parts = urlsplit(row.base_url)
        assert parts.scheme == ("http" if parts.hostname == "127.0.0.1" else "https")
        assert not row.base_url.endswith("/")
    for variable in (*row.key_variables, *row.url_variables):
        assert variable.isupper()
        assert variable.isascii()
    if row.needs_key:
        assert row.key_variables


def test_no_variable_belongs_to_two_rows() -> None:
    variables = [name for row in ROWS for name in (*row.key_variables, *row.url_variables)]
    assert len(set(variables)) == len(variables)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row_is_called_with_its_key_in_its_header(stub: Stub, row: Provider) -> None:
    if row.is_anthropic:
        stub.otherwise = native
    request = await sent(stub, provider=row.name, api_key="the-key-1")
    if row.is_anthropic:
        assert request.headers["x-api-key"] == "the-key-1"
        assert "authorization" not in request.headers
        assert request.path == "/v1/messages"
        return
    if row.key_header:
        assert request.headers[row.key_header] == "the-key-1"
        assert "authorization" not in request.headers
    else:
        assert request.headers["authorization"] == "Bearer the-key-1"
    assert request.path == "/v1/chat/completions"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row_is_asked_for_usage_in_streams_only_where_it_knows_how(stub: Stub, row: Provider) -> None:
    if row.is_anthropic:
        pytest.skip("its streams tell the usage unasked")
    async with running_gateway(settings(stub, provider=row.name, api_key="k")) as gateway:
        await gateway.stream()
    assert ("stream_options" in stub.last.json) is row.usage_in_streams


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row_lists_its_models_where_it_can(stub: Stub, row: Provider) -> None:
    async with running_gateway(settings(stub, provider=row.name, api_key="k", offer_all=True)) as gateway:
        listed = [model["id"] for model in (await gateway.http.get("/v1/models")).json()["data"]]
    assert ("up/stub-large" in listed) is row.lists_models


@pytest.mark.parametrize(
    ("path", "called"),
    [
        ("", "/chat/completions"),
        ("/", "/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/deep/v1//", "/api/deep/v1/chat/completions"),
        ("/a%20b", "/a%20b/chat/completions"),
    ],
)
async def test_the_base_path_stands_before_the_surface(stub: Stub, path: str, called: str) -> None:
    assert (await sent(stub, path)).path == called


async def test_azures_dated_api_names_the_deployment_in_the_path(stub: Stub) -> None:
    azure: dict[str, Any] = {"provider": "azure", "api_key": "k", "api_version": "2024-10-21"}
    request = await sent(stub, "/", **azure)
    assert request.path == "/openai/deployments/org%2Fmy%20model/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == "k"
    request = await sent(stub, "/openai/v1", provider="azure", api_key="k")
    assert request.path == "/openai/v1/chat/completions"


async def test_further_headers_are_sent_and_may_replace_ours(stub: Stub) -> None:
    more = {"X-Team": "a b", "OpenAI-Organization": "org", "User-Agent": "mine"}
    request = await sent(stub, headers=more, api_key="k")
    assert {name: request.headers[name.lower()] for name in more} == more
    assert request.headers["authorization"] == "Bearer k"


async def test_the_usual_headers(stub: Stub) -> None:
    request = await sent(stub)
    assert request.headers["host"] == f"127.0.0.1:{stub.port}"
    assert request.headers["user-agent"] == f"headgate/{__version__}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert set(request.headers) == {
        *("host", "user-agent", "content-type", "accept-encoding", "content-length", "x-request-id", "traceparent")
    }


@covers("redaction")
async def test_the_callers_headers_and_key_stay_here(stub: Stub) -> None:
    async with running_gateway(settings(stub, api_key="k")) as gateway:
        own = {"cookie": "a=b", "x-api-key": "x", "openai-organization": "theirs", "x-forwarded-for": "1.2.3.4"}
        await gateway.http.post(
            "/v1/chat/completions", json={"model": "small", "messages": [{"role": "user"}]}, headers=own
        )
    assert not set(own) & set(stub.last.headers)
    assert "sk-test" not in str(stub.last.headers)


@pytest.mark.parametrize(
    "upstream", [{"api_key": "a\nb: c"}, {"headers": {"x": "a\r\nb: c"}}, {"headers": {"a\nb": "c"}}]
)
async def test_a_line_break_in_a_key_or_header_is_refused_at_start(stub: Stub, upstream: dict[str, Any]) -> None:
    with pytest.raises(StartupError, match="line break"):
        async with running_gateway(settings(stub, **upstream)):
            pass


async def test_an_address_with_a_login_is_not_sent_as_host(stub: Stub) -> None:
    base_url = f"http://user:pass@127.0.0.1:{stub.port}/v1"
    assert (await sent(stub, base_url=base_url)).headers["host"] == f"127.0.0.1:{stub.port}"


async def test_many_invented_deployments_leave_nothing_behind(stub: Stub) -> None:
    azure: dict[str, Any] = {"provider": "azure", "api_key": "k", "api_version": "1", "offer_all": True}
    async with running_gateway(settings(stub, **azure)) as gateway:
        for number in range(1100):
            await gateway.chat(model=f"up/invented-{number}")
        kept = remembered(gateway)
    assert kept <= 1000


def remembered(gateway: Gateway) -> int:
    heads: dict[Any, bytes] = gateway.gate.deps.upstreams["up"]._heads  # type: ignore[attr-defined]
    return len(heads)
