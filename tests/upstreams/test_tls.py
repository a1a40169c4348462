"""TLS to providers, proxies on the way, and answers that nobody asked for."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio
import trustme

from headgate.config.load import load
from tests.conftest import settings_for
from tests.harness.gateway import running_gateway
from tests.harness.stub import BOUND, Stub, chat
from tests.requirements import covers

pytestmark = covers("providers")


@pytest_asyncio.fixture
async def secure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Stub]:
    """A stub on TLS for `localhost`, its authority trusted through the variable that OpenSSL itself reads."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    async with Stub(tls) as running:
        running.url = f"https://localhost:{running.port}/v1"
        yield running


class Proxy:
    """An HTTP proxy that knows CONNECT only."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://user:p%40ss@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        writer.write(self._answer)
        if b" 200 " in self._answer:
            _, port = head.split(" ")[1].rsplit(":", 1)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer), return_exceptions=True)
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def with_upstream(stub: Stub, **more: Any) -> dict[str, Any]:
    settings = settings_for(stub)
    settings["upstreams"][0].update(more)
    return settings


async def test_calls_and_streams_go_over_tls(secure: Stub) -> None:
    async with running_gateway(with_upstream(secure)) as gateway:
        assert (await gateway.chat()).status_code == 200
        assert (await gateway.stream()).endswith(b"data: [DONE]\n\n")
        assert secure.connections == 1


async def test_a_certificate_for_another_host_is_refused(secure: Stub) -> None:
    secure.url = secure.url.replace("localhost", "127.0.0.1")
    async with running_gateway(with_upstream(secure)) as gateway:
        response = await gateway.chat()
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_unreachable"
    assert "TLS" in response.json()["error"]["message"]
    assert not secure.requests


async def test_plain_http_where_tls_was_expected_is_told(stub: Stub) -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with running_gateway(with_upstream(stub, base_url=url)) as gateway:
        assert "TLS" in (await gateway.chat()).json()["error"]["message"]
    server.close()


async def test_a_proxy_is_gone_through(secure: Stub) -> None:
    async with Proxy() as proxy, running_gateway(with_upstream(secure, proxy=proxy.url)) as gateway:
        assert (await gateway.chat()).status_code == 200
        assert (await gateway.stream()).endswith(b"data: [DONE]\n\n")
    assert proxy.asked[0].startswith(f"CONNECT localhost:{secure.port} HTTP/1.1\r\n")
    assert "proxy-authorization: Basic dXNlcjpwQHNz\r\n" in proxy.asked[0]
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"", b"nonsense\r\n\r\n"])
async def test_a_proxy_that_says_no_is_told(secure: Stub, answer: bytes) -> None:
    async with Proxy(answer) as proxy, running_gateway(with_upstream(secure, proxy=proxy.url)) as gateway:
        error = (await gateway.chat()).json()["error"]
    assert error["code"] == "upstream_unreachable"
    assert "proxy" in error["message"]
    assert "p@ss" not in error["message"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "internal, openai.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".api.openai.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "penai.com"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, None),
        ({}, None),
    ],
)
def test_the_environments_proxy_is_used_where_it_applies(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "headgate.yaml").write_text("upstreams: [{name: openai, provider: openai, api_key: sk-x}]")
    assert load(tmp_path / "headgate.yaml").settings.upstreams[0].proxy == expected


async def test_a_second_answer_to_one_request_is_never_the_answer_to_the_next(stub: Stub) -> None:
    async with running_gateway(settings_for(stub)) as gateway:
        body = chat("first").body
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        smuggled = chat("smuggled").body
        stub.answer(chat("zero"))
        await gateway.chat()
        answer = chat("first")
        answer.raw = head % len(body) + body + head % len(smuggled) + smuggled
        stub.answer(answer)
        first = await gateway.chat()
        assert first.json()["choices"][0]["message"]["content"] == "first"
        stub.answer(chat("second"))
        second = await asyncio.wait_for(gateway.chat(), BOUND)
        assert second.json()["choices"][0]["message"]["content"] == "second"
