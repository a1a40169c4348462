"""Requests and streams of Responses with anything in the place of anything: a clear error, or a valid stream."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from headgate.core.chat import Ended
from headgate.core.errors import HeadgateError
from headgate.dialects.responses_reader import Reader
from headgate.dialects.responses_request import parse
from headgate.dialects.responses_writer import StreamWriter
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import Occasion
from tests.conformance.responses_rules import check_stream
from tests.conftest import Amount
from tests.dialects.test_responses_request import CALL, FIELDS, ITEMS, NAMESPACE, PARTS, result
from tests.harness.responses import call, message, pieces, reasoning, refusal
from tests.requirements import covers

pytestmark = covers("responses")
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    3.5,
    "",
    "x",
    [],
    {},
    [1],
    ["x"],
    [None],
    {"a": 1},
    [[]],
    [{}],
    {"type": "x"},
]
CITED = message("Hi", annotations=[{"type": "url_citation", "url": "https://example.com"}])
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def mutated(value: Any, random: Random) -> Any:
    """The same with one to three members gone or replaced."""
    value = copy.deepcopy(value)
    for _ in range(random.randint(1, 3)):
        *above, last = random.choice([*places(value)] or [("x",)])
        holder = value
        for key in above:
            holder = holder[key]
        if isinstance(holder, dict) and random.random() < 0.2:
            holder.pop(last, None)
        else:
            holder[last] = copy.deepcopy(random.choice(ODD))
    return value


def test_a_request_with_anything_in_it_is_read_or_refused(amount: Amount) -> None:
    random = Random(5)
    parts = [part for part, _ in PARTS.values()]
    said = [item for item, _ in ITEMS.values()] + [{"role": "user", "content": parts}, CALL, result("call_1", parts)]
    base = {"model": "m", **{name: value for told, _ in FIELDS.values() for name, value in told.items()}}
    base |= {"input": said, "tools": [NAMESPACE, {"type": "function", "name": "f", "parameters": {}}]}
    refused: list[str | None] = []
    for _ in range(amount(1500, 50_000)):
        try:
            request = parse(mutated(base, random))
        except HeadgateError as error:
            refused.append(error.param)
            continue
        for dialect in ("chat", "messages", "responses"):
            json.dumps(DIALECTS[dialect].render(request).fields)
    assert refused
    assert all(refused), "an error names the field"


def test_a_stream_with_anything_in_it_stays_valid_for_the_caller(amount: Amount) -> None:
    random = Random(7)
    output = (reasoning("a", "b", sealed="x"), CITED, call(), refusal("no"), SEARCH)
    told = [json.loads(piece.partition(b"data: ")[2]) for piece in pieces(*output)]
    for _ in range(amount(600, 30_000)):
        events = [mutated(event, random) if random.random() < 0.2 else event for event in told]
        if random.random() < 0.3:
            random.shuffle(events)
        check_stream(_through(events), usage=False)


def _through(events: list[Any]) -> bytes:
    reader, writer = Reader(True), StreamWriter(Occasion("req_1", "m", 1, {}, usage=False, extensions=False))
    sent = b""
    try:
        for event in events:
            for said in reader.feed(b"data: %b\n\n" % json.dumps(event).encode()):
                sent += writer.feed(said)
        for said in reader.finish():
            sent += writer.feed(said)
    except HeadgateError:
        return sent + writer.broken(502, {"code": "upstream_fault", "message": "It failed."})
    return sent + writer.feed(Ended(reader.answer.finish, "", None, reader.answer.beside))
