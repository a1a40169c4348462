"""Mistakes in the environment's schema and in the flags: each names its variable or flag, and a remedy."""

from typing import Any

import pytest

from headgate.config import discovery
from headgate.config.load import gather, load
from headgate.config.problems import ConfigError, Problem
from headgate.config.variables import RETIRED
from tests.requirements import covers

pytestmark = covers("131")

GOOD = {"MODEL_A_UPSTREAM_MODEL": "m", "OPENAI_API_KEY": "k"}


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def problems_with(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], **options: Any) -> list[Problem]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load(None, options)
    return caught.value.problems


@pytest.mark.parametrize(
    ("variables", "source", "message"),
    [
        (
            {**GOOD, "MODEL_A_REASONING_EFFORT": "banana"},
            "(environment MODEL_A_REASONING_EFFORT)",
            "'none', 'minimal', 'low', 'medium', 'high' or 'xhigh'. It is 'banana'",
        ),
        ({**GOOD, "REASONING_EFFORT": "banana"}, "(environment REASONING_EFFORT)", "It is 'banana'"),
        (
            {**GOOD, "MODEL_B_UPSTREAM_MODEL": "x", "MODEL_B_ALIAS": "m"},
            "(environment MODEL_B_ALIAS)",
            "The name 'm' is taken already, at environment MODEL_A_UPSTREAM_MODEL.",
        ),
        ({**GOOD, "PROXY_MODEL_KEYS": "a, A"}, "(environment PROXY_MODEL_KEYS)", "A is listed twice."),
        (
            {**GOOD, "PROXY_MODEL_KEYS": "a,my-b"},
            "(environment PROXY_MODEL_KEYS)",
            "The model MY_B is listed, but MODEL_MY_B_UPSTREAM_MODEL is not set.",
        ),
        (
            {"MODEL_A_UPSTREAM_MODEL": "m"},
            "(environment OPENAI_API_KEY)",
            "The variable OPENAI_API_KEY is not set.",
        ),
        (
            {**GOOD, "MODEL_A_UPSTREAM_KEY_ENV": "NO_SUCH"},
            "(environment MODEL_A_UPSTREAM_KEY_ENV)",
            "The variable NO_SUCH is not set.",
        ),
        (
            {**GOOD, "MODEL_A_UPSTREAM_BASE": "host:80"},
            "(environment MODEL_A_UPSTREAM_BASE)",
            "The address is not an http or https URL.",
        ),
        (
            {**GOOD, "OPENAI_BASE_URL": "https://a.example", "OPENAI_API_BASE": "https://b.example"},
            "(environment OPENAI_BASE_URL)",
            "OPENAI_BASE_URL and OPENAI_API_BASE differ.",
        ),
        ({**GOOD, "IS_STREAMING": "maybe"}, "(environment IS_STREAMING)", "IS_STREAMING is neither true nor false"),
    ],
)
def test_a_mistake_in_the_environment_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], source: str, message: str
) -> None:
    (found,) = problems_with(monkeypatch, variables)
    assert (found.file, message in found.message) == (source, True), found
    assert found.remedy


@covers("redaction")
@pytest.mark.parametrize("name", ["MODEL_A_UPSTREAM_KEY_ENV", "flag", "spec"])
def test_a_key_in_place_of_its_variables_name_is_an_error_that_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret = "sk-VERY-SECRET"
    options: dict[str, Any] = {"upstream_key_env": secret} if name == "flag" else {}
    if name == "spec":
        options = {"model_spec": (f"key=a,upstream=m,key_env={secret}",)}
    found = problems_with(monkeypatch, {**GOOD, name: secret}, **options)
    assert "is not the name of a variable" in found[0].message
    assert "SECRET" not in str(found)


@covers("123")
@pytest.mark.parametrize(
    ("spec", "message", "remedy"),
    [
        ("upstream=m", "The field 'key' is missing.", "Add key=…."),
        ("key=a", "The field 'upstream' is missing.", "Add upstream=…."),
        ("key=a,upstream=m,reasonning=low", "There is no field 'reasonning' of a model.", "Did you mean 'reasoning'?"),
        ("key=a,upstream=m,low", "There is no field 'low' of a model.", "Write key=…"),
        ("key=a,key=b,upstream=m", "The field 'key' occurs twice.", "Give it once."),
        ("key=a,upstream=m,reasoning=banana", "It is 'banana'.", "Choose one of them."),
        ("key=a,upstream=m,reasoning=hihg", "It is 'hihg'.", "Did you mean 'high'?"),
    ],
)
def test_a_mistake_in_a_spec_names_it(monkeypatch: pytest.MonkeyPatch, spec: str, message: str, remedy: str) -> None:
    (found,) = problems_with(monkeypatch, {"OPENAI_API_KEY": "k"}, model_spec=(spec,))
    assert found.file == f"(command line --model-spec {spec.partition(',')[0]})"
    assert message in found.message
    assert found.remedy.startswith(remedy)


@covers("123")
def test_two_specs_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = ("key=a,alias=m,upstream=x", "key=b,alias=m,upstream=y")
    (found,) = problems_with(monkeypatch, {"OPENAI_API_KEY": "k"}, model_spec=specs)
    assert (found.file, "at command line --model-spec key=a" in found.message) == (
        "(command line --model-spec key=b)",
        True,
    )


@covers("124")
def test_an_alias_without_a_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = problems_with(monkeypatch, {"OPENAI_API_KEY": "k"}, alias="mine")
    assert (found.file, "--model" in found.remedy) == ("(command line --alias)", True)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("MODEL_B_ALIAS", "Add B to PROXY_MODEL_KEYS."),
        ("MODEL_A_UPSTREAM_MODL", "Did you mean 'MODEL_A_UPSTREAM_MODEL'?"),
        ("MODEL_A_COLOUR", "Did you mean"),
    ],
)
def test_a_variable_that_is_not_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, remedy: str) -> None:
    for key, value in {**GOOD, "PROXY_MODEL_KEYS": "a", name: "x"}.items():
        monkeypatch.setenv(key, value)
    (note,) = load().draft.notes
    assert note.startswith(f"{name} is not read. {remedy}")


def test_a_model_that_lacks_its_upstream_is_named_where_there_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {**GOOD, "MODEL_B_ALIAS": "b"}.items():
        monkeypatch.setenv(key, value)
    assert load().draft.notes == ["MODEL_B_ALIAS is not read. Set MODEL_B_UPSTREAM_MODEL."]


@covers("129")
@pytest.mark.parametrize("name", RETIRED)
def test_a_retired_variable_is_named_with_its_replacement(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert load().draft.notes == [f"{name} is retired and not read. {RETIRED[name]}"]


@covers("129")
def test_the_six_retired_variables_of_the_launcher_are_known() -> None:
    names = ("MODEL_ALIAS", "HOST", "WORKERS", "DEBUG", "DROP_PARAMS")
    assert set(RETIRED) == {"OPENAI_MODEL", *(f"LITELLM_{name}" for name in names)}


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "PROXY_MODEL_KEYS": "a,b,c",
        "MODEL_A_UPSTREAM_MODEL": "m",
        "MODEL_A_REASONING_EFFORT": "banana",
        "MODEL_B_UPSTREAM_MODEL": "m",
        "HEADGATE_PORT": "1",
        "PORT": "2",
    }
    found = problems_with(monkeypatch, variables)
    assert sorted(one.file for one in found) == [
        "(environment HEADGATE_PORT)",
        "(environment MODEL_A_REASONING_EFFORT)",
        "(environment MODEL_B_UPSTREAM_MODEL)",
        "(environment OPENAI_API_KEY)",
        "(environment PROXY_MODEL_KEYS)",
    ]


def test_gathering_alone_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_MODEL_KEYS", "a")
    assert len(gather().draft.problems) == 1
