"""What a provider says no with: its status is told truly, its own words are kept, its secrets are not."""

import json
from typing import Any

import pytest

from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub
from tests.requirements import covers

pytestmark = covers("18", "faults")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
OWN = {"message": "max_tokens is too large", "type": "own_type", "param": "max_tokens", "code": "own_code"}


def refused(status: int, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, body=json.dumps({"error": OWN} if body is None else body).encode(), headers=named)


@both_ways
@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 415, 422])
async def test_a_refusal_keeps_status_and_the_providers_own_error(
    gateway: Gateway, stub: Stub, status: int, streamed: bool
) -> None:
    stub.answer(refused(status))
    response = await gateway.chat(stream=streamed)
    error = response.json()["error"]
    assert response.status_code == status
    assert {key: error[key] for key in OWN} == OWN
    assert response.headers["x-headgate-error"] == ("upstream_not_found" if status == 404 else "upstream_rejected")
    assert (await gateway.chat(stream=streamed)).status_code == 200
    assert len(stub.calls) == 2


@both_ways
@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (401, 502, "upstream_key_refused"),
        (403, 502, "upstream_forbidden"),
        (408, 504, "upstream_timeout"),
        (418, 400, "upstream_rejected"),
        (429, 429, "upstream_rate_limited"),
        (500, 502, "upstream_fault"),
        (501, 502, "upstream_fault"),
        (502, 503, "upstream_unavailable"),
        (503, 503, "upstream_unavailable"),
        (504, 504, "upstream_timeout"),
        (529, 503, "upstream_unavailable"),
    ],
)
async def test_a_failure_has_a_status_of_its_kind(
    gateway: Gateway, stub: Stub, status: int, told: int, code: str, streamed: bool
) -> None:
    stub.answer(refused(status, {"error": {"message": "no luck"}}))
    response = await gateway.chat(stream=streamed)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["message"]) == (told, code, "no luck")
    assert "www-authenticate" not in response.headers
    assert (await gateway.chat(stream=streamed)).status_code == 200
    lines = await gateway.wait_for_lines(2)
    assert [(line["status"], line["error"]) for line in lines] == [(told, code), (200, None)]


async def test_a_failures_own_type_and_code_do_not_pass_for_ours(gateway: Gateway, stub: Stub) -> None:
    stub.answer(refused(401))
    error = (await gateway.chat()).json()["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_key_refused")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "7"}, "7"),
        ({"retry_after_ms": "1500"}, "2"),
        ({"retry_after_ms": "250", "retry_after": "9"}, "1"),
        ({"retry_after": "0"}, "0"),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "Wed, 21 Oct 2065 07:28:00 GMT"}, None),
        ({"x_ratelimit_remaining_requests": "0"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_told_in_seconds(
    gateway: Gateway, stub: Stub, status: int, headers: dict[str, str], expected: str | None
) -> None:
    stub.answer(refused(status, **headers))
    response = await gateway.chat()
    assert (response.status_code, response.headers.get("retry-after")) == (status, expected)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "out of coffee"}', "out of coffee"),
        (b'{"detail": "out of coffee"}', "out of coffee"),
        (b'{"message": "out of coffee"}', "out of coffee"),
        (b'{"object": "error", "message": "out of coffee", "code": 400}', "out of coffee"),
        (b'{"type": "error", "error": {"type": "x", "message": "out of coffee"}}', "out of coffee"),
        (b'[{"error": {"code": 400, "message": "out of coffee", "status": "INVALID"}}]', "out of coffee"),
        (b'{"error": {"detail": "out of coffee"}}', "out of coffee"),
        (b"<html><h1>Out of</h1>\n<p>coffee</p></html>", "Out of coffee"),
        (b'{"detail": [{"loc": ["body"], "msg": "out of coffee"}]}', "out of coffee"),
        (b"out of coffee", "out of coffee"),
        (b'{"error": null}', "status 400"),
        (b'{"error": {"message": null, "code": null}}', "status 400"),
        (b"\xff\xfe out of coffee", "out of coffee"),
        (b"[]", "status 400"),
        (b"", "status 400"),
    ],
)
@both_ways
async def test_the_message_is_found_in_any_envelope(
    gateway: Gateway, stub: Stub, body: bytes, message: str, streamed: bool
) -> None:
    stub.answer(Answer(status=400, body=body, content_type="text/html" if body[:1] == b"<" else "application/json"))
    response = await gateway.chat(stream=streamed)
    error = response.json()["error"]
    assert response.status_code == 400
    assert message in error["message"]
    assert all(error[key] is None or isinstance(error[key], str) for key in ("type", "param", "code"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"Incorrect API key provided: sk-upstream-secret-1."}}',
        b'{"error":"bad key sk-upstream-secret-1"}',
        b'{"detail":"Bearer sk-upstream-secret-1 is not known"}',
        b"<p>key sk-upstream-secret-1</p>",
        b'{"error":{"message":"no","type":"sk-upstream-secret-1","code":"sk-upstream-secret-1"}}',
        b'{"error":{"message":"no","param":"sk-upstream-secret-1"}}',
    ],
)
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_the_providers_secrets_are_taken_out(gateway: Gateway, stub: Stub, status: int, body: bytes) -> None:
    stub.answer(Answer(status=status, body=body))
    response = await gateway.chat()
    assert b"secret" not in response.content
    assert "secret" not in str(response.headers)
    assert "secret" not in str(await gateway.wait_for_lines(1))


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_a_refusal_whose_body_is_huge_or_breaks_off_keeps_its_status(
    gateway: Gateway, stub: Stub, status: int
) -> None:
    expected = 502 if status == 500 else status
    stub.answer(Answer(status=status, body=b" " * (2 << 20)), Answer(status=status, body=b"x" * 99, cut_after=50))
    for _ in range(2):
        assert (await gateway.chat()).status_code == expected
    assert (await gateway.chat()).status_code == 200


async def test_a_refusal_whose_body_stops_is_told_in_time(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = {"read": 0.2}
    async with running_gateway(settings) as gateway:
        stub.answer(Answer(status=429, pieces=[b"{", b"}"], cut_after=1, hang=True, headers={"retry-after": "3"}))
        response = await gateway.chat()
        assert (response.status_code, response.headers["retry-after"]) == (429, "3")
