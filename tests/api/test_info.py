"""What the gateway says of its models: GET /v1/info, and LiteLLM's routes for the same."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from headgate.api.lists import Lists
from headgate.routing.capabilities import facts_of
from headgate.usage.pricing import listed
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers

SECRET = "sk-upstream-secret-1"
HOST = "provider-host.example"
LIMITED = {"requests_per_minute": 60, "tokens_per_minute": 1000, "in_flight": 4}


def settings() -> dict[str, Any]:
    """Upstreams that nobody calls, and models with much, little and nothing said of them."""
    base = {"api_key": SECRET, "base_url": f"http://{HOST}/v1"}
    return {
        "upstreams": [
            {"name": "main", "provider": "openai", **base},
            {"name": "other", "provider": "anthropic", **base},
            {"name": "plain", "provider": "openai_compatible", **base},
        ],
        "models": [
            {"name": "known", "targets": [{"upstream": "main", "model": "gpt-4o"}], "groups": ["team-a"]},
            {
                "name": "said",
                "targets": [{"upstream": "plain", "model": "m", "id": "here", "tags": ["b", "a"], "limits": LIMITED}],
                "capabilities": {
                    "mode": "embedding",
                    "family": "ours",
                    "license": "mit",
                    "input": ["text", "image"],
                    "output": ["embedding"],
                    "tools": False,
                    "json_schema": True,
                    "reasoning": True,
                    "context_window": 5000,
                    "max_output_tokens": 100,
                },
                "constraints": {"accepts_image_url": False, "min_max_tokens": 7, "typical_response_seconds": 1.5},
                "price": {"input": "1.5", "output": "3", "cached_input": "0.15", "request": "0.01"},
                "info": {"note": "ours", "deep": [{"key": f"uses {SECRET}"}], "supports_vision": "maybe"},
                "parameters": {"reasoning_effort": "low", "defaults": {"temperature": 0, "user": SECRET}},
            },
            {
                "name": "two",
                "targets": [
                    {"upstream": "other", "model": "claude-sonnet-4-5", "order": 1},
                    {"upstream": "main", "model": "o3", "order": 2, "price": {"input": 9, "output": 9}},
                ],
                "fallbacks": ["known"],
                "balance": "weighted",
            },
            {"name": "unknown", "targets": [{"upstream": "plain", "model": "x"}]},
            {"name": "secret-one", "targets": [{"upstream": "main", "model": "gpt-4o"}], "hidden": True},
        ],
        "aliases": [
            {"name": "k", "model": "known"},
            {"name": "k-hidden", "model": "known", "hidden": True},
            {"name": "of-hidden", "model": "secret-one"},
        ],
    }


@pytest_asyncio.fixture
async def described() -> AsyncIterator[Gateway]:
    """A gateway with the packaged lists."""
    providers = {one["name"]: one["provider"] for one in settings()["upstreams"]}
    async with running_gateway(settings()) as gateway:
        gateway.gate.lists = Lists(
            providers.__getitem__,
            lambda upstream, model: facts_of(providers[upstream], model),
            lambda upstream, model: listed(providers[upstream], model),
            lambda upstream, model: (listed(providers[upstream], model), True),
        )
        yield gateway


async def told(gateway: Gateway, path: str) -> dict[str, Any]:
    response = await gateway.http.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    assert SECRET not in response.text
    assert HOST not in response.text
    answer: dict[str, Any] = response.json()
    return answer


async def by_id(gateway: Gateway) -> dict[str, Any]:
    return {entry["id"]: entry for entry in (await told(gateway, "/v1/info"))["data"]}


@covers("11", "3")
async def test_each_listed_model_is_there_once_with_its_other_names(described: Gateway) -> None:
    answer = await told(described, "/v1/info")
    assert answer == await told(described, "/info")
    assert answer["object"] == "list"
    named = {entry["id"]: entry["aliases"] for entry in answer["data"]}
    assert named == {"known": ["k"], "said": [], "two": [], "unknown": [], "of-hidden": []}


@covers("11")
async def test_a_well_known_model_is_described_from_the_packaged_lists(described: Gateway) -> None:
    entry = (await by_id(described))["known"]
    assert entry["modalities"] == {"input": ["text", "image", "file"], "output": ["text"]}
    assert [entry[name] for name in ("mode", "family", "tools", "json_schema", "reasoning")] == [
        "chat",
        "gpt",
        True,
        True,
        False,
    ]
    assert (entry["context_window"], entry["max_output_tokens"]) == (128_000, 16_384)
    assert entry["constraints"] == {
        "min_max_tokens": 0,
        "accepts_image_url": True,
        "typical_response_seconds": None,
    }
    prices = entry["prices"]
    assert (prices["currency"], prices["unit"], prices["input"], prices["output"]) == ("USD", "1M tokens", 2.5, 10.0)
    assert (prices["cached_input"], prices["cache_write"], prices["per_request"]) == (1.25, None, 0.0)


@covers("11")
async def test_what_is_said_in_settings_wins(described: Gateway) -> None:
    entry = (await by_id(described))["said"]
    assert entry["modalities"] == {"input": ["text"], "output": ["embedding"]}, "images are refused, so not taken"
    expected = ("embedding", "ours", "mit", False, True, True, 5000, 100)
    names = ("mode", "family", "license", "tools", "json_schema", "reasoning", "context_window", "max_output_tokens")
    assert tuple(entry[name] for name in names) == expected
    assert entry["constraints"] == {
        "min_max_tokens": 7,
        "accepts_image_url": False,
        "typical_response_seconds": 1.5,
    }
    assert (entry["prices"]["input"], entry["prices"]["cached_input"], entry["prices"]["per_request"]) == (
        1.5,
        0.15,
        0.01,
    )
    assert entry["parameters"]["reasoning_effort"] == "low"
    assert entry["parameters"]["defaults"] == {"temperature": 0, "user": "[redacted]"}
    (target,) = entry["targets"]
    assert (target["target"], target["tags"], target["limits"]) == ("here", ["a", "b"], LIMITED)


@covers("11")
async def test_a_model_of_several_targets_promises_what_all_of_them_hold(described: Gateway) -> None:
    entry = (await by_id(described))["two"]
    assert (entry["balance"], entry["fallbacks"]["any"]) == ("weighted", ["known"])
    assert [target["target"] for target in entry["targets"]] == ["other/claude-sonnet-4-5", "main/o3"]
    assert [target["context_window"] for target in entry["targets"]] == [200_000, 200_000]
    assert entry["max_output_tokens"] == 64_000
    assert entry["prices"] == entry["targets"][0]["prices"]
    assert entry["prices"]["up_to_prompt_tokens"] == 200_000
    assert (entry["targets"][1]["prices"]["input"], entry["targets"][1]["prices"]["up_to_prompt_tokens"]) == (9.0, None)
    assert "prediction" in entry["parameters"]["unsupported"]


@covers("11")
async def test_what_nobody_knows_is_null(described: Gateway) -> None:
    entry = (await by_id(described))["unknown"]
    for name in ("mode", "family", "license", "tools", "json_schema", "reasoning", "context_window", "prices"):
        assert entry[name] is None, name
    assert entry["modalities"] == {"input": None, "output": None}


@covers("model-info")
@pytest.mark.parametrize("path", ["/model/info", "/v1/model/info"])
async def test_deployments_have_the_shape_of_litellm(described: Gateway, path: str) -> None:
    entries = (await told(described, path))["data"]
    assert [entry["model_name"] for entry in entries] == ["known", "said", "two", "two", "unknown", "k", "of-hidden"]
    known, said = entries[:2]
    assert known["litellm_params"]["model"] == "openai/gpt-4o"
    facts = known["model_info"]
    assert (facts["id"], facts["db_model"], facts["mode"]) == ("main/gpt-4o", False, "chat")
    assert (facts["litellm_provider"], facts["max_input_tokens"], facts["max_tokens"]) == ("openai", 128_000, 16_384)
    assert (facts["input_cost_per_token"], facts["output_cost_per_token"]) == (2.5e-06, 1e-05)
    assert facts["cache_read_input_token_cost"] == 1.25e-06
    assert (facts["supports_vision"], facts["supports_function_calling"], facts["supports_reasoning"]) == (
        True,
        True,
        False,
    )
    assert facts["access_groups"] == ["team-a"]
    assert (said["litellm_params"]["rpm"], said["litellm_params"]["tpm"]) == (60, 1000)
    assert (said["model_info"]["note"], said["model_info"]["supports_vision"]) == ("ours", "maybe")
    assert said["model_info"]["deep"] == [{"key": "uses [redacted]"}]


@covers("model-info")
async def test_one_deployment_is_found_by_its_id(described: Gateway) -> None:
    (entry,) = (await told(described, "/model/info?litellm_model_id=main/o3"))["data"]
    assert entry["model_name"] == "two"
    response = await described.http.get("/model/info?litellm_model_id=nope")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "litellm_model_id")


@covers("model-info")
@pytest.mark.parametrize(
    ("query", "names", "total", "pages"),
    [
        ("", ["known", "said", "two", "two", "unknown", "k", "of-hidden"], 7, 1),
        ("size=3&page=2", ["two", "unknown", "k"], 7, 3),
        ("size=3&page=9", [], 7, 3),
        ("search=KN", ["known", "unknown"], 2, 1),
        ("model=two", ["two", "two"], 2, 1),
        ("modelId=here", ["said"], 1, 1),
        ("model=nope", [], 0, 0),
    ],
)
async def test_deployments_come_in_pages(
    described: Gateway, query: str, names: list[str], total: int, pages: int
) -> None:
    answer = await told(described, f"/v2/model/info?{query}")
    assert [entry["model_name"] for entry in answer["data"]] == names
    assert (answer["total_count"], answer["total_pages"]) == (total, pages)


@covers("model-info", "18")
@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=-1", "size=0", "size=5000", "size=", f"page={'9' * 5000}", "page=²"]
)
async def test_a_page_that_cannot_be_is_refused(described: Gateway, query: str) -> None:
    response = await described.http.get(f"/v2/model/info?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, query.partition("=")[0])


@covers("model-info")
async def test_groups_take_the_most_of_their_targets(described: Gateway) -> None:
    groups = {group["model_group"]: group for group in (await told(described, "/model_group/info"))["data"]}
    two = groups["two"]
    assert two["providers"] == ["anthropic", "openai"]
    assert (two["max_output_tokens"], two["input_cost_per_token"]) == (100_000, 9e-06)
    assert (two["supports_reasoning"], two["supports_vision"], two["supports_response_schema"]) == (True, True, True)
    assert "prediction" not in two["supported_openai_params"]
    assert (groups["said"]["rpm"], groups["said"]["tpm"], groups["said"]["supported_openai_params"]) == (60, 1000, [])
    assert (groups["unknown"]["max_input_tokens"], groups["unknown"]["supports_vision"]) == (None, False)
    (one,) = (await told(described, "/model_group/info?model_group=known"))["data"]
    assert one == groups["known"]
    assert (await described.http.get("/model_group/info?model_group=nope")).status_code == 404


@covers("11", "4")
async def test_found_models_are_described_too(stub: Stub) -> None:
    upstream = {"name": "stub", "provider": "openai_compatible", "base_url": stub.url, "offer_all": True}
    async with running_gateway({"upstreams": [upstream]}) as gateway:
        entries = await by_id(gateway)
        assert set(entries) == {"stub/stub-large", "stub/stub-small"}
        assert entries["stub/stub-small"]["aliases"] == []
        assert len((await told(gateway, "/model/info"))["data"]) == 2
