"""`headgate usage`: a table for people, JSON and CSV for programs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.conftest import Run
from tests.requirements import covers

pytestmark = covers("113", "134", "cli")
ROW = {
    "name": "small",
    "requests": 3,
    "attempts": 4,
    "failed": 1,
    "prompt": 100,
    "completion": 50,
    "cached": 20,
    "unpriced": 0,
    "estimated": 0,
    "cost_usd": "1.500000000",
    "billed_usd": "3.000000000",
    "billed_eur": None,
}
REPORT: dict[str, Any] = {
    "by": "model",
    "markup": "2",
    "eur_per_usd": None,
    "rows": [ROW],
    "total": {**ROW, "name": ""},
}


class Answering(HTTPServer):
    """Answers with a report, or a line of CSV, and remembers what it was asked."""

    report = REPORT
    path = ""
    asked: dict[str, list[str]]
    key: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.path, self.server.asked = url.path, parse_qs(url.query)
        self.server.key = self.headers["authorization"]
        body = b"id,cost\r\n1,2\r\n" if url.path.endswith("export") else json.dumps(self.server.report).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        pass


@pytest.fixture
def answering() -> Iterator[Answering]:
    with Answering(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def at(server: Answering) -> tuple[str, ...]:
    return ("--url", f"http://127.0.0.1:{server.server_port}", "--key", "sk-operator")


def test_a_table_with_a_total(run: Run, answering: Answering) -> None:
    done = run("usage", *at(answering))
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == [
        *("MODEL", "REQUESTS", "ATTEMPTS", "FAILED", "PROMPT", "CACHED", "COMPLETION", "UNPRICED", "ESTIMATED"),
        *("COST", "USD", "BILLED", "USD"),
    ]
    assert lines[1].split() == ["small", "3", "4", "1", "100", "20", "50", "0", "0", "1.5", "3.0"]
    assert lines[2].split()[0] == "total"
    assert (answering.path, answering.asked, answering.key) == (
        *("/admin/usage", {"by": ["model"]}, "Bearer sk-operator"),
    )


def test_amounts_in_eur_where_a_rate_is_set(run: Run, answering: Answering) -> None:
    row = {**ROW, "billed_eur": "2.700000000"}
    answering.report = {**REPORT, "eur_per_usd": "0.9", "rows": [row], "total": row}
    assert run("usage", *at(answering)).out.splitlines()[1].split()[-1] == "2.7"


def test_what_has_no_price_is_told(run: Run, answering: Answering) -> None:
    answering.report = {**REPORT, "total": {**ROW, "unpriced": 2}}
    assert "known price" in run("usage", *at(answering)).err


def test_every_question_is_passed_on(run: Run, answering: Answering) -> None:
    asked = ("--by", "day", "--from", "2026-01-01", "--to", "2026-01-31", "--of-key", "k", "--user", "a b")
    run("usage", *asked, *at(answering))
    assert answering.asked == {
        "by": ["day"],
        "from": ["2026-01-01"],
        "to": ["2026-01-31"],
        "key": ["k"],
        "user": ["a b"],
    }


def test_json_is_the_report_as_it_is(run: Run, answering: Answering) -> None:
    assert json.loads(run("usage", "--json", *at(answering)).out) == REPORT


def test_csv_is_passed_on_as_it_comes(run: Run, answering: Answering) -> None:
    done = run("usage", "--csv", "--tenant", "a", *at(answering))
    assert done.out.splitlines() == ["id,cost", "1,2"]
    assert answering.path == "/admin/usage/export"
    assert answering.asked == {"format": ["csv"], "tenant": ["a"]}


def test_an_unknown_dimension_is_a_wrong_use(run: Run) -> None:
    done = run("usage", "--by", "colour")
    assert done.code == 2
    assert "colour" in done.err
