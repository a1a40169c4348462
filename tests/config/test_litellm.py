"""LiteLLM's config.yaml: what single fields become, in the settings and in the report."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import yaml

from headgate.config.draft import Draft
from headgate.config.litellm import reader
from headgate.config.load import draft_of, load
from headgate.config.problems import Problem
from headgate.config.tree import Settings
from tests.requirements import covers

pytestmark = covers("127", "litellm-config")
Problems = Callable[[str], list[Problem]]
Write = Callable[[str], Path]
Read = Callable[..., Settings]


def entry(name: str = "a", /, info: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    """One entry of `model_list`, with a key."""
    made = {"model_name": name, "litellm_params": {"model": "openai/x", "api_key": "k", **params}}
    return made | ({"model_info": info} if info else {})


@pytest.fixture
def settings_of(write: Write) -> Read:
    def settings_of(*entries: dict[str, Any], **sections: Any) -> Settings:
        return load(write(yaml.safe_dump({"model_list": list(entries), **sections}))).settings

    return settings_of


def graded(draft: Draft) -> dict[str, tuple[str, str]]:
    return {one.place.name: (one.grade, one.remark) for one in draft.findings}


@pytest.mark.parametrize(
    ("data", "is_theirs"),
    [
        ({"model_list": []}, True),
        ({"include": ["a.yaml"]}, True),
        ({"general_settings": {}, "models": []}, True),
        ({"models": [], "routing": {}}, False),
        ({}, False),
    ],
)
def test_the_file_is_told_by_its_sections(data: dict[str, Any], is_theirs: bool) -> None:
    assert reader.is_litellm(data) is is_theirs


def test_entries_of_one_name_become_targets_and_accounts_become_upstreams_once_each(settings_of: Read) -> None:
    settings = settings_of(
        entry("gpt", model="openai/gpt-5-mini"),
        entry("gpt", model="azure/mine", api_base="https://a.example", api_version="2024-10-21"),
        entry("other", model="openai/gpt-5"),
        entry("second", model="openai/gpt-5", api_key="k2"),
    )
    assert [(one.name, one.provider) for one in settings.upstreams] == [
        ("openai", "openai"),
        ("azure", "azure"),
        ("openai-2", "openai"),
    ]
    targets = {model.name: [(one.upstream, one.model) for one in model.targets] for model in settings.models}
    assert targets == {
        "gpt": [("openai", "gpt-5-mini"), ("azure", "mine")],
        "other": [("openai", "gpt-5")],
        "second": [("openai-2", "gpt-5")],
    }


def test_a_variable_is_a_reference_until_it_is_needed(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk-${literal}")
    file = write("model_list: [{model_name: a, litellm_params: {model: groq/x, api_key: os.environ/MINE}}]")
    assert draft_of(file).data["upstreams"][0]["api_key"] == "${MINE}"
    key = load(file).settings.upstreams[0].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-${literal}"


def test_a_providers_usual_variables_are_used(settings_of: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "azure-key-1")
    monkeypatch.setenv("AZURE_API_BASE", "https://a.example")
    (upstream,) = settings_of({"model_name": "a", "litellm_params": {"model": "azure/x"}}).upstreams
    assert upstream.base_url == "https://a.example"
    assert upstream.api_key is not None
    assert upstream.api_key.get_secret_value() == "azure-key-1"


def test_variables_of_the_file_lose_against_the_environment(settings_of: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"OPENAI_API_KEY": "of-the-file", "GROQ_API_KEY": "of-the-file"}
    monkeypatch.setenv("GROQ_API_KEY", "of-the-environment")
    bare = [{"model_name": name, "litellm_params": {"model": f"{name}/x"}} for name in ("openai", "groq")]
    upstreams = settings_of(*bare, environment_variables=own).upstreams
    keys = [one.api_key.get_secret_value() for one in upstreams if one.api_key]
    assert keys == ["of-the-file", "of-the-environment"]


@pytest.mark.parametrize(
    ("params", "path", "value"),
    [
        ({"rpm": 5}, "limits.requests_per_minute", 5),
        ({"tpm": "500"}, "limits.tokens_per_minute", 500),
        ({"max_parallel_requests": 2}, "limits.in_flight", 2),
        ({"timeout": 3}, "timeout", 3.0),
        ({"stream_timeout": 2}, "stream_timeout", 2.0),
        ({"order": 2}, "order", 2),
        ({"tags": ["free"]}, "tags", ["free"]),
        ({"drop_params": True}, "parameters.drop_unsupported", True),
        ({"additional_drop_params": ["n"]}, "parameters.drop", ["n"]),
        ({"reasoning_effort": "low"}, "parameters.reasoning_effort", "low"),
        ({"temperature": 0.5}, "parameters.defaults", {"temperature": 0.5}),
        ({"extra_body": {"top_k": 1}}, "parameters.defaults", {"top_k": 1}),
        ({"input_cost_per_token": 1e-7}, "price.input", Decimal("0.1")),
        ({"output_cost_per_token": "1e-6"}, "price.output", Decimal(1)),
        ({"output_cost_per_token": 1.1e-16}, "price.output", Decimal("1.1e-10")),
        ({"max_budget": 5, "budget_duration": "1mo"}, "budget.every", "1mo"),
    ],
)
def test_a_parameter_of_a_deployment(settings_of: Read, params: dict[str, Any], path: str, value: object) -> None:
    found: Any = settings_of(entry(**params)).models[0].targets[0]
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize(
    ("router", "path", "value"),
    [
        ({}, "balance", "weighted"),
        ({"routing_strategy": "least-busy"}, "balance", "least_busy"),
        ({"routing_strategy": "usage-based-routing"}, "enforce_limits", True),
        ({}, "enforce_limits", False),
        ({"optional_pre_call_checks": ["enforce_model_rate_limits"]}, "enforce_limits", True),
        ({"enable_pre_call_checks": True}, "check_context", True),
        ({"optional_pre_call_checks": ["session_affinity"]}, "affinity", "session"),
        ({"retry_policy": {"DefaultRetries": 1}, "num_retries": 7}, "retries", 1),
        ({"allowed_fails": 3}, "cooldown.failures", 4),
        ({"cooldown_time": 90}, "cooldown.longest", 90.0),
        ({"disable_cooldowns": True, "allowed_fails": 3}, "cooldown.failures", 0),
        ({"enable_tag_filtering": True}, "tags", True),
        ({"default_fallbacks": ["a"]}, "fallbacks", ["a"]),
    ],
)
def test_a_setting_of_the_router(settings_of: Read, router: dict[str, Any], path: str, value: object) -> None:
    found: Any = settings_of(entry(), router_settings=router).routing
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_the_routers_own_section_wins_and_an_empty_one_does_not(settings_of: Read) -> None:
    both = {"num_retries": 5, "fallbacks": [{"a": ["b"]}]}
    settings = settings_of(
        entry("a"), entry("b"), litellm_settings=both, router_settings={"num_retries": 1, "fallbacks": []}
    )
    assert (settings.routing.retries, settings.models[0].fallbacks) == (1, ["b"])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([{"weight": 3}, {"weight": 1}, {}], [3, 1, 0]),
        ([{"weight": 3, "rpm": 9}, {"rpm": 9}], [3, 0]),
        ([{"rpm": 9, "tpm": 1}, {"tpm": 7}], [9, 0]),
        ([{"tpm": 1}, {"tpm": 7}], [1, 7]),
        ([{}, {}], [None, None]),
        ([{"weight": 0}, {"rpm": 2}], [0, 2]),
    ],
)
def test_weights_are_as_simple_shuffle_takes_them(
    settings_of: Read, weights: list[dict[str, Any]], expected: list[float | None]
) -> None:
    (model,) = settings_of(*(entry("m", model=f"openai/{n}", **one) for n, one in enumerate(weights))).models
    assert [target.weight for target in model.targets] == expected


def test_an_upstream_waits_as_long_as_its_most_patient_target(settings_of: Read) -> None:
    settings = settings_of(entry("a", timeout=10), entry("b"), router_settings={"timeout": 4000})
    assert settings.upstreams[0].timeouts.read == settings.upstreams[0].timeouts.total == 4000
    assert [model.targets[0].timeout for model in settings.models] == [10, 4000]


@pytest.mark.parametrize(
    ("params", "provider", "base_url"),
    [
        ({"model": "ollama/x", "api_base": "http://h:1/"}, "ollama", "http://h:1/v1"),
        ({"model": "azure/x", "api_base": "https://h/openai/v1"}, "azure", "https://h/openai/v1"),
        ({"model": "azure/x", "api_base": "https://h", "api_version": "latest"}, "azure", "https://h/openai/v1"),
        ({"model": "azure/x", "api_base": "https://h", "tenant_id": "t"}, "litellm", "https://h"),
        ({"model": "openai/x", "api_base": "https://api.openai.com/v1"}, "openai", "https://api.openai.com/v1"),
        ({"model": "openai/x", "api_base": "https://h/v1"}, "openai_compatible", "https://h/v1"),
        ({"model": "anthropic/x", "api_base": "https://h"}, "litellm", "https://h"),
        ({"model": "x", "custom_llm_provider": "groq"}, "groq", None),
        ({"model": "bedrock/x"}, "litellm", None),
    ],
)
def test_how_a_provider_is_reached(
    settings_of: Read, params: dict[str, Any], provider: str, base_url: str | None
) -> None:
    (upstream,) = settings_of(entry(**params)).upstreams
    assert (upstream.provider, upstream.base_url) == (provider, base_url)


@covers("166")
@pytest.mark.parametrize(
    ("sections", "name", "grade", "words"),
    [
        ({"router_settings": {"routing_stratgy": "x"}}, "router_settings.routing_stratgy", "unsupported", "'routing_"),
        ({"litellm_setings": {}}, "litellm_setings", "unsupported", "'litellm_settings'"),
        ({"general_settings": {"nonsense": 1}}, "general_settings.nonsense", "unsupported", "no such field"),
        ({"litellm_settings": {"cache": False}}, "litellm_settings.cache", "exact", "not cached"),
        ({"litellm_settings": {"cache": True}}, "litellm_settings.cache", "unsupported", "not cached"),
        ({"litellm_settings": {"json_logs": False}}, "litellm_settings.json_logs", "unsupported", "JSON"),
        (
            {"router_settings": {"fallbacks": [{"a": ["aa"]}]}},
            "router_settings.fallbacks[0].a[0]",
            "unsupported",
            "'a'",
        ),
        ({"models": []}, "models", "unsupported", "headgate.yaml"),
    ],
)
def test_the_report_says_what_becomes_of_a_field(
    write: Write, sections: dict[str, Any], name: str, grade: str, words: str
) -> None:
    found = graded(draft_of(write(yaml.safe_dump({"model_list": [entry()], **sections}))))
    assert found[name][0] == grade
    assert words in found[name][1]


@covers("166", "redaction")
def test_no_key_is_repeated_in_the_report_or_in_a_problem(write: Write) -> None:
    secret = "sk-very-secret-0001"
    made = entry(api_key=secret, aws_secret_access_key=secret, rpm="x", extra_headers={"k": secret})
    draft = draft_of(write(yaml.safe_dump({"model_list": [made], "general_settings": {"master_key": secret}})))
    assert secret not in str(draft.findings) + str(draft.problems)


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("5", "model_list[0]"),
        ("{model_name: a}", "model_list[0]"),
        ("{model_name: '', litellm_params: {model: openai/x, api_key: k}}", "model_list[0].model_name"),
        ("{model_name: a, litellm_params: {model: 5}}", "model_list[0].litellm_params.model"),
        ("{model_name: a, litellm_params: {}}", "model_list[0].litellm_params"),
        ("{model_name: a, litellm_params: {model: openai/x}}", "model_list[0].litellm_params.model"),
        ("{model_name: a, litellm_params: {model: hosted_vllm/x}}", "model_list[0].litellm_params.model"),
        ("{model_name: a, litellm_params: {model: openai/*, api_key: k}}", "model_list[0].litellm_params.model"),
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
    ],
)
def test_a_mistake_is_told_with_its_place(problems: Problems, entry: str, path: str) -> None:
    found = problems(f"model_list: [{entry}]")
    assert (found[0].path, found[0].line) == (path, 1)
    assert all(problem.remedy for problem in found)


def test_a_list_that_is_none_and_an_unset_master_key_are_told(problems: Problems) -> None:
    assert problems("model_list: {a: b}")[0].path == "model_list"
    found = problems("model_list: []\ngeneral_settings:\n  master_key: os.environ/NOT_SET\n")
    assert [(one.line, one.path) for one in found] == [(3, "general_settings.master_key")]


def test_a_mistake_that_shows_at_every_target_is_told_once(problems: Problems) -> None:
    text = yaml.safe_dump({"model_list": [entry("a"), entry("b")], "router_settings": {"timeout": "soon"}})
    assert [one.path for one in problems(text)] == ["router_settings.timeout"]


def test_a_file_of_a_thousand_deployments_is_read_quickly(write: Write) -> None:
    many = [entry(f"m{n // 2}", model=f"openai/x{n}", rpm=n + 1, temperature=0.1, info={"id": n}) for n in range(1000)]
    file = write(yaml.safe_dump({"model_list": many}))
    started = perf_counter()
    draft = draft_of(file)
    assert perf_counter() - started < 5
    assert len(draft.data["models"]) == 500
