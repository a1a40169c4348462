"""Whatever the body, the answer is a 4xx envelope or a relayed call; what cannot be read never reaches the provider.

Seeded mutation against the running gateway; `--long` does twenty times as much. For coverage-guided fuzzing of the
readers alone see tests/soak/test_guided.py.
"""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from tests.conftest import Amount, settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Recorded, Stub, usual
from tests.requirements import covers

pytestmark = covers("fuzz", "20")

MEGABYTES = 1 << 20
MESSAGES = [{"role": "user", "content": 'Hi \u00e9 \\ " \U0001f600'}]
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "small",
        "messages": MESSAGES,
        "stream": False,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 5,
        "n": 1,
        "stop": ["a"],
        "seed": 1,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "response_format": {"type": "text"},
        "metadata": {"a": "b"},
        "logit_bias": {"1": 2},
        "user": "u",
    },
    "/v1/completions": {"model": "small", "prompt": "Hi", "max_tokens": 1, "stream": False},
    "/v1/embeddings": {"model": "small", "input": ["a"], "dimensions": 3, "encoding_format": "float"},
    "/v1/moderations": {"model": "small", "input": "a"},
    "/v1/rerank": {"model": "small", "query": "q", "documents": ["a"], "top_n": 1},
    "/v1/audio/speech": {"model": "small", "input": "a", "voice": "x"},
    "/v1/images/generations": {"model": "small", "prompt": "a", "n": 1},
}
PATHS = list(VALID)
CODES = {"invalid_json", "json_too_deep", "duplicate_field", "missing_field", "invalid_field", "model_not_found"}
CODES |= {"image_url_not_supported", "body_too_large", "json_too_complex"}
WITH_PARAM = {"duplicate_field", "missing_field", "invalid_field", "model_not_found"}
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    10**30,
    1e308,
    "",
    "x",
    "\x00",
    "\ud83d\ude00",
    [],
    [[]],
    {},
]
ODD += [{"a": []}, ["x", 1, None], [{}], "true", {"include_usage": 1}, [{"role": "user"}], "model", '"', "a" * 5000]
UNREADABLE = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"{}{}", b"\x00" * 100]
UNREADABLE += [
    b'{"model":NaN}',
    b'{"model":"\xff"}',
    b'{"model":"\xed\xa0\x80"}',
    b'{"model":"\\ud800"}',
    b'{"a":1e999}',
]
UNREADABLE += [b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"model" "small"}']
UNREADABLE += [
    b'{"model":"small","model":"small"}',
    b"{'model':'small'}",
    b'{"model":"small",}',
    b'{"a":tru}',
    b"--x\r\n",
]


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    """A gateway with a small limit of bodies, in front of a stub that reads no body."""
    stub.otherwise = answer_of
    async with running_gateway(settings_for(stub, server={"limits": {"body": 8 * MEGABYTES}})) as running:
        yield running


def answer_of(request: Recorded) -> Answer:
    """As usual, but by the path alone: whatever came must be JSON, for the gateway has let it through."""
    parsed = orjson.loads(request.body)
    assert parsed["model"] == "stub-small"
    return usual(request) if parsed.get("stream") is True else Answer(body=b'{"model":"stub-small"}')


async def send(http: httpx.AsyncClient, path: str, body: bytes) -> httpx.Response:
    """Send a body and hold the answer against the promise."""
    response = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 400, 404, 413), (response.status_code, path, body[:300])
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["code"] in CODES, (error, path, body[:300])
        assert error["code"] not in WITH_PARAM or error["param"], (error, body[:300])
    return response


def mutated(body: bytes, dice: random.Random) -> bytes:
    """A body with a few faults of any kind."""
    for _ in range(dice.randint(1, 3)):
        at, to = sorted((dice.randrange(len(body) + 1), dice.randrange(len(body) + 1)))
        kind = dice.randrange(6)
        if kind == 0:
            body = body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :]
        elif kind == 1:
            body = body[:at] + body[to:]
        elif kind == 2:
            body = body[:at] + body[at:to] * 2 + body[to:]
        elif kind == 3:
            body = (
                body[:at]
                + dice.choice([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\\u00", b"null", b"1e9"])
                + body[at:]
            )
        elif kind == 4:
            body = body[:at] + dice.randbytes(dice.randrange(8)) + body[at:]
        else:
            body = body[:at]
    return body


def of_wrong_types(path: str, dice: random.Random) -> bytes:
    """A body whose fields, known and unknown, at the top or deeper, have any value."""
    fields = {**VALID[path]}
    for _ in range(dice.randint(1, 3)):
        fields[dice.choice([*VALID["/v1/chat/completions"], *fields, "x"])] = dice.choice(ODD)
    if dice.random() < 0.3:
        fields["messages"] = [{"role": dice.choice(ODD), "content": dice.choice(ODD)}, dice.choice(ODD)]
    return json.dumps(fields, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")


def one_body(path: str, dice: random.Random) -> bytes:
    kind = dice.random()
    if kind < 0.4:
        return mutated(json.dumps(VALID[path]).encode(), dice)
    if kind < 0.8:
        return of_wrong_types(path, dice)
    if kind < 0.9:
        return mutated(of_wrong_types(path, dice), dice)
    return dice.choice(UNREADABLE) if kind < 0.95 else dice.randbytes(dice.randrange(2000))


async def fuzz(
    http: httpx.AsyncClient, rounds: int, seed: int = 1, note: Callable[[int], None] = lambda _: None
) -> int:
    """Send so many bodies, the same for the same seed; returns how many were relayed. `note` is told the round."""
    dice = random.Random(seed)
    relayed = 0
    for number in range(rounds):
        note(number)
        path = dice.choice(PATHS)
        relayed += (await send(http, path, one_body(path, dice))).status_code == 200
    return relayed


def resident() -> int:
    """Memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(600)
async def test_any_body_is_answered_truly_and_memory_does_not_grow(
    gateway: Gateway, stub: Stub, amount: Amount
) -> None:
    rounds = amount(1_500, 30_000)
    sizes: dict[int, int] = {}

    def note(number: int) -> None:
        stub.requests.clear()
        gateway.lines.clear()
        if number in (rounds // 3, rounds - 1):
            sizes[number] = resident()

    relayed = await fuzz(gateway.http, rounds, note=note)
    growth = (sizes[rounds - 1] - sizes[rounds // 3]) / MEGABYTES
    print(f"\n{rounds} bodies, {relayed} of them relayed, memory {growth:+.1f} MB over the last two thirds")  # noqa: T201
    assert 0 < relayed < rounds
    assert growth < 16


async def test_any_form_is_answered_truly(gateway: Gateway, stub: Stub, amount: Amount) -> None:
    stub.otherwise = lambda request: Answer()
    dice = random.Random(2)
    head = b'--b0\r\nContent-Disposition: form-data; name="'
    form = head + b'model"\r\n\r\nsmall\r\n' + head + b'file"; filename="a"\r\n\r\n\x00\xff\r\n--b0--\r\n'
    seen = set()
    for _ in range(amount(500, 10_000)):
        response = await gateway.http.post(
            "/v1/audio/transcriptions",
            content=mutated(form, dice),
            headers={"content-type": dice.choice(["multipart/form-data; boundary=b0"] * 9 + ["multipart/form-data"])},
        )
        seen.add(response.status_code)
        assert response.status_code in (200, 400, 404), response.text
        assert response.status_code == 200 or response.json()["error"]["request_id"]
    assert {200, 400} <= seen


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_cut_at_any_byte_never_reaches_the_provider(gateway: Gateway, stub: Stub, path: str) -> None:
    body = json.dumps(VALID[path]).encode()
    for cut in range(len(body)):
        assert (await send(gateway.http, path, body[:cut])).status_code == 400
    assert not stub.calls
    assert (await send(gateway.http, path, body)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_what_cannot_be_read_never_reaches_the_provider(gateway: Gateway, stub: Stub, path: str) -> None:
    for body in UNREADABLE:
        assert (await send(gateway.http, path, body)).status_code == 400, body[:100]
    assert not stub.calls


@pytest.mark.parametrize("path", PATHS)
async def test_every_known_field_with_every_odd_value_is_refused_by_name_or_relayed(
    gateway: Gateway, path: str
) -> None:
    for name in {**VALID["/v1/chat/completions"], **VALID[path]}:
        for value in ODD:
            body = json.dumps({**VALID[path], name: value}).encode()
            response = await send(gateway.http, path, body)
            if response.status_code == 400:
                assert response.json()["error"]["param"].partition(".")[0].partition("[")[0] == name, (name, value)


async def test_a_body_of_50_megabytes_is_413_and_the_next_call_is_served(gateway: Gateway, stub: Stub) -> None:
    large = b'{"model":"small","messages":[{"role":"user","content":"' + b"x" * (50 * MEGABYTES) + b'"}]}'
    assert (await send(gateway.http, PATHS[0], large)).status_code == 413
    assert not stub.calls

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(large), MEGABYTES):
            yield large[at : at + MEGABYTES]

    response = await gateway.http.post(PATHS[0], content=pieces())
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert (await gateway.chat()).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":"' + b"\\n" * (3 * MEGABYTES) + b'{","model":"small","messages":[{"role":"user"}]}',
        b'{"model":"small","messages":[{"role":"user"}],'
        + b",".join(b'"k%d":%d' % (number, number) for number in range(100_000))
        + b"}",
        b'{"messages":[{"role":"user"}],"x":' + b"[{}," * 1 + b"{}," * 400_000 + b'{}],"model":"small"}',
        b'{"messages":[' + b'{"role":"user"},' * 100_000 + b'{"role":"user"}],"model":"small"}',
    ],
    ids=["escapes", "keys", "brackets", "messages"],
)
async def test_a_large_body_of_any_kind_does_not_stop_the_others(gateway: Gateway, stub: Stub, body: bytes) -> None:
    longest = 0.0
    sending = asyncio.get_running_loop().create_task(send(gateway.http, PATHS[0], body))
    clock = asyncio.get_running_loop().time
    while not sending.done():
        before = clock()
        await asyncio.sleep(0.005)
        longest = max(longest, clock() - before)
    assert (await sending).status_code == 200
    assert stub.last.json["model"] == "stub-small"
    assert longest < 3, "one caller held up all others"
