"""A running gateway, as the commands for operators talk to it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import click

from headgate.config.load import data_dir, read_variables

_SECONDS = 30.0
_URL = "http://127.0.0.1:8000"
_HERE = ("127.0.0.1", "::1", "localhost")


class _NoRedirect(HTTPRedirectHandler):
    """The key goes to the address that was given and to no other."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


class Remote:
    """One gateway and the key to it. Failures are shown as messages, without a traceback."""

    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise click.UsageError("The URL of the gateway must begin with http:// or https://.")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._key = key
        self._opener = build_opener(_NoRedirect, *([ProxyHandler({})] if _is_here(url) else []))

    def call(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None, **asked: Any) -> Any:
        """The JSON of an answer; parameters of the query that are None are left out."""
        with self.open(method, path, body, **asked) as answer:
            return json.loads(answer.read())

    def open(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None, **asked: Any) -> HTTPResponse:
        """An answer as it comes. A body of bytes is sent as it is."""
        query = urlencode({name: value for name, value in asked.items() if value is not None}, doseq=True)
        request = Request(  # noqa: S310 - the scheme was checked
            f"{self.url}{path}{'?' if query else ''}{query}",
            method=method,
            data=body if body is None or isinstance(body, bytes) else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self._key}", "content-type": "application/json"},
        )
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=_SECONDS)
        except HTTPError as error:
            raise click.ClickException(_refusal(error)) from None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise click.ClickException(f"No gateway answers at {self.url} ({reason}). Pass --url.") from None
        return answer

    def pages(self, path: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """All entries of a list, page by page."""
        after: str | None = None
        while True:
            page = self.call("GET", path, after=after, **asked)
            yield from page["data"]
            if not page.get("has_more"):
                return
            after = page["last_id"]


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which gateway; the command gets a `remote`."""

    @click.option("--url", help="Address of the gateway; else HEADGATE_URL, or this machine's port 8000.")
    @click.option("--key", help="Key of an operator; else HEADGATE_KEY, or the master key of this machine.")
    @wraps(command)
    def with_remote(url: str | None, key: str | None, **given: Any) -> Any:
        return command(remote=_found(url, key), **given)

    return with_remote


json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def _found(url: str | None, key: str | None) -> Remote:
    url, key = place_of(url, key)
    if not key:
        raise click.UsageError("No key: pass --key, or set HEADGATE_KEY.")
    return Remote(url, key)


def place_of(url: str | None, key: str | None) -> tuple[str, str]:
    """(address, key) of the gateway that is meant, given or from the usual places; the key may be empty."""
    variables = read_variables()
    url = url or variables.get("HEADGATE_URL") or _URL
    key = key or variables.get("HEADGATE_KEY")
    if not key and _is_here(url):  # this machine's master key is for this machine alone
        key = variables.get("HEADGATE_MASTER_KEY") or _kept(data_dir(variables) / "master.key")
    return url, key or ""


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in _HERE


def _kept(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _refusal(error: HTTPError) -> str:
    try:
        message = json.loads(error.read())["error"]["message"]
    except (ValueError, KeyError, TypeError, OSError):
        return f"The gateway answered with status {error.code}."
    return f"{message} (status {error.code})"


def part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def show_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def show_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need; numbers stand to the right."""
    texts = [["-" if cell in (None, "") else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    numeric = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(heads))]
    for line in (heads, *texts):
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
