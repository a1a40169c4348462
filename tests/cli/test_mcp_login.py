"""`headgate mcp login`: a person logs in once, in a browser."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.harness.stub import BOUND, Answer, Recorded, Stub
from tests.requirements import covers
from tests.tools.test_mcp_oauth import CLIENT, guarded

pytestmark = covers("61", "cli")


def tokens(request: Recorded) -> Answer:
    if request.path == "/token":
        assert b"code=c-1" in request.body
        assert b"code_verifier=" in request.body
        return Answer(body=b'{"access_token":"good","token_type":"Bearer","expires_in":60,"refresh_token":"r"}')
    return guarded(request)


async def test_a_login_in_a_browser_is_kept_in_the_data_directory(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = tokens
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = {"url": stub.url, "protocol": "legacy", "oauth": {**CLIENT, "redirect_port": port}}
    (tmp_path / "headgate.yaml").write_text(json.dumps({"mcp": {"servers": {"guarded": server}}}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "mcp", "login", "guarded"),
        cwd=tmp_path,
        env={**os.environ, "HEADGATE_DATA_DIR": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * BOUND), httpx.AsyncClient() as browser:
            await process.stdout.readline()
            asked = parse_qs(urlsplit((await process.stdout.readline()).decode().strip()).query)
            assert asked["code_challenge_method"] == ["S256"]
            (redirect,) = asked["redirect_uri"]
            assert (await browser.get(redirect.replace("callback", "favicon.ico"))).status_code == 404
            page = await browser.get(redirect, params={"code": "c-1", "state": asked["state"][0]})
            assert page.text == "You may close this page."
            said = await process.stdout.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert said.decode() == "You are logged in to guarded. Its tools: 1.\n"
    kept = tmp_path / "data" / "mcp" / "guarded.json"
    assert json.loads(kept.read_text())["tokens"]["access_token"] == "good"
    assert kept.stat().st_mode & 0o777 == 0o600
