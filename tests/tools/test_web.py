"""Reading pages: pinned addresses, redirects judged anew, bounds in size and time; and searching."""

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from headgate.tools.builtin.web import web_tools
from headgate.tools.guard import Resolve, look_up
from headgate.tools.runner import ToolBounds, run_tool
from headgate.tools.settings import WebSettings
from headgate.tools.types import ToolResult
from tests.requirements import covers
from tests.tools.calling import WHO
from tests.tools.web import Host, answer, redirect, resolving

pytestmark = covers("107", "101")


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with Host() as running:
        yield running


async def fetch(url: str, resolve: Resolve = look_up, given: dict[str, Any] | None = None, **set_: Any) -> ToolResult:
    """`web_fetch` where the host `open.test` may be private."""
    settings = WebSettings(**{"private_hosts": ["open.test", "127.0.0.1"], **set_})
    [tool] = web_tools(settings, resolve)
    return await run_tool(tool, {"url": url, **(given or {})}, WHO, ToolBounds())


OPEN = resolving(open_test=["127.0.0.1"], inside_test=["127.0.0.1"], rebound_test=["8.8.8.8", "127.0.0.1"])
PAGE = b"<html><head><title>A &amp; B</title></head><body><h1>Hi</h1><p>See <a href='/x'>this</a>.</p></body></html>"


async def test_a_page_is_read_as_markdown_under_its_own_name(host: Host) -> None:
    host.pages["/a?b=1"] = answer(PAGE)
    result = await fetch(f"http://open.test:{host.port}/a?b=1#part", OPEN)
    url = f"http://open.test:{host.port}"
    assert result.text == f"URL: {url}/a?b=1#part\nTitle: A & B\n\n# Hi\n\nSee [this]({url}/x)."
    assert f"host: open.test:{host.port}\r\n" in host.requests[0]
    assert "authorization" not in host.requests[0].lower()
    assert "cookie" not in host.requests[0].lower()


async def test_a_private_host_is_not_even_connected_to(host: Host) -> None:
    result = await fetch(f"http://inside.test:{host.port}/", OPEN, ports=[host.port])
    assert result.failed
    assert "address_forbidden" in result.text
    assert not host.requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_each_hop_of_a_redirect_is_judged_anew(host: Host, status: int) -> None:
    host.pages["/go"] = redirect(f"http://inside.test:{host.port}/secret", status)
    host.pages["/secret"] = answer(b"the secret")
    result = await fetch(f"http://open.test:{host.port}/go", OPEN, ports=[host.port])
    assert result.failed
    assert "the secret" not in result.text
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    "to",
    [
        *("http://169.254.169.254/", "file:///etc/passwd", "http://[::1]/", "//127.1:1/", "gopher://open.test/"),
        *("http://u:p@open.test/", "http://2130706433/"),
    ],
)
async def test_a_redirect_leads_nowhere_that_a_url_may_not(host: Host, to: str) -> None:
    host.pages["/go"] = redirect(to)
    result = await fetch(f"http://open.test:{host.port}/go")
    assert result.failed
    result = await fetch(f"http://127.0.0.1:{host.port}/go")
    assert "address_forbidden" in result.text
    assert len(host.requests) == 1


async def test_redirects_are_followed_up_to_their_number(host: Host) -> None:
    host.pages.update({"/1": redirect("/2"), "/2": redirect("../a b"), "/a%20b": answer(b"there", "text/plain")})
    host.pages["/loop"] = redirect("/loop")
    assert "there" in (await fetch(f"http://open.test:{host.port}/1", OPEN)).text
    looped = await fetch(f"http://open.test:{host.port}/loop", OPEN, redirects=3)
    assert "more than 3 redirects" in looped.text
    assert len(host.requests) == 3 + 4


async def test_a_name_that_means_something_else_a_moment_later_gains_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look-up is judged, and what was judged is what is connected to."""
    called: list[tuple[str, int]] = []

    async def connect(address: str, port: int, **_: Any) -> Any:
        called.append((address, port))
        raise OSError

    monkeypatch.setattr("asyncio.open_connection", connect)
    result = await fetch("http://rebound.test/", resolving(rebound_test=["8.8.8.8", "127.0.0.1"]))
    assert result.failed
    assert called == [("8.8.8.8", 80)]


async def test_tls_is_spoken_with_the_name_to_the_judged_address(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []

    async def connect(address: str, port: int, **more: Any) -> Any:
        called.append({"address": address, "port": port, **more})
        raise OSError

    monkeypatch.setattr("asyncio.open_connection", connect)
    await fetch("https://secure.test/", resolving(secure_test=["1.1.1.1"]))
    assert (called[0]["address"], called[0]["port"], called[0]["server_hostname"]) == ("1.1.1.1", 443, "secure.test")
    assert called[0]["ssl"].check_hostname


async def test_a_page_is_read_up_to_its_size_and_no_further(host: Host) -> None:
    host.pages["/"] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"
    host.endless = b"x" * 65536
    result = await fetch(f"http://open.test:{host.port}/", OPEN, bytes=100_000)
    assert not result.failed
    assert "[80000 characters follow" in result.text
    assert host.written < 20_000_000


async def test_what_unpacks_to_more_than_its_size_is_cut(host: Host) -> None:
    bomb = gzip.compress(b"0" * 200_000_000, 9)
    host.pages["/"] = answer(bomb, "text/plain", content_encoding="gzip")
    tracemalloc.start()
    try:
        result = await fetch(f"http://open.test:{host.port}/", OPEN, {"start": 99_999}, bytes=100_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000
    assert result.text.endswith("0\n[the page is longer than what is read of one]")


async def test_a_host_that_hangs_is_given_up(host: Host) -> None:
    host.pages["/"] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nabc"
    host.hangs = True
    result = await fetch(f"http://open.test:{host.port}/", OPEN, seconds=0.2)
    assert result.failed
    assert "within 0.2 seconds" in result.text


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"nonsense\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "broke off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "headers are too long"),
        (b"", "without an answer"),
        (answer(b"%PDF-1.7", "application/pdf"), "application/pdf"),
        (answer(b"\x89PNG\0\0", "image/png"), "image/png"),
        (answer(b"\0\0\0", "text/plain"), "not text"),
        (answer(b"abc", "text/plain", content_encoding="br"), "encoded as 'br'"),
        (answer(b"abc", "text/plain", content_encoding="gzip"), "packed answer"),
        (answer(b"<p>gone</p>", status=410), "status 410"),
    ],
    ids=range(11),
)
async def test_what_is_no_page_is_told_as_what_it_is(host: Host, sent: bytes, why: str) -> None:
    host.pages["/"] = sent
    result = await fetch(f"http://open.test:{host.port}/", OPEN)
    assert result.failed
    assert why in result.text


async def test_proxies_of_the_environment_are_not_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    host.pages["/"] = answer(b"direct", "text/plain")
    assert "direct" in (await fetch(f"http://open.test:{host.port}/", OPEN)).text


async def test_reading_goes_on_where_it_ended_and_charsets_are_honoured(host: Host) -> None:
    host.pages["/"] = answer("äöü".encode("latin-1") * 100, "text/plain; charset=ISO-8859-1")
    first = await fetch(f"http://open.test:{host.port}/", OPEN, {"max_characters": 100})
    assert "read on with start=100]" in first.text
    rest = await fetch(f"http://open.test:{host.port}/", OPEN, {"start": 297})
    assert rest.text.endswith("\n\näöü")


@pytest.mark.parametrize("provider", ["searxng", "tavily", "brave"])
async def test_each_search_engine_is_asked_in_its_own_words(host: Host, provider: str) -> None:
    hit = {"title": "A <b>title</b>", "url": "https://a.test/", "content": "words", "description": "words"}
    listed = {"web": {"results": [hit] * 9}} if provider == "brave" else {"results": [hit] * 9}
    found = answer(json.dumps(listed).encode(), "application/json")
    host.pages.update({"/search?q=a%20%26%20b&format=json": found, "/s": found, "/s?q=a%20%26%20b&count=2": found})
    path = "" if provider == "searxng" else "/s"
    search = {"provider": provider, "url": f"http://127.0.0.1:{host.port}{path}", "api_key": "sk-search-1"}
    tools = {tool.info.name: tool for tool in web_tools(WebSettings.model_validate({"search": search}))}
    result = await run_tool(tools["web_search"], {"query": "a & b", "results": 2}, WHO, ToolBounds())
    assert result.text == "1. A title\n   https://a.test/\n   words\n2. A title\n   https://a.test/\n   words"
    assert "sk-search-1" in host.requests[0]
    host.pages.clear()
    assert "status 404" in (await run_tool(tools["web_search"], {"query": "a & b"}, WHO, ToolBounds())).text


def test_there_is_no_search_until_an_engine_is_set() -> None:
    assert [tool.info.name for tool in web_tools(WebSettings())] == ["web_fetch"]
    assert web_tools(WebSettings(fetch=False)) == []
