"""LiteLLM's own client, and in the long form its command line, against this gateway."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.test_litellm_side_by_side import SDK_PYTHON, installed
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = [covers("litellm-clients", "166"), pytest.mark.timeout(300)]
SCRIPT = Path(__file__).with_name("litellm_client.py")


def ran(*command: str, home: Path) -> str:
    """What a command printed."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    variables = {**kept, "HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


async def of_gateway(stub: Stub, tmp_path: Path, command: Any) -> Any:
    settings = settings_for(stub)
    settings["models"] = [
        {"name": name, "targets": [{"upstream": "stub", "model": "stub-small"}]} for name in ("small", "other")
    ]
    async with running_gateway(settings, tmp_path / "data") as gateway:
        return await asyncio.to_thread(command, gateway)


async def test_litellms_client_does_a_days_work(stub: Stub, tmp_path: Path) -> None:
    if not SDK_PYTHON:
        pytest.skip("needs the extra `litellm`")

    def command(gateway: Gateway) -> dict[str, Any]:
        seen: dict[str, Any] = json.loads(ran(SDK_PYTHON, str(SCRIPT), gateway.url, KEY, home=tmp_path))
        return seen

    seen = await of_gateway(stub, tmp_path, command)
    assert seen["version"].startswith("headgate/")
    assert seen["models"] == seen["infos"] == seen["groups"] == ["small", "other"]
    assert (seen["model"], seen["chat"], seen["stream"]) == ("small", "Hello there.", "Hello there.")
    assert (seen["key"]["info"]["key_alias"], seen["key"]["info"]["user_id"]) == ("ci", "ann")
    [listed] = seen["keys"]["keys"]
    assert (listed["key_alias"], listed["models"], listed["user_id"]) == ("renamed", ["small", "other"], "ann")
    assert seen["keys"]["total_count"] == 1
    assert seen["of_alias"] == seen["of_hash"] == [listed["token"]]
    assert (seen["aliases_refused"], seen["new_model_refused"]) == ("HTTPError", "HTTPError")
    assert (seen["wrong_key"], seen["closed"]) == ("UnauthorizedError", "UnauthorizedError")
    assert (seen["missing_model"], seen["missing_user"]) == ("NotFoundError", "NotFoundError")
    assert seen["created"]["key"].startswith("sk-")
    blue = next(one for one in seen["teams"] if one["team_id"] == "blue")
    assert (blue["max_budget"], [one["user_id"] for one in blue["members_with_roles"]]) == (5.0, ["ben"])
    assert ([one["team_id"] for one in seen["page"]["teams"]], seen["available"]) == (["blue"], [])
    assert [one["user_id"] for one in seen["users"]] == ["ben"]
    assert (seen["user"]["user_info"]["max_budget"], seen["user_v2"]["teams"]) == (1.0, ["blue"])
    assert (seen["deleted_user"], seen["deleted"]) == (1, {"deleted_keys": [listed["token"]]})


async def test_litellms_command_line_works_too(stub: Stub, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("the long form: it needs LiteLLM's proxy with all it brings")
    lite = str(installed() / "bin/lite")

    def command(gateway: Gateway) -> None:
        def said(*args: str) -> str:
            return ran(lite, "--base-url", gateway.url, "--api-key", KEY, *args, home=tmp_path)

        assert "headgate/" in said("--version")
        assert "small" in said("models", "list")
        assert "small" in said("model-groups", "list")
        made = json.loads(said("keys", "generate", "--models", "small", "--key-alias", "ci", "--duration", "7d"))
        assert "ci" in said("keys", "list")
        assert made["token"] in said("keys", "list", "--format", "json")
        assert "ben@example.org" in said("users", "create", "--email", "ben@example.org", "--max-budget", "2")
        assert "ben@example.org" in said("users", "list")
        assert "default" in said("teams", "list")
        assert made["token"] in said("keys", "delete", "--keys", made["key"])

    await of_gateway(stub, tmp_path, command)
