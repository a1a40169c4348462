"""Every route there is, as the application lists them, with each kind of key that does not open it.

Nothing here names a route but as a part of its path, so that a new one is tried as soon as it exists.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.api.application import Application
from headgate.api.route import Route
from headgate.core.surfaces import SURFACES
from headgate.identity import keys as keys_file
from headgate.usage.ledger import Ledger
from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.journeys.test_money import new_key
from tests.requirements import covers

pytestmark = covers("routes", "109", "116")
MARK, RED = "only-red-knows", "tenant-red-7"
CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}


@dataclass
class House:
    """A gateway with two tenants. `shut` are keys that open nothing, with the code that says why."""

    gateway: Gateway
    application: Application
    shut: dict[str, tuple[str, str]]
    narrow: str
    foreign: str
    red: list[str]
    """Ids of what belongs to the other tenant: its key, itself, its run."""

    @property
    def guarded(self) -> list[tuple[Route, str]]:
        """Routes that need a key, with each of their methods."""
        return [(one, how) for one in self.application.controls if not one.public for how in methods_of(one)]


def methods_of(route: Route) -> tuple[str, ...]:
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods


def filled(path: str, value: str) -> str:
    return re.sub(r"{\w+(:path)?}", value, path)


async def made(gateway: Gateway, path: str, **fields: Any) -> dict[str, Any]:
    answer = await gateway.http.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest_asyncio.fixture
async def house(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(Ledger.__init__, "__defaults__", (0.05, None))
    monkeypatch.setattr(keys_file, "time", lambda: time() + 3600)
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        for tenant in ("blue", RED):
            await made(gateway, "/admin/tenants", id=tenant, name=MARK if tenant == RED else "")
        red = await made(gateway, "/admin/keys", tenant=RED, alias=MARK, user=MARK, tags=[MARK])
        revoked, blocked, expired, narrow, foreign = [
            await made(gateway, "/admin/keys", tenant="blue", scopes=scopes, expires_in=expires)
            for scopes, expires in ((["*:*:*"], None),) * 2
            + ((["*:*:*"], "30m"), (["other:read", "keys:none"], None), (["*:*"], None))
        ]
        await gateway.http.post(f"/admin/keys/{revoked['id']}/revoke")
        await gateway.http.post(f"/admin/keys/{blocked['id']}/block")
        run = await gateway.http.post("/v1/chat/completions", json=CHAT, headers=bearer(red["key"]))
        async with asyncio.timeout(BOUND):
            while not (await gateway.http.get("/spend/logs")).json():
                await asyncio.sleep(0.05)
        shut = {
            "none": ("", "missing_authorization"),
            "unknown": ("sk-hg-unknown", "invalid_authorization"),
            "revoked": (revoked["key"], "invalid_authorization"),
            "blocked": (blocked["key"], "key_blocked"),
            "expired": (expired["key"], "key_expired"),
        }
        ids = [red["id"], RED, run.headers["x-request-id"]]
        yield House(gateway, Application(gateway.gate), shut, narrow["key"], foreign["key"], ids)


async def head_alone(gateway: Gateway, method: str, path: str, key: str) -> tuple[int, str]:
    """(status, code) of a request that announces a body and never sends a byte of it."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", "content-type: application/json", "content-length: 100000"]
    if key:
        lines.append(f"authorization: Bearer {key}")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write("\r\n".join((*lines, "", "")).encode())
    try:
        async with asyncio.timeout(BOUND):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.close()
    code = re.search("x-headgate-error: (.*)\r", answer)
    return int(answer.split()[1]), code[1] if code else ""


async def test_no_route_opens_for_a_key_that_opens_nothing_and_none_waits_for_the_body(house: House) -> None:
    tried = [(how, filled(one.path, house.red[0])) for one, how in house.guarded]
    tried += [("POST", path) for path in house.application.model_paths]
    assert len(tried) > 50
    for kind, (key, code) in house.shut.items():
        answers = [(how, path, await head_alone(house.gateway, how, path, key)) for how, path in tried]
        assert [one for one in answers if one[2] != (401, code)] == [], kind


async def test_a_key_without_the_scope_is_told_which_before_the_body_is_read(house: House) -> None:
    for route, how in house.guarded:
        if route.needs:
            path = filled(route.path, house.red[0])
            assert await head_alone(house.gateway, how, path, house.narrow) == (403, "forbidden"), (how, path)
            answer = await house.gateway.http.request(how, path, headers=bearer(house.narrow))
            assert how == "HEAD" or f"'{route.needs}'" in answer.text


async def test_public_routes_answer_anybody_without_a_body(house: House) -> None:
    for route in house.application.controls:
        for how in methods_of(route) if route.public else ():
            status, _ = await head_alone(house.gateway, how, route.path, "")
            assert status == 200, (how, route.path)


async def test_methods_that_a_route_has_not_are_405_for_everybody(house: House) -> None:
    methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"}
    paths = {filled(one.path, "x") for one in house.application.controls} | set(house.application.model_paths)
    for path in sorted(paths):
        allowed = (await house.gateway.http.request("OPTIONS", path)).headers["allow"].split(", ")
        for how in sorted(methods - set(allowed) - {"GET", "HEAD"}):
            answer = await head_alone(house.gateway, how, path, "")
            assert answer == (405, "method_not_allowed"), (how, path)


async def test_a_head_request_gets_the_refusal_without_a_body(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.gateway.url, timeout=BOUND) as anybody:
        for route, how in house.guarded:
            if how == "HEAD":
                answer = await anybody.head(filled(route.path, "x"))
                assert (answer.status_code, answer.content) == (401, b"")


async def belongings(house: House) -> str:
    """All that operators see of the other tenant."""
    get = house.gateway.http.get
    paths = (f"/admin/keys/{house.red[0]}", f"/admin/tenants/{RED}", f"/admin/keys?tenant={RED}")
    return "".join([(await get(path)).text for path in paths])


async def test_nothing_of_another_tenant_is_found_shown_or_changed(house: House) -> None:
    before = await belongings(house)
    assert MARK in before
    pretended = {"key": house.red[0], "keys": [house.red[0]], "tenant": RED, "team_id": RED, "key_alias": MARK}
    asked = {"tenant": RED, "key": house.red[0], "api_key": house.red[0], "run": house.red[2], "user": MARK}
    asked |= {"request_id": house.red[2], "user_id": MARK, "team_id": RED, "alias": MARK}
    plain, mighty = [await new_key(house.gateway, tenant="blue", scopes=one) for one in ([], ["*:*"])]
    async with plain, mighty:
        for route, how in house.guarded:
            for blue in (plain, mighty):
                for one in house.red:
                    path = filled(route.path, one)
                    answer = await blue.request(how, path, json={} if how != "GET" else None)
                    # the audit log tells blue of its own attempts, with the ids that it tried
                    shown = path == route.path != "/admin/audit" and how == "GET" and one in answer.text
                    leaked = MARK in answer.text or shown
                    assert not leaked, (how, path)
                    if path != route.path:
                        refused = {403} if route.needs and blue is plain else {404, 400}
                        assert answer.status_code in refused, (how, path, answer.text)
                told = await blue.request(how, filled(route.path, "x"), params=asked, json=pretended)
                assert MARK not in told.text or told.status_code >= 400, (how, route.path)
                assert told.status_code < 500
    assert await belongings(house) == before


@pytest.mark.parametrize("surface", SURFACES, ids=lambda one: one.path)
async def test_no_surface_calls_a_model_that_the_key_may_not_use(stub: Stub, tmp_path: Path, surface: Any) -> None:
    fields = {**CHAT, "input": "x", "prompt": "x", "query": "x", "documents": ["x"]}
    sent: dict[str, Any] = {"data": {"model": "small"}, "files": {"file": b"x"}} if surface.form else {"json": fields}
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        caller = await new_key(gateway, models={"deny": ["small"]})
        async with caller:
            for prefix in ("", "/v1"):
                answer = await caller.post(prefix + surface.path, **sent)
                told = (answer.status_code, answer.headers["x-headgate-error"])
                assert told == (403, "model_forbidden"), answer.text
    assert not stub.calls
