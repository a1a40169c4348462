"""The configuration in LiteLLM's form: what the launcher printed, and never a secret."""

from typing import Any

import pytest
import yaml

from headgate.config import discovery
from headgate.config.litellm_writer import Written, to_litellm
from headgate.config.load import load
from tests.config.conftest import Write
from tests.requirements import covers

pytestmark = covers("126")

SECRET = "sk-VERYSECRET-0001"
PRINTED = """
model_list:
  - model_name: "gpt-5"
    litellm_params:
      model: "openai/gpt-5"
      api_base: "https://agentrouter.example/v1"
      api_key: "os.environ/OPENAI_API_KEY"
      reasoning_effort: "medium"

litellm_settings:
  drop_params: true
  set_verbose: true

general_settings:
  master_key: "os.environ/LITELLM_MASTER_KEY"
"""
ENVIRONMENT = {
    "MODEL_GPT5_UPSTREAM_MODEL": "gpt-5",
    "OPENAI_API_BASE": "https://agentrouter.example/v1",
    "OPENAI_API_KEY": SECRET,
    "LITELLM_MASTER_KEY": SECRET + "-master",
}


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def printed(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], **options: Any) -> Written:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return to_litellm(load(None, options))


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({"MODEL_GPT5_REASONING_EFFORT": "medium"}, {}),
        ({"REASONING_EFFORT": "medium"}, {}),
        ({"REASONING_EFFORT": "low"}, {"reasoning_effort": "medium"}),
        ({"MODEL_GPT5_REASONING_EFFORT": "medium"}, {"reasoning_effort": "high"}),
    ],
)
def test_the_launchers_example_with_a_level(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: dict[str, str]
) -> None:
    written = printed(monkeypatch, {**ENVIRONMENT, **variables}, **options)
    assert written.data == yaml.safe_load(PRINTED)
    assert not written.comments


@pytest.mark.parametrize(
    "variables", [{"MODEL_GPT5_REASONING_EFFORT": "none", "REASONING_EFFORT": "high"}, {"REASONING_EFFORT": "none"}, {}]
)
def test_the_launchers_example_without_a_level(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    wanted = yaml.safe_load(PRINTED)
    del wanted["model_list"][0]["litellm_params"]["reasoning_effort"]
    assert printed(monkeypatch, {**ENVIRONMENT, **variables}).data == wanted


def test_flags_change_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"drop_params": False, "streaming": False, "auth_required": False, "upstream_key_env": ""}
    assert printed(monkeypatch, ENVIRONMENT, **options).data == {
        "model_list": [
            {
                "model_name": "gpt-5",
                "litellm_params": {"model": "openai/gpt-5", "api_base": "https://agentrouter.example/v1"},
            }
        ],
        "litellm_settings": {"drop_params": False, "set_verbose": False},
    }


@covers("redaction")
def test_a_literal_key_becomes_a_reference_with_a_comment(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    write(
        f"auth: {{master_key: {SECRET}}}\n"
        "upstreams:\n"
        f"  - {{name: a, provider: groq, api_key: {SECRET}}}\n"
        f"  - name: my-box\n    provider: openai_compatible\n    api_key: {SECRET}\n"
        f"    base_url: 'https://me:{SECRET}@box.example/v1'\n    headers: {{x-api-key: {SECRET}, x-team: blue}}\n"
        "  - {name: c, provider: openai, api_key: '${MINE}'}\n"
        "  - {name: d, provider: litellm, litellm_provider: bedrock, "
        "options: {aws_secret_access_key: abc, aws_region_name: x}}\n"
        "models: [{name: m, targets: [{upstream: a, model: x}, {upstream: my-box, model: y}, {upstream: c, model: z}, "
        "{upstream: d, model: w}]}]\n"
    )
    written = printed(monkeypatch, {"MINE": SECRET})
    params = [entry["litellm_params"] for entry in written.data["model_list"]]
    assert params == [
        {"model": "groq/x", "api_key": "os.environ/GROQ_API_KEY"},
        {
            "model": "openai/y",
            "api_base": "os.environ/MY_BOX_API_BASE",
            "api_key": "os.environ/MY_BOX_API_KEY",
            "extra_headers": {"x-api-key": "os.environ/MY_BOX_X_API_KEY", "x-team": "blue"},
        },
        {"model": "openai/z", "api_key": "os.environ/MINE"},
        {
            "model": "bedrock/w",
            "aws_secret_access_key": "os.environ/D_AWS_SECRET_ACCESS_KEY",
            "aws_region_name": "x",
        },
    ]
    assert written.data["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    assert "upstreams[0].api_key holds a key itself: set GROQ_API_KEY to it." in written.comments
    assert "auth.master_key holds a key itself: set LITELLM_MASTER_KEY to it." in written.comments
    assert "VERYSECRET" not in str(written)


@covers("redaction")
def test_a_master_key_of_the_command_line_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    written = printed(monkeypatch, {"OPENAI_API_KEY": "k"}, model="m", master_key=SECRET)
    assert written.data["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    assert "VERYSECRET" not in str(written)


def test_without_a_master_key_the_generated_one_is_pointed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    written = printed(monkeypatch, {"OPENAI_API_KEY": "k"}, model="m")
    assert written.data["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    assert "master.key" in written.comments[0]


def test_targets_routing_and_facts_are_written_in_litellms_words(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    write(
        """
upstreams:
  - {name: gpu, provider: vllm, base_url: "http://gpu.example:8000/v1"}
  - {name: ollama, provider: ollama, offer_all: true}
models:
  - name: m
    capabilities: {mode: chat, context_window: 8000, tools: true}
    price: {input: 0.15, output: 2}
    fallbacks: [n]
    parameters: {defaults: {temperature: 0.1}, drop: [user]}
    targets:
      - {upstream: gpu, model: q, weight: 2, order: 1, tags: [a], timeout: 5, limits: {requests_per_minute: 7}}
  - {name: n, hidden: true, targets: [{upstream: ollama, model: r, id: second}]}
aliases: [{name: old, model: m}, {name: older, model: m, hidden: true}]
routing: {balance: weighted, retries: 1}
"""
    )
    written = printed(monkeypatch, {})
    first, second, wildcard = written.data["model_list"]
    assert first == {
        "model_name": "m",
        "litellm_params": {
            "model": "hosted_vllm/q",
            "api_base": "http://gpu.example:8000/v1",
            "temperature": 0.1,
            "additional_drop_params": ["user"],
            "weight": 2.0,
            "order": 1,
            "tags": ["a"],
            "timeout": 5.0,
            "rpm": 7,
        },
        "model_info": {
            "mode": "chat",
            "max_input_tokens": 8000,
            "supports_function_calling": True,
            "input_cost_per_token": 0.15e-6,
            "output_cost_per_token": 2e-6,
        },
    }
    assert second["model_info"] == {"id": "second"}
    assert second["litellm_params"] == {"model": "openai/r", "api_base": "http://127.0.0.1:11434/v1"}
    assert wildcard == {
        "model_name": "ollama/*",
        "litellm_params": {"model": "openai/*", "api_base": "http://127.0.0.1:11434/v1"},
    }
    assert written.data["router_settings"] == {
        "routing_strategy": "simple-shuffle",
        "num_retries": 1,
        "fallbacks": [{"m": ["n"]}],
        "model_group_alias": {"old": "m", "older": {"model": "m", "hidden": True}},
    }
    assert [one for one in written.comments if "general" not in one] == [
        "models[1].hidden has no place in LiteLLM's form."
    ]
