"""Every setting in force with its source, and no secret among them."""

from pathlib import Path
from typing import Any

import pytest

from headgate.config import discovery
from headgate.config.effective import effective
from headgate.config.load import Loaded, load
from headgate.config.secrets import concealed, may_be_secret, shown_value
from tests.config.conftest import Write
from tests.requirements import covers

pytestmark = covers("128")


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def shown(loaded: Loaded) -> dict[str, tuple[Any, str]]:
    return {one.path: (one.value, str(one.place)) for one in effective(loaded)}


def test_each_value_comes_with_its_source(write: Write, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        "server:\n  host: 127.0.0.2\n  limits: {body: 2048}\n"
        "upstreams:\n  - name: a\n    provider: groq\n"
        "models:\n  - name: m\n    targets: [{upstream: a, model: x}]\n"
    )
    (place / ".env").write_text("HEADGATE_WORKERS=3\nHTTPS_PROXY=http://me:pw@proxy.example\n")
    monkeypatch.setenv("PORT", "4000")
    monkeypatch.setenv("GROQ_API_KEY", "k")
    found = shown(load(None, {"reasoning_effort": "low"}))
    assert {path: found[path] for path in found if found[path][1] != "default"} == {
        "server.host": ("127.0.0.2", "headgate.yaml:2"),
        "server.port": (4000, "environment PORT"),
        "server.workers": (3, ".env HEADGATE_WORKERS"),
        "server.limits.body": (2048, "headgate.yaml:3"),
        "upstreams[0].name": ("a", "headgate.yaml:5"),
        "upstreams[0].provider": ("groq", "headgate.yaml:6"),
        "upstreams[0].api_key": ("[redacted]", "environment GROQ_API_KEY"),
        "upstreams[0].proxy": ("http://[redacted]@proxy.example", ".env HTTPS_PROXY"),
        "models[0].name": ("m", "headgate.yaml:8"),
        "models[0].targets[0].upstream": ("a", "headgate.yaml:9"),
        "models[0].targets[0].model": ("x", "headgate.yaml:9"),
        "parameters.reasoning_effort": ("low", "command line --reasoning-effort"),
    }
    assert found["server.drain_seconds"] == (30.0, "default")
    assert found["models[0].retries"] == (None, "default")


def test_what_the_environment_offers_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "k")
    found = shown(load())
    assert found["upstreams[0].name"] == ("groq", "environment GROQ_API_KEY")
    assert found["upstreams[0].api_key"] == ("[redacted]", "environment GROQ_API_KEY")


@covers("redaction")
def test_no_secret_is_shown_wherever_it_stands(write: Write) -> None:
    secret = "VERYSECRET"
    write(
        f"""
auth: {{master_key: {secret}, tokens: [{secret}]}}
upstreams:
  - name: a
    provider: litellm
    litellm_provider: bedrock
    base_url: https://me:{secret}@a.example/v1?api-key={secret}&x=1
    proxy: http://{secret}@proxy.example
    api_key: {secret}
    headers: {{x-team: {secret}}}
    options: {{aws_secret_access_key: {secret}, nested: {{auth_token: [{secret}]}}, region: eu}}
models:
  - name: m
    targets: [{{upstream: a, model: x}}]
    info: {{password: {secret}, text: sk-{secret}}}
    parameters: {{defaults: {{api_key: {secret}, extra_headers: {{a: {secret}}}}}}}
"""
    )
    found = shown(load())
    assert secret not in str(found)
    assert found["upstreams[0].base_url"][0] == "https://[redacted]@a.example/v1?api-key=[redacted]&x=1"
    assert found["upstreams[0].options.region"][0] == "eu"
    assert found["upstreams[0].options.nested.auth_token[0]"][0] == "[redacted]"


@covers("redaction")
@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (("server", "host"), "127.0.0.1", "127.0.0.1"),
        (("upstreams", 0, "options", "max_tokens"), 5, 5),
        (("upstreams", 0, "api_key"), None, None),
        (("models", 0, "name"), "key-model", "key-model"),
        (("upstreams", 0, "base_url"), "http://[broken", "http://[broken"),
    ],
)
def test_what_is_no_secret_is_shown(path: tuple[str | int, ...], value: Any, wanted: Any) -> None:
    assert shown_value(path, value) == wanted


@covers("redaction")
@pytest.mark.parametrize("name", ["x-api-key", "Authorization", "aws_session_token", "PASSWORD", "client_secret"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert may_be_secret(name)
    assert not may_be_secret("region")


@covers("redaction")
@pytest.mark.parametrize("text", ["https://a.example/v1?x=1", "plain", "http://127.0.0.1:8000/v1"])
def test_an_address_without_a_secret_stays(text: str) -> None:
    assert concealed(text) == text
