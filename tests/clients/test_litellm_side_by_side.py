"""The same config.yaml and the same calls for LiteLLM's own proxy and for Headgate: what is not listed is equal.

The ordinary form compares with recordings of LiteLLM. `scripts/soak litellm` starts LiteLLM, compares with what it does
now, and with REWRITE_GOLDEN=1 records it anew.
"""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.install import default_folder, ensure, version
from bench.peers import PEERS
from tests.clients.litellm_calls import CALLS, LITELLM_CALLS, OPENAI_CALLS
from tests.clients.litellm_differences import DIFFERENCES
from tests.clients.litellm_facts import Difference, Facts, differences, unlisted
from tests.clients.litellm_provider import Provider
from tests.clients.litellm_proxy import (
    GOLDEN,
    VARIABLES,
    LitellmSdk,
    Observed,
    config_in,
    observe_all,
    running_litellm,
)
from tests.harness.process import Processes
from tests.harness.stub import Stub
from tests.requirements import covers

REWRITE = bool(os.environ.get("REWRITE_GOLDEN"))
LITELLM = next(peer for peer in PEERS if peer.name == "litellm")
OWN = Path(__file__).parents[2] / ".venv-litellm/bin/python"
SDK_PYTHON = str(OWN) if OWN.exists() else sys.executable if find_spec("litellm") else ""
GROUPS = {call.name: group for group, calls in CALLS.items() for call in calls}
GROUPS |= {call.name: "openai-sdk" for call in OPENAI_CALLS}
GROUPS |= {call.name: "litellm-sdk" for call in LITELLM_CALLS}
pytestmark = [covers("166", "127", "litellm-proxy"), pytest.mark.timeout(900)]


@dataclass
class Seen:
    """Both gateways by call. `live`: LiteLLM was started for it."""

    theirs: dict[str, Facts]
    ours: dict[str, Facts]
    live: bool


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Every call to Headgate, and to LiteLLM or its recordings."""
    folder = tmp_path_factory.mktemp("side-by-side")
    if not request.config.getoption("--long"):
        _, ours = asyncio.run(observed(folder, None))
        return Seen(flat_calls(recorded()), flat_calls(ours), live=False)
    home = installed()
    theirs, ours = asyncio.run(observed(folder, home))
    assert theirs is not None
    if REWRITE:
        record(theirs, home)
    return Seen(flat_calls(theirs), flat_calls(ours), live=True)


def installed() -> Path:
    try:
        home = ensure(LITELLM, default_folder())
    except (OSError, subprocess.SubprocessError) as fault:
        pytest.skip(f"LiteLLM's proxy cannot be installed: {fault}")
    if not (home / "bin/litellm").exists():
        pytest.skip(f"LiteLLM's proxy is not whole in {home}; remove that folder")
    return home


async def observed(folder: Path, home: Path | None) -> tuple[Observed | None, Observed]:
    """What LiteLLM, if it is there, and Headgate did."""
    sdk_python = SDK_PYTHON or (str(home / "bin/python") if home else "")
    processes = Processes(folder)
    async with Stub() as stub:
        stub.otherwise = Provider(stub).answer
        config = config_in(folder, stub.port)
        sdk = await LitellmSdk.start(sdk_python) if sdk_python else None
        try:
            theirs = None
            if home is not None:
                async with running_litellm(home, config) as url:
                    theirs = await observe_all(url, stub, sdk)
            served = await asyncio.to_thread(lambda: processes.serve("--config", str(config), **VARIABLES))
            return theirs, await observe_all(served.url, stub, sdk)
        finally:
            await asyncio.to_thread(processes.stop)
            if sdk is not None:
                await sdk.stop()


def recorded() -> Observed:
    return {file.stem: json.loads(file.read_text()) for file in GOLDEN.glob("*.json")}


def record(theirs: Observed, home: Path) -> None:
    for group, calls in theirs.items():
        (GOLDEN / f"{group}.json").write_text(json.dumps(calls, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    (GOLDEN / "version.txt").write_text(version(LITELLM, home) + "\n")


def flat_calls(seen: Observed) -> dict[str, Facts]:
    return {name: facts for calls in seen.values() for name, facts in calls.items()}


def both(seen: Seen, name: str) -> tuple[Facts, Facts]:
    if name not in seen.ours:
        pytest.skip("needs the extra `litellm`")
    return seen.theirs[name], seen.ours[name]


@pytest.mark.parametrize("name", GROUPS)
def test_a_call_goes_as_with_litellm_but_for_what_is_listed(seen: Seen, name: str) -> None:
    assert unlisted(name, *both(seen, name), DIFFERENCES) == []


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: f"{row.calls} {row.path}"[:80])
def test_a_listed_difference_is_there(seen: Seen, row: Difference) -> None:
    named = [name for name in GROUPS if row.names(name)]
    assert named
    if all(name not in seen.ours for name in named):
        pytest.skip("needs the extra `litellm`")
    without = [other for other in DIFFERENCES if other is not row]
    assert any(unlisted(name, *both(seen, name), without) for name in named if name in seen.ours)


def test_the_recordings_are_what_litellm_does(seen: Seen) -> None:
    if not seen.live:
        assert set(seen.theirs) == set(GROUPS)
        return
    told = (GOLDEN / "version.txt").read_text().strip()
    if told != version(LITELLM, ensure(LITELLM, default_folder())):
        pytest.skip(f"the recordings are of LiteLLM {told}")
    now = {name: list(differences(flat_calls(recorded())[name], facts)) for name, facts in seen.theirs.items()}
    assert {name: found for name, found in now.items() if found} == {}


def test_a_difference_that_is_not_listed_is_found() -> None:
    row = Difference("a-*", "body.*", "For a reason.", 1, 2)
    assert unlisted("a-1", {"body.x": 1}, {"body.x": 2}, [row]) == []
    assert unlisted("b-1", {"body.x": 1}, {"body.x": 2}, [row]) == ["body.x: LiteLLM 1, Headgate 2"]
    assert unlisted("a-1", {"body.x": 1}, {"body.x": 3}, [row]) == ["body.x: LiteLLM 1, Headgate 3"]
    assert unlisted("a-1", {"body.x": 1, "y": 1}, {}, [row])
    whole = Difference("a-*", "**", "For a reason.", 500, 401)
    assert unlisted("a-1", {"status": 500, "x": 1}, {"status": 401}, [whole]) == []
    assert unlisted("a-1", {"status": 500}, {"status": 400}, [whole]) == ["status: LiteLLM 500, Headgate 400"]
