"""headgate.yaml: all mistakes at once, each with file, line, path and remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.config.load import load
from headgate.config.problems import ConfigError, Problem
from tests.requirements import covers

pytestmark = covers("config")
Problems = Callable[[str], list[Problem]]
Write = Callable[[str], Path]

SHAPE_MISTAKES = """\
server:
  prot: 8000
  workers: many
upstreams:
  - provider: openai
    name: a/b
    timeout: 5
models:
  - name: m
    targets: []
    retries: 99
  - name: m
    targets: [{upstream: a, model: x}]
"""
NAME_MISTAKES = """\
upstreams:
  - {name: one, provider: opnai, api_key: k}
  - {name: one, provider: openai}
  - {name: two, provider: vllm}
models:
  - name: m
    targets:
      - {upstream: tow, model: x}
"""


def test_all_mistakes_of_shape_are_told_at_once(problems: Problems) -> None:
    found = problems(SHAPE_MISTAKES)
    assert [(one.line, one.path) for one in found] == [
        (2, "server.prot"),
        (3, "server.workers"),
        (5, "upstreams[0]"),
        (6, "upstreams[0].name"),
        (7, "upstreams[0].timeout"),
        (10, "models[0].targets"),
        (11, "models[0].retries"),
        (12, "models[1].name"),
        (13, "models[1].targets[0].upstream"),
    ]
    assert found[0].remedy == "Did you mean 'port'?"
    assert "'many'" in found[1].message


def test_all_mistakes_of_names_are_told_at_once(problems: Problems) -> None:
    found = problems(NAME_MISTAKES)
    assert [(one.line, one.path, one.remedy) for one in found] == [
        (2, "upstreams[0].provider", "Did you mean 'openai'?"),
        (3, "upstreams[1].name", "Choose another name."),
        (3, "upstreams[1]", "Set OPENAI_API_KEY, or add `api_key:`."),
        (4, "upstreams[2]", "Add `base_url:`."),
        (8, "models[0].targets[0].upstream", "Did you mean 'two'?"),
    ]
    assert {one.file.rpartition("/")[2] for one in found} == {"headgate.yaml"}


def test_a_problem_reads_as_file_line_path_message_and_remedy(write: Write) -> None:
    file = write("server: {prot: 1}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:1: server.prot: There is no such setting.\n    Did you mean 'port'?"


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("sever: {}", "sever", "Did you mean 'server'?"),
        ("server: {limits: {bdoy: 1}}", "server.limits.bdoy", "Did you mean 'body'?"),
        ("auth: {tokns: []}", "auth.tokns", "Did you mean 'tokens'?"),
        ("logging: {request: true}", "logging.request", "Did you mean 'requests'?"),
        ("upstreams: [{name: a, provider: ollama, keys: 1}]", "upstreams[0].keys", None),
        (
            "upstreams: [{name: a, provider: ollama, timeouts: {raed: 1}}]",
            "upstreams[0].timeouts.raed",
            "Did you mean 'read'?",
        ),
        ("upstreams: [{name: a, provider: local, local: {pth: x}}]", "upstreams[0].local.pth", "Did you mean 'path'?"),
        (
            "models: [{name: a, target: [], targets: [{upstream: u, model: b}]}]\n"
            "upstreams: [{name: u, provider: ollama}]",
            "models[0].target",
            "Did you mean 'targets'?",
        ),
        (
            "models: [{name: a, targets: [{upstream: u, model: b, wieght: 1}]}]\n"
            "upstreams: [{name: u, provider: ollama}]",
            "models[0].targets[0].wieght",
            "Did you mean 'weight'?",
        ),
    ],
)
def test_an_unknown_setting_gets_the_nearest_known_one(
    problems: Problems, text: str, path: str, remedy: str | None
) -> None:
    (problem,) = problems(text)
    assert (problem.path, problem.message) == (path, "There is no such setting.")
    assert remedy is None or problem.remedy == remedy


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("server: 5", "server"),
        ("server:", "server"),
        ("models: x", "models"),
        ("models: [5]", "models[0]"),
        ("upstreams: {a: b}", "upstreams"),
        ("upstreams: [{name: a, provider: [x]}]", "upstreams[0].provider"),
        ("upstreams: [{name: a, provider: ollama, base_url: 5}]", "upstreams[0].base_url"),
        ("server: {port: 70000}", "server.port"),
        ("server: {port: '${PORT:-x}'}", "server.port"),
        ("models: [{name: a, targets: [{model: b}]}]", "models[0].targets[0].upstream"),
        ("upstreams: [{name: a, provider: ollama, timeouts: {read: 0}}]", "upstreams[0].timeouts.read"),
        ("upstreams: [{provider: ollama}]", "upstreams[0].name"),
        ("upstreams: [{name: a}]", "upstreams[0].provider"),
        ("1: 2", "[1]"),
        ("upstreams: [{name: a, provider: ollama, base_url: 'localhost:1'}]", "upstreams[0].base_url"),
        ("upstreams: [{name: a, provider: ollama, base_url: 'http://[b'}]", "upstreams[0].base_url"),
        ("upstreams: [{name: a, provider: ollama, base_url: 'https://'}]", "upstreams[0].base_url"),
        ("upstreams: [{name: a, provider: litellm, base_url: 'https://a:99999/v1'}]", "upstreams[0].base_url"),
        ("upstreams: [{name: a, provider: ollama, proxy: 'http://[b'}]", "upstreams[0].proxy"),
        ("upstreams: [{name: a, provider: ollama, proxy: 'socks5://b'}]", "upstreams[0].proxy"),
        ("models: [{name: a, targets: [{upstream: b, model: c}]}]", "models[0].targets[0].upstream"),
    ],
)
def test_a_wrong_value_is_told_with_its_path(problems: Problems, text: str, path: str) -> None:
    (problem,) = problems(text)
    assert (problem.line, problem.path) == (1, path)
    assert problem.message
    assert problem.remedy


@covers("redaction")
@pytest.mark.parametrize(
    "text",
    [
        "auth: VERYSECRET",
        "auth: {tokens: VERYSECRET}",
        "auth: {tokens: [{a: VERYSECRET}]}",
        "auth: {master_key: [VERYSECRET]}",
        "auth: {required: VERYSECRET}",
        "upstreams: [{name: a, provider: openai, api_key: [VERYSECRET]}]",
        "upstreams: [{name: a, provider: openai, api_key: k, headers: VERYSECRET}]",
        "upstreams: [{name: a, provider: openai, api_key: k, headers: {x: [VERYSECRET]}}]",
    ],
)
def test_a_misplaced_key_is_not_repeated_in_the_message(problems: Problems, text: str) -> None:
    assert not any("VERYSECRET" in str(problem) for problem in problems(text))


def test_numbers_and_truth_may_come_from_variables(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9001")
    settings = load(write("server: {port: '${PORT}', metrics_public: '${PUBLIC:-true}'}")).settings
    assert (settings.server.port, settings.server.metrics_public) == (9001, True)
