"""Keys in every header form, and what is told without one."""

import pytest

from headgate.api.auth import key_of
from tests.conftest import settings_for
from tests.harness.gateway import KEY, TOKEN, Gateway, raw_exchange, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("109")

BODY = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
FORMS = [
    ("Authorization", "Bearer {}"),
    ("authorization", "bearer {}"),
    ("AUTHORIZATION", "BEARER   {}"),
    ("x-api-key", "{}"),
    ("X-API-Key", "{}"),
    ("api-key", "{}"),
    ("x-goog-api-key", "{}"),
]
WRONG = [
    {"authorization": "Bearer sk-wrong"},
    {"authorization": f"Bearer {KEY}x"},
    {"authorization": f"Bearer {KEY[:-1]}"},
    {"x-api-key": "wrong"},
    {"api-key": KEY.upper()},
    {"authorization": "Bearer wrong", "x-api-key": KEY},
]
MISSING = [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"x-api-key": ""}]
MISSING += [{"authorization": f"Basic {KEY}"}, {"authorization": KEY}, {"cookie": f"key={KEY}"}]


@pytest.mark.parametrize(("header", "form"), FORMS)
@pytest.mark.parametrize("key", [KEY, TOKEN])
async def test_a_key_is_accepted_as(gateway: Gateway, header: str, form: str, key: str) -> None:
    del gateway.http.headers["authorization"]
    headers = {header: form.format(key)}
    assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 200
    assert (await gateway.http.post("/v1/chat/completions", json=BODY, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("cases", "code"), [(MISSING, "missing_authorization"), (WRONG, "invalid_authorization")], ids=["missing", "wrong"]
)
async def test_without_a_good_key_the_answer_is_401(
    gateway: Gateway, stub: Stub, cases: list[dict[str, str]], code: str
) -> None:
    del gateway.http.headers["authorization"]
    for headers in cases:
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics")):
            response = await gateway.http.request(method, path, headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (401, code), (headers, path)
            assert response.json()["error"]["type"] == "authentication_error"
            assert response.headers["www-authenticate"] == "Bearer"
    assert not stub.calls


@covers("redaction")
async def test_a_wrong_key_is_not_repeated(gateway: Gateway) -> None:
    response = await gateway.http.get("/v1/models", headers={"authorization": "Bearer topsecretvalue"})
    (line,) = await gateway.wait_for_lines(1)
    assert "topsecret" not in response.text + str(line) + str(response.headers)


@pytest.mark.parametrize(
    "head",
    [
        "content-length: 1000000\r\n",
        "content-length: 99999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: 10\r\ncontent-encoding: br\r\n",
    ],
)
async def test_the_key_is_looked_at_before_any_byte_of_the_body(gateway: Gateway, head: str) -> None:
    request = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n"
    assert (await raw_exchange(gateway.port, request.encode())).startswith(b"HTTP/1.1 401 ")


async def test_a_key_of_any_bytes_is_only_wrong(gateway: Gateway) -> None:
    for key in (b"\xff\xfe", b"x" * 60_000, "é".encode(), b"\t", b"a b c"):
        head = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: " + key + b"\r\n\r\n"
        assert (await raw_exchange(gateway.port, head)).startswith(b"HTTP/1.1 401 ")


async def test_the_log_names_the_key_by_its_id_only(gateway: Gateway) -> None:
    await gateway.chat()
    await gateway.http.post("/v1/chat/completions", json=BODY, headers={"authorization": f"Bearer {TOKEN}"})
    first, second = await gateway.wait_for_lines(2)
    assert first["key"] != second["key"]
    assert {first["key"][:4], second["key"][:4]} == {"key_"}
    assert KEY not in str(first)
    assert TOKEN not in str(second)


async def test_where_no_key_is_required_none_is_needed_and_a_good_one_still_counts(stub: Stub) -> None:
    async with running_gateway(settings_for(stub, auth={"required": False})) as gateway:
        assert (await gateway.chat()).status_code == 200
        del gateway.http.headers["authorization"]
        assert (await gateway.chat()).status_code == 200
        wrong = await gateway.http.post("/v1/chat/completions", json=BODY, headers={"x-api-key": "wrong"})
        assert wrong.status_code == 200
        lines = await gateway.wait_for_lines(3)
    assert [line["key"] == "anonymous" for line in lines] == [False, True, True]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({b"authorization": b"Bearer a", b"x-api-key": b"b"}, b"a"),
        ({b"authorization": b"Basic a", b"x-api-key": b"b"}, b"b"),
        ({b"api-key": b"a", b"x-goog-api-key": b"b"}, b"a"),
        ({b"x-api-key": b"", b"api-key": b"a"}, b"a"),
        ({}, None),
    ],
)
def test_of_two_headers_the_usual_one_counts(headers: dict[bytes, bytes], key: bytes | None) -> None:
    assert key_of(headers) == key
