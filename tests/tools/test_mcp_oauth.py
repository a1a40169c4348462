"""Servers that ask for a login: the gateway uses and renews what a login left, and never begins one itself."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from headgate.core.tool_errors import McpUnavailable
from headgate.tools.mcp_client import McpServer
from headgate.tools.mcp_types import McpServerSettings
from tests.harness.stub import Answer, Recorded, Stub
from tests.requirements import covers
from tests.tools.test_mcp_http import good

pytestmark = covers("61", "70")
CLIENT = {"client_id": "us", "client_secret": "s-1"}


def guarded(request: Recorded) -> Answer:
    """A server that lets in who has the token `good`, with an authorization server of its own."""
    base = f"http://{request.headers['host']}"
    if request.path.startswith("/.well-known/oauth-protected-resource"):
        found: dict[str, Any] = {"resource": f"{base}/v1", "authorization_servers": [base]}
        return Answer(body=json.dumps(found).encode())
    if request.path.startswith("/.well-known/"):
        found = {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }
        return Answer(body=json.dumps(found).encode())
    if request.path == "/token":
        assert b"grant_type=refresh_token" in request.body
        return Answer(body=b'{"access_token":"good","token_type":"Bearer","expires_in":3600,"refresh_token":"r2"}')
    if request.headers.get("authorization") != "Bearer good":
        return Answer(status=401, headers={"www-authenticate": "Bearer"})
    return good(request)


def server(stub: Stub, folder: Path | None) -> McpServer:
    settings = {"url": stub.url, "protocol": "legacy", "oauth": CLIENT, "connect_seconds": 5.0}
    return McpServer("guarded", McpServerSettings.model_validate(settings), (), folder)


def left_by_a_login(folder: Path, **found: Any) -> Path:
    file = folder / "mcp" / "guarded.json"
    file.parent.mkdir()
    tokens = {"access_token": "good", "token_type": "Bearer", "refresh_token": "r1", **found.pop("tokens", {})}
    file.write_text(json.dumps({"tokens": tokens, **found}))
    return file


async def test_without_a_login_the_operator_is_told_the_command(stub: Stub) -> None:
    stub.otherwise = guarded
    mine = server(stub, None)
    try:
        with pytest.raises(McpUnavailable, match="run `headgate mcp login guarded`"):
            await mine.tools()
    finally:
        await mine.close()


async def test_a_login_is_used_from_then_on(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = guarded
    left_by_a_login(tmp_path, until=time.time() + 1000)
    mine = server(stub, tmp_path)
    try:
        assert len(await mine.tools()) == 1
    finally:
        await mine.close()
    assert all(one.path != "/token" for one in stub.requests)


async def test_a_login_that_ended_is_renewed_and_kept_for_its_owner_alone(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = guarded
    file = left_by_a_login(tmp_path, tokens={"access_token": "old"}, until=time.time() - 1)
    mine = server(stub, tmp_path)
    try:
        assert len(await mine.tools()) == 1
    finally:
        await mine.close()
    kept = json.loads(file.read_text())
    assert (kept["tokens"]["access_token"], kept["tokens"]["refresh_token"]) == ("good", "r2")
    assert kept["until"] > time.time() + 3000
    assert file.stat().st_mode & 0o777 == 0o600
