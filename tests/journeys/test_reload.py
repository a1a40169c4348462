"""The configuration read anew: all of it or nothing, with everything that is under way going on undisturbed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from headgate.identity.signal import Signal
from headgate.upstreams.openai import OpenAIUpstream
from tests.harness.admin import bearer
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chunk
from tests.journeys.test_money import new_key
from tests.requirements import covers

pytestmark = covers("69")
DONE = b"data: [DONE]\n\n"


def write(folder: Path, stub: Stub, **more: Any) -> Path:
    """A configuration with the model `small` and the agent `helper`."""
    settings = {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": [{"upstream": "stub", "model": "one"}], "retries": 0}],
        **more,
    }
    file = folder / "headgate.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def agent(folder: Path, prompt: str = "First.", **more: Any) -> None:
    (folder / "conf/agents").mkdir(parents=True, exist_ok=True)
    fields = {"name": "helper", "model": "small", "system_prompt": prompt, **more}
    (folder / "conf/agents/helper.yaml").write_text(yaml.safe_dump(fields))


async def reload(gateway: Gateway) -> Any:
    answer = await gateway.http.post("/admin/reload")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until(met: Any) -> None:
    async with asyncio.timeout(BOUND):
        while not await met():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    agent(tmp_path)
    async with running_gateway(write(tmp_path, stub), tmp_path / "data") as running:
        yield running


async def test_what_changed_takes_effect_and_is_counted(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    await gateway.chat(model="helper")
    assert stub.last.json["messages"][0]["content"] == "First."
    agent(tmp_path, "Second.", variables={"x": 1})
    (tmp_path / "conf/agents/more.yml").write_text("- {name: more, model: large}")
    (tmp_path / "conf/skills").mkdir()
    (tmp_path / "conf/skills/tidy.md").write_text("Tidy up.")
    target = [{"upstream": "stub", "model": "two"}]
    write(tmp_path, stub, models=[{"name": name, "targets": target} for name in ("small", "large")])
    told = await reload(gateway)
    assert told == {
        "object": "configuration",
        "status": "ok",
        "models_loaded": 2,
        "agents_loaded": 2,
        "skills_loaded": 1,
        "mcp_servers_connected": 0,
        "needs_restart": [],
    }
    await gateway.chat(model="helper")
    assert stub.last.json["messages"][0]["content"] == "Second.\n\n# Skills\n\n## tidy\n\nTidy up."
    assert stub.last.json["model"] == "two"
    ids = [one["id"] for one in (await gateway.http.get("/v1/models")).json()["data"]]
    assert ids == ["helper", "more", "small", "large"]


@covers("39")
async def test_a_changed_prompt_file_is_sent_after_it_was_read_anew(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"x-routing-mode": "reasoning"}
    prompts = tmp_path / "conf/prompts"
    prompts.mkdir()
    for words in ("Answer my way.", "Answer another way."):
        (prompts / "final_answer.md").write_text(words)
        await reload(gateway)
        await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        assert words.encode() in b"".join(call.body for call in stub.calls)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("headgate.yaml", "models: [\n", ["headgate.yaml:2:", "not valid YAML"]),
        ("conf/agents/helper.yaml", "name: helper\nmodel: none", ["helper.yaml:2:", "no model 'none'"]),
        ("conf/agents/more.yaml", "name: small\nmodel: small", ["more.yaml:1:", "taken already"]),
        ("conf/agents/more.yaml", "name: x\nmodel: small\nsystem_prompt: '{{x('", ["more.yaml:3:", "name of an arg"]),
        ("conf/skills/x/SKILL.md", "nothing", ["SKILL.md:1:", "does not begin"]),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_where_it_is_wrong(
    gateway: Gateway, stub: Stub, tmp_path: Path, file: str, text: str, words: list[str]
) -> None:
    agent(tmp_path, "Changed.")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    (tmp_path / "conf/agents/other.yaml").write_text("name: other\nmodel: nowhere")
    answer = await gateway.http.post("/admin/reload")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "configuration_invalid")
    told = answer.json()["error"]["message"]
    assert all(one in told for one in words)
    assert "other.yaml:2:" in told or file == "headgate.yaml"
    assert (await gateway.chat(model="helper")).status_code == 200
    assert stub.last.json["messages"][0]["content"] == "First."
    acts = (await gateway.http.get("/admin/audit", params={"action": "configuration.reloaded"})).json()["data"]
    assert acts == []


@pytest.mark.parametrize("name", ["small", "helper"])
async def test_streams_under_way_end_as_they_began(
    gateway: Gateway, stub: Stub, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if their model and their upstream are gone meanwhile; that one is closed once nobody needs it any more."""
    closed: list[str] = []

    async def close(upstream: OpenAIUpstream) -> None:
        closed.append(upstream.name)

    monkeypatch.setattr(OpenAIUpstream, "close", close)
    release = asyncio.Event()
    pieces = [chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), DONE]
    stub.answer(Answer(pieces=pieces, framing="chunked", content_type="text/event-stream", release=release))
    body = {"model": name, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.aiter_lines()
        async for line in lines:
            if "Hel" in line:
                break
        (tmp_path / "conf/agents/helper.yaml").unlink()
        upstream = {"name": "other", "provider": "mock"}
        model = {"name": "new", "targets": [{"upstream": "other", "model": "x"}]}
        write(tmp_path, stub, upstreams=[upstream], models=[model])
        await reload(gateway)
        assert (await gateway.chat(model=name)).status_code == 404
        assert (await gateway.chat(model="new")).status_code == 200
        assert closed == []
        release.set()
        rest = [line async for line in lines]
    assert any('"lo"' in line for line in rest)
    assert rest[-2 if rest[-1] == "" else -1] == "data: [DONE]"

    async def is_closed() -> bool:
        return closed == ["stub"]

    await until(is_closed)
    ended = await gateway.wait_for_lines(1)
    assert {(one["model"], one["outcome"]) for one in ended if one["model"] == name and one["status"] == 200} == {
        (name, "ok")
    }


async def test_connections_of_upstreams_that_stay_are_kept(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    await gateway.chat()
    agent(tmp_path, "Second.")
    await reload(gateway)
    await gateway.chat()
    assert len({call.connection for call in stub.calls}) == 1


async def test_what_takes_a_restart_is_named_and_does_not_take_effect(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    more = {"server": {"port": 9999, "limits": {"body": 2048}}, "auth": {"tokens": ["sk-new-token-000001"]}}
    write(tmp_path, stub, **more, parameters={"defaults": {"seed": 5}})
    told = await reload(gateway)
    expected = {"server.port", "server.limits.body", "auth.tokens", "parameters.defaults"}
    assert set(told["needs_restart"]) == expected
    answer = await gateway.chat(messages=[{"role": "user", "content": "x" * 4096}])
    assert answer.status_code == 200
    assert "seed" not in stub.last.json
    assert set((await reload(gateway))["needs_restart"]) == expected


async def test_only_who_may_change_the_whole_configuration_can(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    assert (await gateway.http.post("/admin/reload", headers=bearer(TOKEN))).status_code == 403
    await gateway.http.post("/admin/tenants", json={"id": "blue"})
    for scopes, status in ((["*:*"], 403), (["configuration:write"], 403), (["configuration:write:*"], 200)):
        caller = await new_key(gateway, tenant="blue", scopes=scopes)
        async with caller:
            answer = await caller.post("/admin/reload")
            assert answer.status_code == status, (scopes, answer.text)
    [act] = (await gateway.http.get("/admin/audit", params={"action": "configuration.reloaded"})).json()["data"]
    assert act["after"] == {"models": 1, "agents": 1, "skills": 0}


@pytest.mark.parametrize("place", ["conf/agents/helper.yaml", "headgate.yaml"])
async def test_a_watched_file_that_changes_is_read_and_a_bad_one_is_not(stub: Stub, tmp_path: Path, place: str) -> None:
    agent(tmp_path)
    more: dict[str, Any] = {"reload": {"watch": True, "seconds": 0.05}}
    async with running_gateway(write(tmp_path, stub, **more), tmp_path / "data") as gateway:
        (tmp_path / place).write_text("name: [")
        (tmp_path / "conf/agents/new.yaml").write_text("name: new\nmodel: small")
        await asyncio.sleep(0.2)  # for something not to happen
        assert (await gateway.http.get("/v1/models/new")).status_code == 404
        agent(tmp_path, "Mended.")
        write(tmp_path, stub, **more)

        async def has_come() -> bool:
            return (await gateway.http.get("/v1/models/new")).status_code == 200

        await until(has_come)
        await gateway.chat(model="helper")
    assert stub.last.json["messages"][0]["content"] == "Mended."


async def test_every_worker_follows_the_one_that_was_asked(stub: Stub, tmp_path: Path) -> None:
    agent(tmp_path)
    file = write(tmp_path, stub, server={"workers": 2}, limits={"store": "local"})
    async with running_gateway(file, tmp_path / "data") as one, running_gateway(file, tmp_path / "data") as other:
        agent(tmp_path, "Second.")
        await reload(one)

        async def has_followed() -> bool:
            await other.chat(model="helper")
            return bool(stub.last.json["messages"][0]["content"] == "Second.")

        await until(has_followed)
        acts = (await one.http.get("/admin/audit", params={"action": "configuration.reloaded"})).json()["data"]
        assert len(acts) == 1
        signal = Signal(tmp_path / "data/run/configuration")
        assert signal.read() == 1
        signal.close()


async def test_a_gateway_that_was_given_values_reads_its_folders_anew(stub: Stub, tmp_path: Path) -> None:
    settings = yaml.safe_load(write(tmp_path, stub).read_text())
    settings["agents"] = [{"name": "helper", "model": "small"}]
    (tmp_path / "skills").mkdir()
    async with running_gateway({**settings, "conf": str(tmp_path)}) as gateway:
        (tmp_path / "skills/tidy.md").write_text("Tidy up.")
        assert (await reload(gateway))["skills_loaded"] == 1
        await gateway.chat(model="helper")
    assert "Tidy up." in stub.last.json["messages"][0]["content"]
