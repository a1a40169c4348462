"""A change of a key is in force with the next request, whichever process answers."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.harness.process import Process, Processes
from tests.requirements import covers

pytestmark = covers("110", "workers")

CONFIG = "upstreams: [{name: m, provider: mock}]\nmodels: [{name: small, targets: [{upstream: m, model: x}]}]\n"
CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def gateway(processes: Processes, tmp_path: Any) -> Process:
    (tmp_path / "headgate.yaml").write_text(CONFIG)
    return processes.serve("--workers", "3")


def call(gateway: Process, path: str, key: str, body: dict[str, Any]) -> tuple[int, Any]:
    """On a connection of its own, which any of the workers may take."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "connection": "close"}
    request = Request(gateway.url + path, method="POST", headers=headers, data=json.dumps(body).encode())
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def test_every_worker_knows_a_new_key_and_refuses_a_revoked_one(gateway: Process) -> None:
    for _ in range(15):
        status, made = call(gateway, "/admin/keys", gateway.key, {})
        assert status == 201
        before = {call(gateway, "/v1/chat/completions", made["key"], CHAT)[0] for _ in range(6)}
        assert call(gateway, f"/admin/keys/{made['id']}/revoke", gateway.key, {})[0] == 200
        after = {call(gateway, "/v1/chat/completions", made["key"], CHAT)[0] for _ in range(6)}
        assert (before, after) == ({200}, {401})


def test_keys_outlive_the_process(gateway: Process, processes: Processes) -> None:
    _, made = call(gateway, "/admin/keys", gateway.key, {"alias": "kept"})
    processes.stop()
    again = processes.serve("--workers", "2")
    assert call(again, "/v1/chat/completions", made["key"], CHAT)[0] == 200
