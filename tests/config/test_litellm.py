"""LiteLLM's config.yaml: what is read of it, and that the rest is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.config.load import load
from headgate.config.problems import Problem
from headgate.config.tree import Settings
from tests.requirements import covers

pytestmark = covers("litellm-config")
Problems = Callable[[str], list[Problem]]
Write = Callable[[str], Path]

WHOLE = """\
model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-5-mini
      api_key: os.environ/MY_OPENAI_KEY
      num_retries: 4
      rpm: 60
    model_info: {mode: chat}
  - model_name: gpt
    litellm_params:
      model: azure/my-deployment
      api_base: https://example.openai.azure.com/
      api_key: azure-key
      api_version: "2024-10-21"
      timeout: 20
  - model_name: house
    litellm_params:
      model: hosted_vllm/org/model
      api_base: http://127.0.0.1:9/v1
      extra_headers: {x-team: a}
  - model_name: bare
    litellm_params: {model: gpt-5, api_key: os.environ/MY_OPENAI_KEY}
  - model_name: rock
    litellm_params: {model: bedrock/anthropic.claude, aws_region_name: eu-west-1}
general_settings:
  master_key: os.environ/THE_MASTER
  database_url: postgres://x
litellm_settings:
  drop_params: true
  callbacks: [langfuse]
router_settings: {}
"""


@pytest.fixture
def whole(write: Write, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, list[str]]:
    monkeypatch.setenv("MY_OPENAI_KEY", "sk-from-environment")
    monkeypatch.setenv("THE_MASTER", "sk-the-master-key-0001")
    loaded = load(write(WHOLE))
    return loaded.settings, [note.partition("not honoured yet: ")[2] for note in loaded.notes]


def test_models_of_one_name_become_targets_in_order(whole: tuple[Settings, list[str]]) -> None:
    models = {model.name: model for model in whole[0].models}
    assert list(models) == ["gpt", "house", "bare", "rock"]
    assert [(target.upstream, target.model) for target in models["gpt"].targets] == [
        ("openai", "gpt-5-mini"),
        ("azure", "my-deployment"),
    ]
    assert models["gpt"].retries == 4
    assert [target.model for target in models["house"].targets] == ["org/model"]


def test_accounts_become_upstreams_once_each(whole: tuple[Settings, list[str]]) -> None:
    upstreams = {one.name: one for one in whole[0].upstreams}
    assert [(one.name, one.provider) for one in whole[0].upstreams] == [
        ("openai", "openai"),
        ("azure", "azure"),
        ("hosted_vllm", "vllm"),
        ("bedrock", "litellm"),
    ]
    key = upstreams["openai"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-from-environment"
    assert (upstreams["azure"].api_version, upstreams["azure"].timeouts.read) == ("2024-10-21", 20)
    assert upstreams["hosted_vllm"].headers == {"x-team": "a"}
    assert upstreams["bedrock"].litellm_provider == "bedrock"


def test_the_master_key_is_read(whole: tuple[Settings, list[str]]) -> None:
    master = whole[0].auth.master_key
    assert master is not None
    assert master.get_secret_value() == "sk-the-master-key-0001"


def test_every_field_that_is_not_honoured_is_named(whole: tuple[Settings, list[str]]) -> None:
    assert whole[1] == [
        "model_list[0].litellm_params.rpm",
        "model_list[4].litellm_params.aws_region_name",
        "general_settings.database_url",
        "litellm_settings.drop_params",
        "litellm_settings.callbacks",
        "router_settings",
    ]


def test_wildcards_are_named_as_not_honoured(write: Write) -> None:
    loaded = load(write("model_list: [{model_name: '*', litellm_params: {model: 'openai/*', api_key: k}}]"))
    assert not loaded.settings.models
    assert "model_list[0].model_name" in loaded.notes[0]


def test_two_accounts_at_one_provider_are_two_upstreams(write: Write) -> None:
    entry = "{{model_name: {0}, litellm_params: {{model: openai/x, api_key: {0}}}}}"
    settings = load(write(f"model_list: [{entry.format('a')}, {entry.format('b')}]")).settings
    assert [one.name for one in settings.upstreams] == ["openai", "openai-2"]
    assert [model.targets[0].upstream for model in settings.models] == ["openai", "openai-2"]


def test_a_providers_usual_variables_are_used(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "azure-key-1")
    monkeypatch.setenv("AZURE_API_BASE", "https://a.example")
    (upstream,) = load(write("model_list: [{model_name: a, litellm_params: {model: azure/x}}]")).settings.upstreams
    assert upstream.base_url == "https://a.example"
    assert upstream.api_key is not None
    assert upstream.api_key.get_secret_value() == "azure-key-1"


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("5", "model_list[0]"),
        ("{model_name: a}", "model_list[0]"),
        ("{model_name: '', litellm_params: {model: openai/x, api_key: k}}", "model_list[0]"),
        ("{model_name: a, litellm_params: {model: 5}}", "model_list[0]"),
        ("{model_name: a, litellm_params: {model: openai/x}}", "model_list[0].litellm_params"),
        ("{model_name: a, litellm_params: {model: hosted_vllm/x}}", "model_list[0].litellm_params"),
        (
            "{model_name: a, litellm_params: {model: openai/x, api_key: os.environ/NOT_SET}}",
            "model_list[0].litellm_params.api_key",
        ),
        (
            "{model_name: a, litellm_params: {model: openai/x, api_key: k, api_base: 5}}",
            "model_list[0].litellm_params.api_base",
        ),
        (
            "{model_name: a, litellm_params: {model: openai/x, api_key: k, timeout: 0}}",
            "model_list[0].litellm_params.timeout",
        ),
        (
            "{model_name: a, litellm_params: {model: openai/x, api_key: k, extra_headers: [a]}}",
            "model_list[0].litellm_params.extra_headers",
        ),
        ("{model_name: a, litellm_params: {model: '!x/y', api_key: k}}", "model_list[0].litellm_params.model"),
    ],
)
def test_a_mistake_is_told_with_its_place(problems: Problems, entry: str, path: str) -> None:
    found = problems(f"model_list: [{entry}]")
    assert found[0].path == path
    assert found[0].line == 1
    assert all(problem.remedy for problem in found)


def test_a_list_that_is_none_and_an_unset_master_key_are_told(problems: Problems) -> None:
    assert problems("model_list: {a: b}")[0].path == "model_list"
    found = problems("model_list: []\ngeneral_settings:\n  master_key: os.environ/NOT_SET\n")
    assert [(one.line, one.path) for one in found] == [(3, "general_settings.master_key")]
