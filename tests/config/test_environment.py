"""Models without a file: the environment's schema, `--model-spec`, and `--alias` with `--model`."""

from pathlib import Path
from typing import Any

import pytest

from headgate.config import discovery
from headgate.config.load import Loaded, load
from headgate.config.problems import ConfigError
from tests.config.conftest import Write
from tests.requirements import covers

EXAMPLE = {
    "PROXY_MODEL_KEYS": "gpt5,deepseek",
    "MODEL_GPT5_ALIAS": "gpt-5",
    "MODEL_GPT5_UPSTREAM_MODEL": "gpt-5",
    "MODEL_GPT5_REASONING_EFFORT": "medium",
    "MODEL_DEEPSEEK_ALIAS": "deepseek-v3.2",
    "MODEL_DEEPSEEK_UPSTREAM_MODEL": "deepseek-v3.2",
    "MODEL_DEEPSEEK_REASONING_EFFORT": "none",
    "OPENAI_API_BASE": "https://agentrouter.example/v1",
    "OPENAI_API_KEY": "sk-upstream-0001",
}
SAME_AS_FLAGS = (
    "key=gpt5,alias=gpt-5,upstream=gpt-5,reasoning=medium",
    "key=deepseek,alias=deepseek-v3.2,upstream=deepseek-v3.2,reasoning=none",
)


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: True)


def loaded_with(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], **options: Any) -> Loaded:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load(None, options)


def models_of(loaded: Loaded) -> list[tuple[Any, ...]]:
    """(name, provider's id, effort, provider, address, key) of each model's only target."""
    upstreams = {one.name: one for one in loaded.settings.upstreams}
    found: list[tuple[Any, ...]] = []
    for model in loaded.settings.models:
        (target,) = model.targets
        one = upstreams[target.upstream]
        key = one.api_key.get_secret_value() if one.api_key else None
        effort = model.parameters.reasoning_effort
        found.append((model.name, target.model, effort, one.provider, one.base_url, key))
    return found


BASE, KEY = EXAMPLE["OPENAI_API_BASE"], EXAMPLE["OPENAI_API_KEY"]
BOTH = [
    ("gpt-5", "gpt-5", "medium", "openai_compatible", BASE, KEY),
    ("deepseek-v3.2", "deepseek-v3.2", "none", "openai_compatible", BASE, KEY),
]


@covers("122")
def test_both_models_of_the_example_are_offered_through_one_upstream_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = loaded_with(monkeypatch, {**EXAMPLE, "GROQ_API_KEY": "k"})
    assert models_of(loaded) == BOTH
    assert len(loaded.settings.upstreams) == 1
    assert loaded.settings.parameters.drop_unsupported is True
    assert not loaded.draft.notes


@covers("123")
def test_model_specs_give_the_same_as_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {name: value for name, value in EXAMPLE.items() if name.startswith("OPENAI")}
    loaded = loaded_with(monkeypatch, variables, model_spec=SAME_AS_FLAGS)
    assert models_of(loaded) == BOTH
    assert loaded.settings == loaded_with(monkeypatch, EXAMPLE).settings


@covers("122")
def test_without_a_list_the_keys_are_found_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "MODEL_ZETA_UPSTREAM_MODEL": "z",
        "MODEL_ALPHA_UPSTREAM_MODEL": "a",
        "MODEL_MIDDLE_ONE_UPSTREAM_MODEL": "m",
        "OPENAI_API_KEY": "k",
    }
    loaded = loaded_with(monkeypatch, variables)
    assert [model.name for model in loaded.settings.models] == ["a", "m", "z"]


@covers("122")
@pytest.mark.parametrize(
    ("upstream", "name", "model"),
    [
        ("gpt-5", "gpt-5", "gpt-5"),
        ("openai/gpt-5", "gpt-5", "gpt-5"),
        ("deepseek/v3.2", "v3.2", "deepseek/v3.2"),
        ("openai/openai/gpt-5", "openai/gpt-5", "openai/gpt-5"),
    ],
)
def test_without_an_alias_the_name_is_the_model_without_its_vendor(
    monkeypatch: pytest.MonkeyPatch, upstream: str, name: str, model: str
) -> None:
    loaded = loaded_with(monkeypatch, {"MODEL_A_UPSTREAM_MODEL": upstream, "OPENAI_API_KEY": "k"})
    assert [one[:2] for one in models_of(loaded)] == [(name, model)]


@covers("122", "125")
def test_what_is_set_for_one_model_wins_over_what_is_set_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "MODEL_GPT5_UPSTREAM_BASE": "https://own.example/v1",
        "MODEL_GPT5_UPSTREAM_KEY_ENV": "OWN_KEY",
        "OWN_KEY": "sk-own",
    }
    loaded = loaded_with(
        monkeypatch, {**EXAMPLE, **own}, upstream_base="https://flag.example/v1", reasoning_effort="high"
    )
    assert models_of(loaded) == [
        ("gpt-5", "gpt-5", "medium", "openai_compatible", "https://own.example/v1", "sk-own"),
        ("deepseek-v3.2", "deepseek-v3.2", "none", "openai_compatible", "https://flag.example/v1", KEY),
    ]
    assert loaded.settings.parameters.reasoning_effort == "high"
    assert [one.name for one in loaded.settings.upstreams] == ["openai", "openai-2"]


@covers("122", "125")
@pytest.mark.parametrize(
    ("variables", "options", "base"),
    [
        ({}, {}, None),
        ({"OPENAI_API_BASE": "https://a.example"}, {}, "https://a.example"),
        ({"OPENAI_BASE_URL": "https://b.example"}, {}, "https://b.example"),
        ({"OPENAI_API_BASE": "https://a.example"}, {"upstream_base": "https://c.example"}, "https://c.example"),
    ],
)
def test_the_default_address_is_that_of_the_flag_then_the_environment_then_openai(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: dict[str, str], base: str | None
) -> None:
    loaded = loaded_with(monkeypatch, {"MODEL_A_UPSTREAM_MODEL": "m", "OPENAI_API_KEY": "k", **variables}, **options)
    provider = "openai_compatible" if base else "openai"
    assert [one[3:5] for one in models_of(loaded)] == [(provider, base)]


@covers("122")
@pytest.mark.parametrize(
    ("variables", "options", "key"),
    [
        ({}, {}, "sk-default"),
        ({}, {"upstream_key_env": "OTHER"}, "sk-other"),
        ({}, {"upstream_key_env": ""}, None),
        ({"MODEL_A_UPSTREAM_KEY_ENV": ""}, {}, None),
        ({"MODEL_A_UPSTREAM_KEY_ENV": ""}, {"upstream_key_env": "OTHER"}, None),
        ({"MODEL_A_UPSTREAM_KEY_ENV": "OTHER"}, {"upstream_key_env": ""}, "sk-other"),
    ],
)
def test_the_key_comes_from_the_named_variable_and_a_blank_name_is_no_key(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: dict[str, str], key: str | None
) -> None:
    known = {"MODEL_A_UPSTREAM_MODEL": "m", "OPENAI_API_KEY": "sk-default", "OTHER": "sk-other"}
    loaded = loaded_with(monkeypatch, {**known, **variables}, **options)
    assert [one[5] for one in models_of(loaded)] == [key]


@covers("122", "redaction")
def test_keys_stay_references_in_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_with(monkeypatch, EXAMPLE)
    assert loaded.written["upstreams"][0]["api_key"] == "${OPENAI_API_KEY}"
    assert KEY not in str(loaded.written)


@covers("122", "125")
@pytest.mark.parametrize(
    ("variables", "options", "level"),
    [
        ({}, {}, None),
        ({"REASONING_EFFORT": "low"}, {}, "low"),
        ({"REASONING_EFFORT": "low"}, {"reasoning_effort": "high"}, "high"),
    ],
)
def test_the_global_level_reaches_the_models_that_have_none(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: dict[str, str], level: str | None
) -> None:
    loaded = loaded_with(monkeypatch, {"MODEL_A_UPSTREAM_MODEL": "m", "OPENAI_API_KEY": "k", **variables}, **options)
    assert loaded.settings.parameters.reasoning_effort == level
    assert loaded.settings.models[0].parameters.reasoning_effort is None


@covers("124")
def test_alias_and_model_run_a_single_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_with(monkeypatch, {"OPENAI_API_KEY": "k"}, alias="mine", model="gpt-5")
    assert models_of(loaded) == [("mine", "gpt-5", None, "openai", None, "k")]
    alone = loaded_with(monkeypatch, {"OPENAI_API_KEY": "k"}, model="openai/gpt-5")
    assert [one[:2] for one in models_of(alone)] == [("gpt-5", "gpt-5")]


@covers("123", "124", "125")
def test_models_of_the_command_line_replace_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_with(monkeypatch, EXAMPLE, model_spec=("key=x,upstream=x",), model="y")
    assert [model.name for model in loaded.settings.models] == ["x", "y"]
    assert ["MODEL_GPT5_*" in note for note in loaded.draft.notes] == [True]


@covers("122", "123")
def test_beside_a_file_only_the_command_line_adds_or_replaces_models(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    write(
        "upstreams: [{name: openai, provider: ollama}]\n"
        "models:\n"
        "  - {name: kept, targets: [{upstream: openai, model: a}]}\n"
        "  - {name: replaced, hidden: true, targets: [{upstream: openai, model: b}]}\n"
    )
    specs = ("key=a,alias=replaced,upstream=c", "key=b,alias=added,upstream=d")
    loaded = loaded_with(monkeypatch, EXAMPLE, model_spec=specs)
    targets = [(one.name, one.targets[0].upstream, one.targets[0].model) for one in loaded.settings.models]
    assert targets == [("kept", "openai", "a"), ("replaced", "openai-2", "c"), ("added", "openai-2", "d")]
    assert not loaded.settings.models[1].hidden
    assert loaded.settings.parameters.drop_unsupported is None
    assert ["there is a file" in note for note in loaded.draft.notes] == [True]


@covers("122", "130")
def test_the_schema_may_stand_in_dotenv_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    (place / ".env").write_text("\n".join(f"{name}={value}" for name, value in EXAMPLE.items()))
    assert models_of(load()) == BOTH
    loaded = loaded_with(monkeypatch, {"MODEL_GPT5_ALIAS": "renamed"})
    assert [model.name for model in loaded.settings.models] == ["renamed", "deepseek-v3.2"]


@covers("122", "124")
@pytest.mark.parametrize(("given", "streams"), [("true", True), ("0", False), (None, True)])
@pytest.mark.parametrize("flag", [None, True, False])
def test_streaming_is_read_for_printing_only(
    monkeypatch: pytest.MonkeyPatch, given: str | None, streams: bool, flag: bool | None
) -> None:
    variables = EXAMPLE if given is None else {**EXAMPLE, "IS_STREAMING": given}
    loaded = loaded_with(monkeypatch, variables, streaming=flag)
    assert loaded.streams is (streams if flag is None else flag)


@covers("122")
@pytest.mark.parametrize("name", ["MAX_TOKENS", "SKIP_PREREQ_CHECK"])
def test_what_has_no_meaning_here_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (note,) = loaded_with(monkeypatch, {**EXAMPLE, name: "1"}).draft.notes
    assert note.startswith(f"{name} is not read. ")


@covers("124")
@pytest.mark.parametrize("option", ["upstream_base", "upstream_key_env"])
def test_a_default_without_models_is_named(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    (note,) = loaded_with(monkeypatch, {}, **{option: "https://x.example"}).draft.notes
    assert note.startswith(f"--{option.replace('_', '-')} is not used")


@covers("131")
def test_a_model_without_an_upstream_is_an_error_that_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="MODEL_B_UPSTREAM_MODEL is not set"):
        loaded_with(monkeypatch, {"PROXY_MODEL_KEYS": "a,b", "MODEL_A_UPSTREAM_MODEL": "m", "OPENAI_API_KEY": "k"})
