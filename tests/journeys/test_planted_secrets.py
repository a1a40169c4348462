"""Secrets planted in every place where one may stand are in nothing that is written, shown or answered.

The only files of the data directory that hold secrets, for that is what they are for: `pepper`, and `master.key` where
the key was not given from outside.
"""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("redaction", "111", "137")
KEEPS_SECRETS = {"pepper", "master.key"}
MASTER = "Planted-Master-a1B2c3D4"
"""None of them looks like a key of a known provider."""
OTHERS = {
    "PLANTED_TOKEN": "Planted.Token.e5F6g7H8",
    "PLANTED_TENANT": "Planted_Tenant_i9J0k1L2",
    "PLANTED_PROVIDER": "Planted~Provider~m3N4o5P6",
    "PLANTED_HEADER": "Planted+Header+q7R8s9T0",
    "PLANTED_PASSWORD": "PlantedPasswordU1v2W3x4",
}
WRONG = "Planted-Wrong-y5Z6a7B8"
QUERY = "Planted-Query-c9D0e1F2"
PROMPT, WORDS = "Planted prompt g3H4i5J6", "PlantedAnswer-k7L8m9N0"


def configured(stub: Stub, folder: Path) -> list[str]:
    """The arguments of a gateway whose every secret is planted."""
    settings: dict[str, Any] = settings_for(
        stub,
        auth={"tokens": ["${PLANTED_TOKEN}"]},
        tenants=[{"id": "dev", "keys": ["${PLANTED_TENANT}"]}],
        limits={"redis_url": "redis://:${PLANTED_PASSWORD}@127.0.0.1:1/0", "if_unreachable": "admit"},
        logging={"debug": True},
    )
    settings["upstreams"][0] |= {"api_key": "${PLANTED_PROVIDER}", "headers": {"x-of-ours": "${PLANTED_HEADER}"}}
    (folder / "headgate.yaml").write_text(json.dumps(settings))
    return ["--config", str(folder / "headgate.yaml")]


def script(stub: Stub) -> None:
    """Answers, and refusals of a provider that repeats all that it was sent."""
    told = " ".join(OTHERS.values())
    stub.answer(
        chat(WORDS),
        stream(stream_pieces((WORDS, "."))),
        Answer(status=401, body=json.dumps({"error": {"message": f"Incorrect API key provided: {told}"}}).encode()),
        Answer(status=400, body=json.dumps({"error": {"message": told, "param": told, "code": told}}).encode()),
        Answer(status=500, body=told.encode(), content_type="text/plain"),
        stream([b"data: " + json.dumps({"error": {"message": told}}).encode() + b"\n\n"]),
        Answer(raw=f"HTTP/1.1 200 {told}\r\nno header\r\n\r\n".encode()),
    )


async def use(serving: Process) -> tuple[list[str], str]:
    """What a gateway answers to everything that may be asked, and the text of a key that it made."""
    said = []
    body = {"model": "small", "messages": [{"role": "user", "content": PROMPT}]}
    async with httpx.AsyncClient(base_url=serving.url, headers=bearer(MASTER), timeout=BOUND) as http:
        made = (await http.post("/admin/keys", json={"alias": "planted", "budgets": [{"usd": 1}]})).json()
        for number in range(7):
            answer = await http.post(
                f"/v1/chat/completions?key={QUERY}",
                json={**body, "stream": number in (1, 5)},
                headers=bearer((made["key"], OTHERS["PLANTED_TOKEN"], OTHERS["PLANTED_TENANT"])[number % 3]),
            )
            said.append(f"{answer.headers} {answer.text}" if number > 1 else str(answer.headers))
        wrong: list[dict[str, Any]] = [
            {"headers": bearer(WRONG)},
            {"headers": {"x-api-key": WRONG, "authorization": ""}},
            {"params": {"key": QUERY, "api_key": QUERY, "tenant": QUERY}},
        ]
        paths = ("/v1/models", "/admin/usage", "/admin/keys", f"/nowhere/{WRONG}", f"/admin/keys/{made['id']}")
        answers = [await http.get(path, **how) for path in paths[:3] for how in wrong]
        answers += [await http.post("/admin/keys", json={"tenant": WRONG, "budgets": MASTER, "alias": [WRONG]})]
        answers += [await http.post("/key/info", params={"key": made["key"]}), await http.get(paths[4])]
        every = "/errors /metrics /readyz /health/targets /v1/info /v1/model/info /admin/tenants /spend/logs"
        answers += [await http.get(path) for path in every.split()]
        async with asyncio.timeout(BOUND):
            while (await http.get("/admin/usage")).json()["total"]["attempts"] < 7:
                await asyncio.sleep(0.05)
        answers += [await http.get("/admin/usage/export", params={"format": kind}) for kind in ("csv", "json")]
        said += [f"{one.headers} {one.text}" for one in answers]
    return said, made["key"]


async def test_no_secret_is_written_shown_or_answered(stub: Stub, processes: Processes, tmp_path: Path) -> None:
    script(stub)
    arguments, given = configured(stub, tmp_path), {"HEADGATE_MASTER_KEY": MASTER, **OTHERS}
    serving = await asyncio.to_thread(processes.serve, *arguments, **given)
    said, key = await use(serving)
    serving.signal(signal.SIGKILL)
    await asyncio.to_thread(serving.wait)
    data = tmp_path / "data"
    written = {str(path): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert any(name.endswith("headgate.db") for name in written)
    shown = [
        await asyncio.to_thread(processes.run, *command, *arguments, **given)
        for command in (("config", "show"), ("serve", "--print-config"), ("check",), ("config", "convert"))
    ]
    away = "postgresql+asyncpg://headgate:${PLANTED_PASSWORD}@127.0.0.1:1/headgate"
    (tmp_path / "away.yaml").write_text(json.dumps({"database": {"url": away}}))
    shown.append(await asyncio.to_thread(processes.run, "serve", "--config", str(tmp_path / "away.yaml"), **given))
    assert "PostgreSQL" in shown[-1].stderr or "database" in shown[-1].stderr
    written |= {f"said {number}": text.encode() for number, text in enumerate(said)}
    written |= {str(one.args[3:5]): f"{one.stdout}{one.stderr}".encode() for one in shown}
    written["log"], errors = serving.out.read_bytes(), serving.err.read_text()
    assert errors.count(MASTER) <= 1, "the greeting names the key, on loopback, and nothing else does"
    written["messages"] = errors.replace(MASTER, "", 1).encode()
    pepper = (data / "pepper").read_text().strip()
    kept_out = [MASTER, *OTHERS.values(), WRONG, key, pepper, PROMPT, WORDS, QUERY]
    found = {
        (name, secret)
        for name, content in written.items()
        for secret in kept_out
        if secret.encode() in content and not (Path(name).name in KEEPS_SECRETS and secret in (pepper, MASTER))
    }
    assert not found
    assert b"planted" in b"".join(written.values()), "what is looked for would be found"
