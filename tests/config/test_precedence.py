"""Command line over environment over `.env` over file over default, for settings of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headgate.config import discovery
from headgate.config.draft import Place
from headgate.config.load import FLAGS, Loaded, load
from headgate.config.problems import ConfigError
from headgate.config.variables import names_of_settings
from tests.config.conftest import Write
from tests.requirements import covers

pytestmark = covers("125")

Read = Callable[[Loaded], Any]
SOURCES = ("file", ".env", "environment", "command line")
TABLE: dict[str, tuple[str, str, tuple[str, str, str, Any], Read]] = {
    "port": ("server: {port: %s}", "HEADGATE_PORT", ("1", "2", "3", 4), lambda it: it.settings.server.port),
    "host": ("server: {host: %s}", "API_HOST", ("a", "b", "c", "d"), lambda it: it.settings.server.host),
    "workers": ("server: {workers: %s}", "HEADGATE_WORKERS", ("2", "3", "4", 5), lambda it: it.settings.server.workers),
    "master_key": (
        "auth: {master_key: %s}",
        "LITELLM_MASTER_KEY",
        ("key-1", "key-2", "key-3", "key-4"),
        lambda it: it.settings.auth.master_key and it.settings.auth.master_key.get_secret_value(),
    ),
    "reasoning_effort": (
        "parameters: {reasoning_effort: %s}",
        "REASONING_EFFORT",
        ("minimal", "low", "medium", "high"),
        lambda it: it.settings.parameters.reasoning_effort,
    ),
    "drop_params": (
        "parameters: {drop_unsupported: %s}",
        "HEADGATE_PARAMETERS_DROP_UNSUPPORTED",
        ("true", "false", "true", False),
        lambda it: it.settings.parameters.drop_unsupported,
    ),
    "auth_required": (
        "auth: {required: %s}",
        "REQUIRE_AUTH",
        ("false", "true", "false", True),
        lambda it: it.settings.auth.required,
    ),
    "debug": (
        "logging: {debug: %s}",
        "HEADGATE_LOGGING_DEBUG",
        ("true", "false", "true", False),
        lambda it: it.settings.logging.debug,
    ),
}


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def meant(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, int(value) if str(value).isdigit() else value)


@pytest.mark.parametrize("nearest", range(-1, len(SOURCES)))
@pytest.mark.parametrize("option", TABLE)
def test_each_level_wins_over_those_below(
    option: str, nearest: int, write: Write, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, variable, values, read = TABLE[option]
    write(text % values[0] if nearest >= 0 else "")
    default = read(load())
    if nearest >= 1:
        (place / ".env").write_text(f"{variable}={values[1]}\n")
    if nearest >= 2:
        monkeypatch.setenv(variable, values[2])
    loaded = load(None, {option: values[3]} if nearest >= 3 else {})
    assert read(loaded) == (default if nearest < 0 else meant(values[nearest]))
    source = loaded.draft.place_of(FLAGS[option][0])
    names = {1: variable, 2: variable, 3: FLAGS[option][1]}
    if nearest >= 1:
        assert source == Place(SOURCES[nearest], names[nearest])
    elif nearest == 0:
        assert (source.source, source.line) == ("headgate.yaml", 1)


def test_every_flag_that_is_a_setting_is_in_the_table() -> None:
    assert set(TABLE) == set(FLAGS)


@pytest.mark.parametrize("path", [path for path in names_of_settings() if path[0] == "server"])
def test_every_single_setting_has_a_variable_of_its_path(path: tuple[str | int, ...]) -> None:
    assert names_of_settings()[path][-1] == "HEADGATE_" + "_".join(map(str, path)).upper()


@covers("config")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HEADGATE_PORT", "PORT"),
        ("PORT", "API_PORT"),
        ("HEADGATE_PORT", "HEADGATE_SERVER_PORT"),
        ("HEADGATE_HOST", "API_HOST"),
        ("HEADGATE_MASTER_KEY", "LITELLM_MASTER_KEY"),
        ("REASONING_EFFORT", "HEADGATE_PARAMETERS_REASONING_EFFORT"),
        ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
        ("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
    ],
)
def test_two_names_with_different_values_are_one_error_that_names_both(
    one: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, "k")
    monkeypatch.setenv("AZURE_API_BASE", "https://azure.example")
    monkeypatch.setenv(one, "7")
    monkeypatch.setenv(other, "8")
    with pytest.raises(ConfigError) as caught:
        load()
    assert [problem.message for problem in caught.value.problems if "differ" in problem.message] == [
        f"{one} and {other} differ."
    ]


@covers("config")
def test_two_names_that_agree_or_stand_in_different_sources_are_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_PORT", "7")
    monkeypatch.setenv("PORT", "7")
    (place / ".env").write_text("API_PORT=8\n")
    assert load().settings.server.port == 7


@covers("130")
def test_an_empty_variable_counts_as_not_set_at_every_level(
    write: Write, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("server: {port: 1, host: '${HOST_NAME}'}")
    (place / ".env").write_text("PORT=\nHOST_NAME=from-dotenv\n")
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("HOST_NAME", "")
    server = load().settings.server
    assert (server.port, server.host) == (1, "from-dotenv")


@covers("config")
def test_a_flag_does_not_hide_that_its_section_is_of_the_wrong_shape(write: Write) -> None:
    write("server: 5\nmodels: x\n")
    with pytest.raises(ConfigError) as caught:
        load(None, {"port": 1, "model_spec": ("key=a,upstream=m",)})
    assert {"server", "models"} <= {problem.path for problem in caught.value.problems}
