"""`headgate check`, `config show` and `config convert`: what an operator asks before starting."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from headgate.config.load import load
from tests.cli.conftest import Run
from tests.harness.process import Processes
from tests.harness.stub import Answer, Stub
from tests.requirements import covers

pytestmark = covers("131")

FIVE_MISTAKES = """\
server: {prot: 8000}
upstreams:
  - {name: one, provider: opnai}
  - {name: one, provider: groq, api_key: "${NOT_SET}"}
models:
  - name: m
    retries: many
    targets: [{upstream: tow, model: x}]
"""
LITELLM = """\
model_list:
  - model_name: a
    litellm_params: {model: groq/x, api_key: sk-literal-0001, no_such_field: 1}
router_settings: {allowed_fails: 2}
"""


@covers("171")
def test_a_file_with_several_mistakes_lists_them_all_with_line_path_and_remedy(run: Run, tmp_path: Path) -> None:
    (tmp_path / "headgate.yaml").write_text(FIVE_MISTAKES)
    done = run("check")
    assert done.code == 2
    heads = [line.partition(": ") for line in done.out.splitlines() if not line.startswith(" ")]
    remedies = [line for line in done.out.splitlines() if line.startswith("    ")]
    assert [(place, rest.partition(":")[0]) for place, _, rest in heads] == [
        ("headgate.yaml:1", "server.prot"),
        ("headgate.yaml:3", "upstreams[0].provider"),
        ("headgate.yaml:4", "upstreams[1].api_key"),
        ("headgate.yaml:4", "upstreams[1].name"),
        ("headgate.yaml:7", "models[0].retries"),
        ("headgate.yaml:8", "models[0].targets[0].upstream"),
    ]
    assert len(remedies) == len(heads)
    assert done.err.endswith("6 problems\n")


def test_the_environments_models_are_checked_without_a_file(run: Run) -> None:
    good = run("check", MODEL_A_UPSTREAM_MODEL="m", OPENAI_API_KEY="k")
    assert (good.code, good.out, good.err) == (0, "", "the environment: good; 1 upstreams, 1 models\n")
    bad = run("check", MODEL_A_UPSTREAM_MODEL="m")
    assert (bad.code, "OPENAI_API_KEY is not set" in bad.out) == (2, True)


@covers("122")
def test_the_bare_command_names_the_environments_models(run: Run) -> None:
    assert "models       A, B of the environment" in run(PROXY_MODEL_KEYS="a,b").out


@covers("129")
def test_notes_are_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "headgate.yaml").write_text("")
    done = run("check", LITELLM_HOST="x", PROXY_MODEL_KEYS="a")
    assert done.code == 0
    assert "note: LITELLM_HOST is retired" in done.err
    assert "note: The models of the environment (MODEL_A_*) are not read, for there is a file." in done.err


@covers("166")
def test_the_report_on_litellms_file_is_grouped_by_grade(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(LITELLM)
    done = run("check", "--config", "config.yaml")
    assert done.code == 0
    grades = [line.partition(":")[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert grades == ["exact", "approximate", "unsupported"]
    assert "model_list[0].model_name" in done.out
    assert "no_such_field" in done.out.partition("unsupported")[2]
    quiet = run("check", "--quiet", "--config", "config.yaml").out
    assert quiet == done.out[done.out.index("approximate:") :]


@covers("166")
def test_serve_tells_what_of_litellms_file_is_not_honoured_exactly(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(LITELLM)
    done = run("serve", "--config", "config.yaml", "--print-config")
    assert "config.yaml: 5 fields: 3 exact, 1 approximate, 1 unsupported" in done.err
    assert "config.yaml:3 model_list[0].litellm_params.no_such_field: unsupported; " in done.err
    assert "model_name" not in done.err


@covers("128")
def test_every_setting_is_shown_with_value_and_source(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HEADGATE_WORKERS=2\n")
    (tmp_path / "headgate.yaml").write_text("server: {host: 127.0.0.2}\n")
    done = run("config", "show", "--reasoning-effort", "low", PORT="4000", LITELLM_MASTER_KEY="sk-VERYSECRET")
    lines = done.out.splitlines()
    assert {
        "server.host = 127.0.0.2  (headgate.yaml:1)",
        "server.port = 4000  (environment PORT)",
        "server.workers = 2  (.env HEADGATE_WORKERS)",
        "server.drain_seconds = 30.0  (default)",
        "parameters.reasoning_effort = low  (command line --reasoning-effort)",
        "auth.master_key = [redacted]  (environment LITELLM_MASTER_KEY)",
    } <= set(lines)
    as_json = json.loads(run("config", "show", "--json", PORT="4000").out)
    assert as_json["server.port"] == {"value": 4000, "source": "environment PORT"}
    assert as_json["routing.timeout"] == {"value": None, "source": "default"}


@covers("127", "config")
def test_any_form_is_converted_to_our_own_with_a_warning_for_literal_keys(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(LITELLM)
    done = run("config", "convert", "config.yaml")
    assert done.code == 0
    assert yaml.safe_load(done.out)["models"][0]["name"] == "a"
    assert "warning: upstreams[0].api_key holds a secret itself" in done.err
    assert "no_such_field: unsupported" in done.err
    (tmp_path / "converted.yaml").write_text(done.out)
    assert load(tmp_path / "converted.yaml").settings == load(tmp_path / "config.yaml").settings


@covers("config")
def test_what_cannot_be_converted_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: 1\na: 2\n")
    done = run("config", "convert", "config.yaml")
    assert (done.code, done.out, "occurs twice" in done.err) == (2, "", True)
    assert run("config", "convert", "missing.yaml").code == 2


def probed(tmp_path: Path, base_url: str, model: str = "stub-small") -> None:
    upstream = {"name": "stub", "provider": "openai_compatible", "base_url": base_url, "api_key": "k"}
    local = {"name": "local", "provider": "local"}
    targets = [{"upstream": "stub", "model": model}, {"upstream": "local", "model": "any"}]
    settings = {"upstreams": [upstream, local], "models": [{"name": "m", "targets": targets}]}
    (tmp_path / "headgate.yaml").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("answer", "model", "message"),
    [
        (None, "stub-small", None),
        (None, "stub-smal", "'stub' does not list the model 'stub-smal'.\n    Did you mean 'stub-small'?"),
        (Answer(status=401), "stub-small", "upstreams[0].api_key: 'stub' refuses the key."),
        (Answer(status=500), "stub-small", "'stub' is not there (upstream_fault)."),
        (Answer(body=b"nonsense"), "stub-small", "'stub' cannot list its models: "),
    ],
)
async def test_probing_asks_the_upstreams(
    processes: Processes, tmp_path: Path, stub: Stub, answer: Answer | None, model: str, message: str | None
) -> None:
    if answer:
        stub.otherwise = lambda request: answer
    probed(tmp_path, stub.url, model)
    done = await asyncio.to_thread(processes.run, "check", "--probe")
    assert done.returncode == (2 if message else 0), done.stderr
    assert (message or "") in done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_probing_tells_an_upstream_that_is_not_there(run: Run, tmp_path: Path, unused_tcp_port: int) -> None:
    probed(tmp_path, f"http://127.0.0.1:{unused_tcp_port}/v1")
    done = run("check", "--probe")
    assert (done.code, "'stub' is not there (upstream_unreachable)." in done.out) == (2, True)
    assert run("check").code == 0
