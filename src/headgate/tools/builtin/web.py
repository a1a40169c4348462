"""Tools that read the web: one page, or what a search engine finds."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from headgate.tools.builtin.function import FunctionTool, builtin, number, schema, text
from headgate.tools.download import Client, DownloadFailed, Page
from headgate.tools.guard import Guard, Resolve, look_up
from headgate.tools.readable import readable, title_of
from headgate.tools.settings import SearchSettings, WebSettings
from headgate.tools.types import Caller, Hints, Tool, ToolResult

_OUTSIDE = Hints(read_only=True, destructive=False, idempotent=True, open_world=True)
_TEXT = ("application/json", "application/xml", "application/xhtml+xml", "application/javascript", "application/yaml")
_MOST_CHARACTERS = 100_000
_USUAL_CHARACTERS = 20_000
_URLS = {"tavily": "https://api.tavily.com/search", "brave": "https://api.search.brave.com/res/v1/web/search"}


def web_tools(settings: WebSettings, resolve: Resolve = look_up) -> list[Tool]:
    """Those that the settings turn on."""
    guard = Guard(tuple(settings.hosts), tuple(settings.private_hosts), frozenset(settings.ports), resolve)
    client = Client(guard, settings.bytes, settings.seconds, settings.redirects)
    tools: list[Tool] = []
    if settings.search is not None:
        url = settings.search.url or _URLS[settings.search.provider]
        own = Guard(private=(urlsplit(url).hostname or "",), resolve=resolve)
        tools.append(_search_tool(Search(settings.search, url, Client(own, settings.bytes, settings.seconds, 0))))
    if settings.fetch:
        tools.append(_fetch_tool(client))
    return tools


def _fetch_tool(client: Client) -> FunctionTool:
    async def fetch(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
        try:
            page = await client.get(arguments["url"], {"accept": "text/html, text/*;q=0.9, application/json;q=0.9"})
        except DownloadFailed as error:
            raise ValueError(f"the page was not read: {error}") from None
        return await asyncio.to_thread(_told, page, arguments)

    return FunctionTool(
        builtin(
            "web_fetch",
            "Read a page of the web as Markdown, or a text or JSON as it is.",
            schema(
                *("format", "start", "max_characters"),
                url=text("A whole http or https address."),
                format={"type": "string", "enum": ["markdown", "text", "html"], "description": "Markdown by default."},
                start=number("Characters to leave out, to read on where an answer ended.", minimum=0),
                max_characters=number("Characters to read.", minimum=1, maximum=_MOST_CHARACTERS),
            ),
            "web",
            _OUTSIDE,
        ),
        fetch,
    )


def _told(page: Page, arguments: Mapping[str, Any]) -> ToolResult:
    kind = page.content_type
    if kind and not (kind.startswith("text/") or kind in _TEXT or kind.endswith(("+json", "+xml"))):
        raise ValueError(f"the page is {kind[:100]}, and only text can be read")
    if b"\0" in page.body[:4096] and "utf-16" not in page.headers.get("content-type", "").lower():
        raise ValueError("the page is not text")
    words = _decoded(page)
    form = arguments.get("format", "markdown")
    title = ""
    if "html" in kind or (not kind and "<html" in words[:1000].lower()):
        title = title_of(words)
        words = words if form == "html" else readable(words, page.url, markdown=form == "markdown")
    start = arguments.get("start", 0)
    part = words[start : start + arguments.get("max_characters", _USUAL_CHARACTERS)]
    left = len(words) - start - len(part)
    notes = [f"[{left} characters follow; read on with start={start + len(part)}]"] if left > 0 else []
    notes += ["[the page is longer than what is read of one]"] if page.cut and left <= 0 else []
    lines = [f"URL: {page.url}", *([f"Title: {title}"] if title else []), "", part, *notes]
    failed = page.status >= 400
    lines.insert(0, f"Error: the host answered with status {page.status}.") if failed else None
    return ToolResult("\n".join(lines), failed=failed)


def _decoded(page: Page) -> str:
    named = page.headers.get("content-type", "").lower().partition("charset=")[2].partition(";")[0].strip("\"' ")
    try:
        return page.body.decode(named or "utf-8", "replace").removeprefix("\ufeff")
    except (LookupError, ValueError):
        return page.body.decode("utf-8", "replace")


class Search:
    """One engine, asked in its own words."""

    def __init__(self, settings: SearchSettings, url: str, client: Client) -> None:
        self._settings = settings
        self._url = url
        self._client = client
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""

    async def __call__(self, arguments: Mapping[str, Any], _: Caller) -> ToolResult:
        count = min(arguments.get("results", self._settings.results), 20)
        try:
            page = await self._ask(arguments["query"], count)
        except DownloadFailed as error:
            raise ValueError(f"the search engine did not answer: {error}") from None
        if page.status != 200:
            raise ValueError(f"the search engine answered with status {page.status}")
        try:
            hits = _hits(orjson.loads(page.body))[:count]
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            raise ValueError("the search engine's answer cannot be read") from None
        listed = [f"{at}. {title}\n   {url}\n   {words}" for at, (title, url, words) in enumerate(hits, 1)]
        found = [{"title": title, "url": url, "text": words} for title, url, words in hits]
        return ToolResult("\n".join(listed) or "Nothing was found.", structured={"results": found})

    async def _ask(self, query: str, count: int) -> Page:
        asked = quote(query, safe="")
        match self._settings.provider:
            case "tavily":
                headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
                body = orjson.dumps({"query": query, "max_results": count})
                return await self._client.post(self._url, body, headers)
            case "brave":
                headers = {"x-subscription-token": self._key, "accept": "application/json"}
                return await self._client.get(f"{self._url}?q={asked}&count={count}", headers)
            case _:
                url = f"{self._url.rstrip('/').removesuffix('/search')}/search?q={asked}&format=json"
                headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
                return await self._client.get(url, headers)


def _hits(answer: Any) -> list[tuple[str, str, str]]:
    """(title, url, words) of each hit; the engines differ in where they stand."""
    listed = answer.get("results") or (answer.get("web") or {}).get("results") or []
    return [
        (
            readable(str(one.get("title") or ""), "", markdown=False),
            str(one.get("url") or ""),
            readable(str(one.get("content") or one.get("description") or "")[:2000], "", markdown=False),
        )
        for one in listed
    ]


def _search_tool(search: Search) -> FunctionTool:
    return FunctionTool(
        builtin(
            "web_search",
            "Search the web: titles, addresses and a few words of what is found.",
            schema(
                "results",
                query=text("What to look for.", minLength=1, maxLength=500),
                results=number("How many hits.", minimum=1, maximum=20),
            ),
            "web",
            _OUTSIDE,
        ),
        search,
    )
