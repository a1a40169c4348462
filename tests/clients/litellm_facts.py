"""What was seen of a call as flat facts, and which facts of two gateways are not the same."""

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.clients.litellm_provider import WORDS
from tests.harness.stub import Stub

MISSING = "(none)"
PATTERNS = ("any/", "sdk-names/")
DESCRIBED = ("plain", "other-name", "embed", "tagged", "priced")
"""Models whose entries in listings are compared; of the others only that they are there."""
Facts = dict[str, Any]
"""What was seen of one call: dotted paths with plain values."""


@dataclass(frozen=True)
class Difference:
    """Facts that may differ, by patterns of calls and of paths, several by blanks.

    `theirs` and `ours` pin the two values where they matter. With the path `**` they are the two statuses, and as they
    differ, nothing else of the call is compared.
    """

    calls: str
    path: str
    reason: str
    theirs: Any = ...
    ours: Any = ...

    def names(self, call: str) -> bool:
        """Whether it is about a call."""
        return any(fnmatch.fnmatchcase(call, one) for one in self.calls.split())

    def allows(self, path: str, theirs: Any, ours: Any) -> bool:
        """Whether it is about a fact and its two values."""
        about = any(fnmatch.fnmatchcase(path, one) for one in self.path.split())
        return about and self.theirs in (..., theirs) and self.ours in (..., ours)


def unlisted(call: str, theirs: Facts, ours: Facts, table: Iterable[Difference]) -> list[str]:
    """The facts that differ and that no row of the table allows to."""
    rows = [row for row in table if row.names(call)]
    statuses = theirs.get("status", MISSING), ours.get("status", MISSING)
    if any(row.path == "**" and (row.theirs, row.ours) == statuses for row in rows):
        return []
    return [
        f"{path}: LiteLLM {one!r}, Headgate {other!r}"
        for path, one, other in differences(theirs, ours)
        if not any(row.allows(path, one, other) for row in rows)
    ]


def differences(theirs: Facts, ours: Facts) -> Iterator[tuple[str, Any, Any]]:
    """Paths whose facts are not the same."""
    for path in sorted({*theirs, *ours}):
        one, other = theirs.get(path, MISSING), ours.get(path, MISSING)
        if one != other:
            yield path, one, other


def flat(value: Any, path: str = "") -> Facts:
    """Nested JSON as dotted paths; empty containers are facts too."""
    held: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        held = value.items()
    elif isinstance(value, list):
        held = enumerate(value)
    if not isinstance(value, dict | list) or not value:
        return {path: value}
    facts: Facts = {}
    for key, inner in held:
        facts |= flat(inner, f"{path}.{key}" if path else str(key))
    return facts


def seen(response: httpx.Response) -> Facts:
    """Status, body or chunks, and the headers that mean something."""
    facts: Facts = {"status": response.status_code, "type": response.headers.get("content-type", "").split(";")[0]}
    if facts["type"] == "text/event-stream":
        told = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        facts |= {"done": told[-1:] == ["[DONE]"]}
        facts |= flat({"chunks": [json.loads(one) for one in told if one != "[DONE]"]})
    else:
        facts |= flat(by_name({"body": _json(response.content)}))
    kept = ("retry-after", "x-litellm", "llm_provider")
    return alike(
        facts | {f"headers.{name}": value for name, value in response.headers.items() if name.startswith(kept)}
    )


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


def by_name(told: dict[str, Any]) -> dict[str, Any]:
    """Listings by the names of their entries, what is unknown left out. Which ids a pattern covers is not compared."""
    body = next(iter(told.values()))
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or not data or not isinstance(data[0], dict) or "embedding" in data[0]:
        return told
    entries: dict[str, dict[str, Any]] = {}
    for entry in data:
        name = str(entry.get("model_name") or entry.get("model_group") or entry.get("id"))
        if not name.startswith(PATTERNS):
            known = entries.setdefault(name, {"entries": 0})
            known["entries"] += 1
            if name in DESCRIBED:
                known |= {key: _without_nulls(value) for key, value in entry.items() if value is not None}
    return {next(iter(told)): {**body, "data": entries}}


def _without_nulls(value: Any) -> Any:
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


def alike(facts: Facts) -> Facts:
    """What no two answers share made the same; of texts for people only whether they hold the provider's words."""
    return {path: _alike(path, value) for path, value in facts.items()}


def _alike(path: str, value: Any) -> Any:
    if path.endswith(("call-id", "-ms", "created", "-version", "litellm_version", "request_id")):
        return "…"
    if not isinstance(value, str):
        return value
    if path.endswith("message"):
        return WORDS in value
    value = re.sub(r"chatcmpl-(?!1$)[\w-]+", "chatcmpl-…", value)
    value = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "…", value)
    return re.sub(r"127\.0\.0\.1:\d{2,5}", "127.0.0.1:PORT", value)


def sent(stub: Stub) -> Facts:
    """What reached the provider."""
    facts: Facts = {"calls": len(stub.calls)}
    for number, request in enumerate(stub.calls):
        kept = {name: request.headers[name] for name in ("authorization", "x-team") if name in request.headers}
        facts |= flat({"path": request.path, "body": request.json, "headers": kept}, f"sent.{number}")
    return facts
