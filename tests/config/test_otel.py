"""OpenTelemetry's variables as settings of traces."""

from pathlib import Path

import pytest

from headgate.config.load import load
from headgate.config.problems import ConfigError
from headgate.config.tree import Settings
from tests.requirements import covers

pytestmark = covers("135", "125")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder, and with no such variable from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path))
    (tmp_path / "headgate.yaml").write_text("tracing: {headers: {x-a: from-file, x-b: from-file}}\n")


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load().settings


def test_the_standard_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing = loaded(
        monkeypatch,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc,x-a=from-variable",
        OTEL_SERVICE_NAME="gate-1",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=prod,team=blue",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.25",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    ).tracing
    assert tracing.address == "http://127.0.0.1:4318/v1/traces"
    assert {name: value.get_secret_value() for name, value in tracing.headers.items()} == {
        "authorization": "Bearer abc",
        "x-a": "from-variable",
        "x-b": "from-file",
    }
    assert tracing.resource == {"deployment.environment": "prod", "team": "blue"}
    assert (tracing.service_name, tracing.sampler, tracing.ratio) == ("gate-1", "parentbased_traceidratio", 0.25)


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_traces_are_switched_off_as_everywhere(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    settings = loaded(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", **{name: value})
    assert settings.tracing.address == ""


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf only"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no-equals", "without `=`"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "endpoint"),
    ],
)
def test_a_wrong_value_is_told_with_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(monkeypatch, **{name: value})
    text = str(raised.value)
    assert name in text
    assert told in text


def test_a_variable_that_is_not_read_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "5")
    assert "OTEL_BSP_MAX_QUEUE_SIZE is not read." in load().draft.notes


def test_headers_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, OTEL_EXPORTER_OTLP_HEADERS="x-key=very-secret-value")
    assert "very-secret-value" not in repr(settings)


@covers("127")
def test_a_callback_of_litellm_for_traces_is_told_how_it_is_set_here(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model_list: []\nlitellm_settings: {callbacks: [otel, langfuse]}\n")
    grades = {finding.place.name: finding.grade for finding in load(file).draft.findings}
    assert grades["litellm_settings.callbacks[0]"] == "approximate"
    assert grades["litellm_settings.callbacks[1]"] == "unsupported"
