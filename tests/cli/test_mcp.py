"""`headgate mcp` and `headgate demo-mcp`."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from headgate.cli import demo_mcp
from tests.cli.conftest import Run
from tests.requirements import covers

SERVER = {"name": "time", "transport": "stdio", "state": "up", "tools": 2, "error": None}
TOOL = {"name": "mcp_time_now", "server": "time", "origin": "now"}
ANSWERS: dict[str, Any] = {
    "/admin/mcp/servers": {"data": [SERVER, {**SERVER, "name": "git", "state": "down", "error": "it ended"}]},
    "/admin/mcp/servers/time": SERVER,
    "/admin/mcp/servers/time/tools": {"data": [TOOL]},
    "/admin/mcp/servers/time/tools/now": TOOL,
    "/admin/mcp/tools": {"data": [TOOL], "absent": {"git": "it ended"}},
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


@covers("71", "cli")
def test_servers_are_listed_with_their_state(run: Run, url: str) -> None:
    done = run("mcp", "list", "--url", url, "--key", "k")
    assert done.code == 0
    assert [line.split()[:3] for line in done.out.splitlines()] == [
        ["NAME", "TRANSPORT", "STATE"],
        ["time", "stdio", "up"],
        ["git", "stdio", "down"],
    ]
    assert json.loads(run("mcp", "list", "--json", "--url", url, "--key", "k").out)[0] == SERVER


@covers("71", "cli")
def test_tools_are_listed_and_those_that_are_absent_told(run: Run, url: str) -> None:
    done = run("mcp", "list", "--tools", "--url", url, "--key", "k")
    assert done.out.splitlines()[1].split() == ["mcp_time_now", "time", "now"]
    assert done.err == "absent: git: it ended\n"


@covers("71", "cli")
def test_a_server_and_a_tool_are_shown(run: Run, url: str) -> None:
    shown = json.loads(run("mcp", "show", "time", "--url", url, "--key", "k").out)
    assert (shown["state"], shown["tools"]) == ("up", ["mcp_time_now"])
    assert json.loads(run("mcp", "show", "time", "now", "--url", url, "--key", "k").out) == TOOL


@covers("70", "cli")
def test_a_login_needs_a_server_that_takes_one(run: Run) -> None:
    done = run("mcp", "login", "nope")
    assert done.code == 1
    assert "no MCP server 'nope' with `oauth:`" in done.err


@covers("73")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (demo_mcp.get_weather("Oslo"), demo_mcp.get_weather("Oslo")),
        (demo_mcp.get_stock_price("abc")["symbol"], "ABC"),
        (demo_mcp.analyze_text("I love it. It is great!")["mood"], "positive"),
        (demo_mcp.analyze_text("")["sentences"], 0),
        (demo_mcp.translate("Good morning, world", "German")["text"], "gut Morgen, Welt"),
        (demo_mcp.translate("Hi", "Klingon")["known_language"], False),
        (len(demo_mcp.web_search("x", limit=99)["results"]), 10),
    ],
)
def test_the_demo_answers_the_same_each_time_and_says_that_it_is_made_up(answer: object, expected: object) -> None:
    assert answer == expected
    for made_up in (demo_mcp.get_weather("a"), demo_mcp.web_search("a"), demo_mcp.translate("a", "b")):
        assert made_up["demo"] is True
