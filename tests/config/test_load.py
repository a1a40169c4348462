"""Where settings come from, and which of two wins."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.config import discovery
from headgate.config.discovery import LOCAL_EMBEDDING_NAME, LOCAL_MODEL_NAME
from headgate.config.load import load
from headgate.config.problems import ConfigError
from headgate.config.tree import Settings
from headgate.upstreams.registry import PROVIDERS
from tests.requirements import covers

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def master_of(settings: Settings) -> str | None:
    return settings.auth.master_key.get_secret_value() if settings.auth.master_key else None


@covers("130", "config")
@pytest.mark.parametrize(
    ("sources", "port"),
    [
        ((), 8000),
        (("file",), 1001),
        (("file", "dotenv"), 1002),
        (("file", "dotenv", "environment"), 1003),
        (("file", "dotenv", "environment", "option"), 1004),
        (("file", "option"), 1004),
        (("dotenv", "environment"), 1003),
    ],
)
def test_the_nearer_source_wins(
    sources: tuple[str, ...], port: int, write: Write, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "file" in sources:
        write("server: {port: 1001}")
    if "dotenv" in sources:
        (place / ".env").write_text("HEADGATE_PORT=1002\n")
    if "environment" in sources:
        monkeypatch.setenv("HEADGATE_PORT", "1003")
    options = {"port": 1004 if "option" in sources else None, "host": None}
    assert load(None, options).settings.server.port == port


@covers("130")
def test_dotenv_is_read_but_never_overrides_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".env").write_text("# a comment\nOPENAI_API_KEY='from-dotenv'\nGROQ_API_KEY=from-dotenv\nEMPTY=\n")
    monkeypatch.setenv("GROQ_API_KEY", "from-environment")
    keys = {one.name: one.api_key.get_secret_value() for one in load().settings.upstreams if one.api_key}
    assert keys == {"openai": "from-dotenv", "groq": "from-environment"}


@covers("130", "config")
def test_the_file_sees_the_variables_of_dotenv(write: Write, place: Path) -> None:
    (place / ".env").write_text("WHERE=http://127.0.0.1:9/v1\n")
    (upstream,) = load(write("upstreams: [{name: a, provider: vllm, base_url: '${WHERE}'}]")).settings.upstreams
    assert upstream.base_url == "http://127.0.0.1:9/v1"


@covers("environment")
@pytest.mark.parametrize(
    ("name", "variable"),
    [
        (row.name, variable)
        for row in PROVIDERS.values()
        for variable in row.key_variables
        if row.offered_by_key and row.base_url
    ],
)
def test_a_providers_key_is_enough_to_offer_all_it_has(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "the-key")
    (upstream,) = load().settings.upstreams
    assert (upstream.name, upstream.provider, upstream.offer_all) == (name, name, True)
    assert upstream.api_key is not None
    assert upstream.api_key.get_secret_value() == "the-key"


@covers("environment")
def test_a_provider_without_an_address_is_offered_once_both_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "the-key")
    assert not load().settings.upstreams
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://a.example")
    (upstream,) = load().settings.upstreams
    assert (upstream.name, upstream.base_url) == ("azure", "https://a.example")


@covers("environment")
def test_an_address_in_the_environment_replaces_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    (upstream,) = load().settings.upstreams
    assert upstream.base_url == "http://127.0.0.1:9/v1"


@covers("environment")
def test_the_packaged_model_is_offered_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: True)
    monkeypatch.setattr(discovery, "has_packaged_embeddings", lambda: True)
    settings = load().settings
    assert [one.provider for one in settings.upstreams] == ["local"]
    assert [model.name for model in settings.models] == [LOCAL_MODEL_NAME, LOCAL_EMBEDDING_NAME]
    assert (settings.knowledge.embedding_model, settings.knowledge.chunk_size) == (LOCAL_EMBEDDING_NAME, 800)
    monkeypatch.setattr(discovery, "has_packaged_embeddings", lambda: False)
    settings = load().settings
    assert [model.name for model in settings.models] == [LOCAL_MODEL_NAME]
    assert settings.knowledge.embedding_model is None


@covers("config", "environment")
def test_an_upstream_of_the_file_takes_its_providers_usual_key(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "from-environment")
    text = "upstreams: [{name: a, provider: groq}, {name: b, provider: groq, api_key: own}]"
    keys = [one.api_key.get_secret_value() for one in load(write(text)).settings.upstreams if one.api_key]
    assert keys == ["from-environment", "own"]


@covers("config")
def test_the_file_is_looked_for_in_four_places_in_order(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
    assert load().file is None
    in_home = place / "config" / "headgate" / "headgate.yaml"
    in_home.parent.mkdir(parents=True)
    in_home.write_text("server: {port: 1}")
    assert load().file == in_home
    (place / "headgate.yaml").write_text("server: {port: 2}")
    assert load().settings.server.port == 2
    (place / "named.yaml").write_text("server: {port: 3}")
    monkeypatch.setenv("HEADGATE_CONFIG", "named.yaml")
    assert load().settings.server.port == 3
    (place / "given.yaml").write_text("server: {port: 4}")
    assert load(Path("given.yaml")).settings.server.port == 4


@covers("config")
@pytest.mark.parametrize("given", ["option", "variable"])
def test_a_named_file_that_is_missing_is_an_error(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_CONFIG", "missing.yaml" if given == "variable" else "")
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load(Path("missing.yaml") if given == "option" else None)


@covers("109", "config")
def test_the_master_key_comes_from_either_variable_and_wins_over_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("auth: {master_key: from-file}")
    assert master_of(load().settings) == "from-file"
    for name in ("LITELLM_MASTER_KEY", "HEADGATE_MASTER_KEY"):
        monkeypatch.setenv(name, "from-environment")
        assert master_of(load().settings) == "from-environment"


@covers("109", "config", "redaction")
def test_two_master_keys_that_differ_are_an_error_that_names_both_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_MASTER_KEY", "sk-master-number-one")
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-master-number-two")
    with pytest.raises(ConfigError) as caught:
        load()
    assert "HEADGATE_MASTER_KEY and LITELLM_MASTER_KEY" in str(caught.value)
    assert "number" not in str(caught.value)


@covers("109")
def test_tokens_of_the_environment_are_added_to_those_of_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKENS", " one, two ,,")
    tokens = load(write("auth: {tokens: [zero]}")).settings.auth.tokens
    assert [token.get_secret_value() for token in tokens] == ["zero", "one", "two"]


@covers("109")
@pytest.mark.parametrize(
    ("value", "required"),
    [("false", False), ("FALSE ", False), ("0", False), ("off", False), ("true", True), ("1", True), ("on", True)],
)
def test_require_auth_is_read_over_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, value: str, required: bool
) -> None:
    write(f"auth: {{required: {str(not required).lower()}}}")
    monkeypatch.setenv("REQUIRE_AUTH", value)
    assert load().settings.auth.required is required


@covers("109", "config")
def test_require_auth_that_is_neither_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_AUTH", "flase")
    with pytest.raises(ConfigError, match="REQUIRE_AUTH"):
        load()


@covers("config")
@pytest.mark.parametrize(
    ("name", "value"), [("HEADGATE_PORT", "x"), ("HEADGATE_PORT", "70000"), ("HEADGATE_WORKERS", "0")]
)
def test_a_wrong_variable_is_named_with_its_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=value) as caught:
        load()
    assert name.removeprefix("HEADGATE_").lower() in str(caught.value)


@covers("130", "config")
def test_a_dotenv_that_is_no_text_is_an_error_with_a_remedy(place: Path) -> None:
    (place / ".env").write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"\.env"):
        load()
