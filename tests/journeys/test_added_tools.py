"""Tools added to plain models by setting: by allow list, named in the response, and never without the setting."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat, stream
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_mcp import BAD
from tests.journeys.test_money import ask, new_key, rows
from tests.requirements import covers

pytestmark = covers("102")
HEADER = "x-headgate-tools-added"
ALLOWED = {"tools": {"inject": {"tools": ["compute"], "models": ["sma*"]}}}
NAMES = "calculator, current_time, date_math, text_stats, json_query"


def settings(stub: Stub, **more: Any) -> dict[str, Any]:
    made = settings_for(stub, **more)
    for name in ("large", "group/other", "old"):
        made["models"].append({"name": name, "targets": [{"upstream": "stub", "model": f"stub-{name}"}], "retries": 0})
    made["models"][-1]["capabilities"] = {"tools": False}
    return made


def sent_tools(stub: Stub) -> list[str]:
    return [tool["function"]["name"] for tool in stub.last.json.get("tools", ())]


@pytest.mark.parametrize("streamed", [False, True])
async def test_without_the_setting_a_plain_model_is_sent_byte_for_byte(gateway: Gateway, streamed: bool) -> None:
    stub_before = gateway.gate.deps.inject
    response = await gateway.chat(stream=streamed)
    assert stub_before is None
    assert HEADER not in response.headers


@pytest.mark.parametrize("inject", [{}, {"models": ["*"]}, {"tools": ["compute"]}])
async def test_a_list_without_the_other_adds_nothing(stub: Stub, inject: dict[str, Any]) -> None:
    body = b'{ "model":"small",  "messages":[{"role":"user","content":"Hi"}], "x": 1.50 }'
    async with running_gateway(settings(stub, tools={"inject": inject})) as running:
        response = await running.http.post("/v1/chat/completions", content=body)
    assert HEADER not in response.headers
    assert stub.last.body == body.replace(b'"small"', b'"stub-small"')


async def test_an_allowed_model_gets_the_tools_and_the_response_names_them(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub, **ALLOWED), tmp_path) as running:
        stub.answer(calling(("calculator", {"expression": "6*7"})), chat("It is 42."))
        response = await running.chat(temperature=0.5, seed=7)
        assert response.headers[HEADER] == NAMES
        assert response.json()["choices"][0]["message"]["content"] == "It is 42."
        assert response.json()["model"] == "small"
        assert sent_tools(stub) == NAMES.split(", ")
        assert (stub.last.json["temperature"], stub.last.json["seed"]) == (0.5, 7)
        assert stub.last.json["messages"][0] == {"role": "user", "content": "Hi"}
        assert stub.last.json["messages"][-1] == {"role": "tool", "tool_call_id": "call_0", "content": "42"}
        assert {row["component"] for row in await rows(running, 2)} == {"tools"}
        line = (await running.wait_for_lines(1))[0]
        assert (line["model"], line["tools"][0]["tool"]) == ("small", "calculator")
        assert (line["status"], line["bytes_out"]) == (200, len(response.content))
        plain = await running.chat(model="large")
        assert HEADER not in plain.headers
        assert "tools" not in stub.last.json
        scraped = (await running.http.get("/metrics")).text
        assert 'headgate_requests_total{model="small",outcome="ok",route="chat",status="200"} 1.0' in scraped


async def test_a_stream_has_the_header_before_its_first_byte(stub: Stub) -> None:
    async with running_gateway(settings(stub, **ALLOWED)) as running:
        stub.answer(calling_in_pieces("calculator", '{"expression": "2+2"}'), stream())
        response = await running.chat(stream=True)
        assert response.headers[HEADER] == NAMES
        assert response.text.count("data: [DONE]") == 1
        stub.answer(calling_in_pieces("calculator", '{"expression": "2+2"}'), stream())
        pure = await running.http.post(
            "/v1/chat/completions",
            json={"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
            headers={"x-events": "none"},
        )
    assert "proxy_status" in response.text
    assert "proxy_status" not in pure.text


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"tool_choice": "none"},
        {"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "mine"}}]},
        {"functions": [{"name": "mine"}]},
        {"audio": {"voice": "x", "format": "mp3"}},
        {"model": "old"},
    ],
)
async def test_a_request_that_tools_would_not_go_with_stays_as_it_is(stub: Stub, fields: dict[str, Any]) -> None:
    everything = {"tools": {"inject": {"tools": ["*"], "models": ["*"]}}}
    async with running_gateway(settings(stub, **everything)) as running:
        response = await running.chat(**fields)
        embedded = await running.http.post("/v1/embeddings", json={"model": "small", "input": "x"})
    assert response.status_code == embedded.status_code == 200
    assert HEADER not in response.headers
    assert HEADER not in embedded.headers
    assert stub.calls[0].json.get("tools") == fields.get("tools")


async def test_the_callers_own_tool_of_the_same_name_wins_and_is_not_run_here(stub: Stub) -> None:
    mine = {"type": "function", "function": {"name": "calculator", "parameters": {"type": "object"}}}
    async with running_gateway(settings(stub, **ALLOWED)) as running:
        stub.answer(calling(("calculator", {"expression": "1"})))
        response = await running.chat(tools=[mine])
    assert response.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert "calculator" not in response.headers[HEADER]
    assert len(stub.calls) == 1


async def added(caller: httpx.AsyncClient, model: str) -> str:
    response = await ask(caller, model=model)
    assert response.status_code == 200, response.text
    return str(response.headers.get(HEADER, ""))


async def test_a_key_or_its_tenant_may_name_other_models_and_fewer_tools_but_none_beyond_the_list(
    stub: Stub, tmp_path: Path
) -> None:
    made = settings(stub, **ALLOWED)
    wanted = {"models": ["large", "group/*"], "tools": ["calculator", "web_fetch"]}
    made["tenants"] = [{"id": "team", "metadata": {"inject_tools": wanted}}]
    async with running_gateway(made, tmp_path) as running:
        own = {"inject_tools": {"models": ["large"], "tools": ["date_*"]}}
        none: dict[str, Any] = {"inject_tools": {}}
        plain = await new_key(running)
        theirs = await new_key(running, tenant="team")
        narrower = await new_key(running, tenant="team", metadata=own)
        without = await new_key(running, metadata=none)
        async with plain, theirs, narrower, without:
            assert [await added(plain, "small"), await added(plain, "large")] == [NAMES, ""]
            assert [await added(theirs, "small"), await added(theirs, "large")] == ["", "calculator"]
            assert await added(theirs, "group/other") == "calculator"
            assert [await added(narrower, "large"), await added(narrower, "group/other")] == ["date_math", ""]
            assert await added(without, "small") == ""


@pytest.mark.parametrize("wrong", ["calculator", {"tools": "calculator"}, {"model": ["small"]}, {"tools": [1]}])
async def test_metadata_that_means_no_tools_is_refused(stub: Stub, tmp_path: Path, wrong: Any) -> None:
    async with running_gateway(settings(stub, **ALLOWED), tmp_path) as running:
        refused = await running.http.post("/admin/keys", json={"metadata": {"inject_tools": wrong}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metadata")
    assert "inject_tools" in refused.json()["error"]["message"]


@covers("119")
async def test_a_model_that_a_key_may_not_use_is_refused_with_tools_as_without(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub, **ALLOWED), tmp_path) as running:
        async with await new_key(running, models={"allow": ["large"]}) as caller:
            refused = await ask(caller, model="small")
        unknown = await running.chat(model="small-nope")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_forbidden")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert not stub.calls


def with_mcp(stub: Stub, *allowed: str) -> dict[str, Any]:
    servers = {"bad": BAD, "idle": {"command": "/nonexistent/program"}}
    inject = {"tools": list(allowed), "models": ["small"]}
    return settings(stub, tools={"inject": inject}, mcp={"servers": servers})


@covers("64")
@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (["calculator", "mcp_bad_e*"], ["calculator", "mcp_bad_echo"]),
        (["mcp_bad_echo", "mcp_bad_z*"], ["mcp_bad_echo", "mcp_bad_zeta"]),
        (["mcp_b?d_[ez]*"], ["mcp_bad_echo", "mcp_bad_zeta"]),
        (["calculator", "echo", "bad"], ["calculator"]),
    ],
)
async def test_tools_of_mcp_servers_are_added_by_name_and_pattern(
    stub: Stub, allowed: list[str], names: list[str]
) -> None:
    stub.answer(calling(("mcp_bad_echo", {"x": 1})) if "mcp_bad_echo" in names else chat(), chat("It says 1."))
    async with running_gateway(with_mcp(stub, *allowed)) as running:
        response = await running.chat()
        states = {one["name"]: one["state"] for one in (await running.http.get("/admin/mcp/servers")).json()["data"]}
    assert response.status_code == 200, response.text
    assert response.headers[HEADER] == ", ".join(names)
    assert sent_tools(stub) == names
    assert states["idle"] == "idle"
    if "mcp_bad_echo" in names:
        assert stub.last.json["messages"][-1]["content"] == '{"x": 1}'


async def test_a_key_gets_fewer_tools_of_mcp_servers_and_never_more(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(with_mcp(stub, "calculator", "mcp_bad_[ez]*"), tmp_path) as running:
        for wanted, names in (
            (["mcp_bad_echo"], ["mcp_bad_echo"]),
            (["*o", "die"], ["mcp_bad_echo"]),
            (["bad"], ["mcp_bad_echo", "mcp_bad_zeta"]),
            (["mcp_bad_die", "calculator"], ["calculator"]),
            (["calculator"], ["calculator"]),
        ):
            metadata = {"inject_tools": {"models": ["small"], "tools": wanted}}
            async with await new_key(running, metadata=metadata) as caller:
                response = await ask(caller)
            assert response.headers.get(HEADER, "") == ", ".join(names), wanted
            assert sent_tools(stub) == names


async def test_a_server_that_is_down_is_told_and_the_model_answers_without_it(stub: Stub) -> None:
    async with running_gateway(with_mcp(stub, "mcp_idle_*")) as running:
        response = await running.chat()
    assert (response.status_code, response.headers["x-headgate-tools-absent"]) == (200, "idle")
    assert "tools" not in stub.last.json


@covers("101")
async def test_pictures_that_a_tool_made_reach_the_caller_beside_the_text(stub: Stub) -> None:
    made = settings(stub, tools={"image_model": "large", "inject": {"tools": ["image"], "models": ["small"]}})
    picture = json.dumps({"data": [{"b64_json": "iVBORw0KGgo="}]}).encode()
    async with running_gateway(made) as running:
        stub.answer(calling(("image_generate", {"prompt": "a cat"})), chat(), chat("Here it is."))
        stub.script[1].body = picture
        message = (await running.chat()).json()["choices"][0]["message"]
    assert message["content"] == "Here it is."
    assert [call.path for call in stub.calls[1:-1]] == ["/v1/images/generations"]
    assert message["images"] == [
        {"type": "image_url", "index": 0, "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    ]
    assert "iVBORw0KGgo" not in stub.last.body.decode()
