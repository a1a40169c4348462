"""The end user of a call: named by a header, required where that is set, and bounded by the key it comes with."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.gateway import KEY, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.harness.tenants import ask, caller, code_of, new_key, put, tree
from tests.requirements import covers

pytestmark = covers("121")
STRICT = {"auth": {"require_user": True}}


async def test_strict_mode_refuses_a_call_without_a_user_and_tells_the_header(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub, **STRICT), tmp_path) as gateway, caller(gateway) as blue:
        refused = await ask(blue)
        assert code_of(refused) == (400, "user_required", "x-user-id")
        assert "X-User-Id" in refused.json()["error"]["message"]
        assert code_of(await ask(blue, user="ann")) == (400, "user_required", "x-user-id")
        async with caller(gateway, **{"x-user-id": ""}) as nobody, caller(gateway, **{"x-user-id": "ann"}) as ann:
            assert code_of(await ask(nobody))[1] == "user_required"
            assert (await ask(ann)).status_code == 200
        async with caller(gateway, KEY) as master:
            assert code_of(await ask(master))[1] == "user_required"
        assert (await blue.get("/v1/models")).status_code == 200
    assert len(stub.calls) == 1


async def test_strict_mode_refuses_before_the_body_was_sent(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub, **STRICT), tmp_path) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100000"
        writer.write(head.encode() + b"\r\n\r\n{")
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND)
        writer.close()
        assert told.startswith(b"HTTP/1.1 400")
        assert b"x-headgate-error: user_required" in told


async def test_a_tenant_of_the_file_may_be_stricter_or_freer_than_the_rest(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"settings": {"require_user": False}}, **STRICT)
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        assert (await ask(blue)).status_code == 200
        assert code_of(await gateway.chat())[1] == "user_required"


async def test_without_keys_the_settings_of_the_default_tenant_hold(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, auth={"required": False})
    async with running_gateway(made, tmp_path) as gateway:
        assert (await put(gateway, "default", require_user=True)).status_code == 200
        del gateway.http.headers["authorization"]
        assert code_of(await gateway.chat())[1] == "user_required"
        gateway.http.headers["x-user-id"] = "ann"
        assert (await gateway.chat()).status_code == 200


async def test_a_key_of_a_user_speaks_for_that_user_and_for_no_other(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub, **STRICT), tmp_path) as gateway:
        key = await new_key(gateway, tenant="blue", user="ann")
        async with caller(gateway, key) as unnamed, caller(gateway, key, **{"x-user-id": "ann"}) as ann:
            assert (await ask(unnamed)).status_code == (await ask(ann)).status_code == 200
        async with caller(gateway, key, **{"x-user-id": "ben"}) as ben:
            assert code_of(await ask(ben)) == (403, "user_forbidden", "x-user-id")
    assert len(stub.calls) == 2


@pytest.mark.parametrize("field", ["user", "safety_identifier"])
async def test_a_user_in_the_body_is_passed_on_and_counts_for_nothing(stub: Stub, tmp_path: Path, field: str) -> None:
    made = tree(stub, limits={"users": {"requests_per_minute": 1}})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        for _ in range(3):
            assert (await ask(blue, **{field: "ann"})).status_code == 200
        assert stub.calls[-1].json[field] == "ann"
        blue.headers["x-user-id"] = "ann"
        assert (await ask(blue, **{field: "ben"})).status_code == 200
        assert (await ask(blue, **{field: "ben"})).status_code == 429
