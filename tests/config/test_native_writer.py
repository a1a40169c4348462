"""A draft as headgate.yaml: loading it gives the same settings, and references stay references."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from headgate.config import discovery
from headgate.config.draft import Draft, Place
from headgate.config.load import draft_of, load
from headgate.config.native_writer import literal_secrets, to_yaml
from headgate.config.tree import Settings
from headgate.upstreams.registry import PROVIDERS
from tests.config.conftest import Write
from tests.requirements import covers

pytestmark = covers("config")
ROOT = Path(__file__).parents[2]
GOOD_FILES = [file for file in sorted((ROOT / "tests/golden/litellm").glob("*.yaml")) if "wrong" not in file.stem]

EXAMPLES = {
    "references": "upstreams: [{name: a, provider: groq, api_key: '${ONE:-x}', headers: {x: 'a-${ONE}-$${ONE}'}}]\n",
    "anchors": "models:\n  - &m {name: a, targets: [{upstream: u, model: x}]}\n  - {<<: *m, name: b}\n"
    "upstreams: [{name: u, provider: ollama}]\n",
    "words": "models: [{name: 'yes', targets: [{upstream: u, model: '123', tags: ['null', '~', é]}]}]\n"
    "upstreams: [{name: u, provider: ollama}]\n",
    "prices": "models: [{name: a, price: {input: 0.1, output: '0.12345678901234567890'}, "
    "targets: [{upstream: u, model: x}]}]\nupstreams: [{name: u, provider: ollama}]\n",
    "example": (ROOT / "conf/headgate.yaml").read_text(),
}


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def reloaded(text: str, place: Path) -> Settings:
    (place / "converted.yaml").write_text(text)
    return load(place / "converted.yaml").settings


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_written_loads_to_the_same_settings(
    name: str, write: Write, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE", "1")
    file = write(EXAMPLES[name])
    assert reloaded(to_yaml(draft_of(file)), place) == load(file).settings


@covers("redaction")
def test_references_are_kept(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "VERYSECRET")
    text = to_yaml(draft_of(write(EXAMPLES["references"])))
    assert yaml.safe_load(text)["upstreams"][0]["api_key"] == "${ONE:-x}"
    assert "VERYSECRET" not in text


@covers("127")
@pytest.mark.parametrize("file", GOOD_FILES, ids=lambda file: file.stem)
def test_every_litellm_file_is_converted_without_loss(file: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [name for row in PROVIDERS.values() for name in row.key_variables]
    for name in (*usual, *re.findall(r"os\.environ/(\w+)", file.read_text())):
        monkeypatch.setenv(name, "http://a.example/v1" if "BASE" in name or "URL" in name else "1")
    assert reloaded(to_yaml(draft_of(file)), place) == load(file).settings


def draft_with_variables() -> Draft:
    """As a foreign file makes it: exact prices, and variables of its own."""
    draft = Draft(
        {
            "upstreams": [
                {"name": "a", "provider": "groq"},
                {"name": "b", "provider": "vllm", "base_url": "${WHERE}", "api_key": "${ODD:-x}"},
            ],
            "models": [
                {
                    "name": "m",
                    "price": {"input": Decimal("0.15"), "output": Decimal("0.1234567890123456789012")},
                    "targets": [{"upstream": "a", "model": "x"}],
                }
            ],
        },
        {(): Place("config.yaml", "", 1)},
    )
    draft.variables = {"GROQ_API_KEY": "own", "WHERE": "http://a.example", "ODD": "{x}${ONE}"}
    return draft


def test_variables_of_the_file_become_defaults(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = to_yaml(draft_with_variables())
    settings = reloaded(text, place)
    keys = [one.api_key.get_secret_value() for one in settings.upstreams if one.api_key]
    assert keys == ["own", "{x}${ONE}"]
    assert settings.upstreams[1].base_url == "http://a.example"
    monkeypatch.setenv("WHERE", "http://b.example")
    monkeypatch.setenv("GROQ_API_KEY", "outer")
    settings = reloaded(text, place)
    assert settings.upstreams[1].base_url == "http://b.example"
    assert settings.upstreams[0].api_key is not None
    assert settings.upstreams[0].api_key.get_secret_value() == "outer"


def test_prices_are_exact(place: Path) -> None:
    price = reloaded(to_yaml(draft_with_variables()), place).models[0].price
    assert price is not None
    assert (price.input, price.output) == (Decimal("0.15"), Decimal("0.1234567890123456789012"))


@covers("redaction")
def test_secrets_that_stand_in_a_draft_are_named(write: Write) -> None:
    file = write(
        "auth: {master_key: a, tokens: ['${T}', b]}\n"
        "upstreams:\n"
        "  - {name: a, provider: groq, api_key: c, headers: {x: '${H}', y: d}}\n"
        "  - {name: b, provider: groq, api_key: '${K}', base_url: 'https://me:pw@b.example'}\n"
    )
    assert list(literal_secrets(draft_of(file))) == [
        "auth.master_key",
        "auth.tokens[1]",
        "upstreams[0].api_key",
        "upstreams[0].headers.y",
        "upstreams[1].base_url",
    ]
