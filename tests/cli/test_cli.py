"""The command line: instant, data on standard output, messages on standard error, tracebacks only when asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.core.version import __version__
from tests.harness.process import Processes
from tests.requirements import covers

pytestmark = covers("cli")

GOOD = "upstreams: [{name: a, provider: ollama}]\nmodels: [{name: m, targets: [{upstream: a, model: x}]}]\n"
BAD = "sever: 1\nmodels: [{name: m, targets: []}]\n"
HEAVY = {"aiohttp", "starlette", "uvicorn", "pydantic", "uvloop", "httptools", "yaml", "prometheus_client", "asyncio"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


@pytest.mark.parametrize("args", [["--version"], ["-V"], ["--help"], ["-h"]])
def test_the_version_and_the_help_load_nothing_heavy(args: list[str]) -> None:
    program = (
        "import sys\n"
        "from headgate.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True, timeout=30
    )
    assert not set(done.stderr.split()) & HEAVY
    assert done.stdout


def test_the_version_is_told(processes: Processes) -> None:
    done = processes.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"headgate, version {__version__}\n", "")


def test_the_help_names_every_command(processes: Processes) -> None:
    done = processes.run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("serve", "check", "config", "completion", "--debug"))
    for command in ("serve", "check", "config", "completion"):
        assert processes.run(command, "--help").returncode == 0


def test_the_bare_command_says_what_is_there_and_what_to_do_next(processes: Processes, folder: Path) -> None:
    done = processes.run()
    assert done.returncode == 0
    assert str(folder / "data") in done.stdout
    assert "Next:" in done.stdout
    (folder / "headgate.yaml").write_text(GOOD)
    done = processes.run(OPENAI_API_KEY="sk-secret-of-the-test")
    assert "headgate.yaml" in done.stdout
    assert "OPENAI_API_KEY" in done.stdout
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "args", [["nope"], ["--nope"], ["serve", "--nope"], ["serve", "--port", "x"], ["config", "nope"]]
)
def test_wrong_usage_ends_with_2_and_a_message(processes: Processes, args: list[str]) -> None:
    done = processes.run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error:" in done.stderr
    assert "Traceback" not in done.stderr


@covers("config")
def test_check_tells_a_good_file_from_a_bad_one(processes: Processes, folder: Path) -> None:
    good = processes.run("check", "--config", "good.yaml")
    assert (good.returncode, good.stdout) == (0, "")
    assert "1 upstreams, 1 models" in good.stderr
    bad = processes.run("check", "--config", "bad.yaml")
    assert bad.returncode == 2
    assert [line for line in bad.stdout.splitlines() if not line.startswith(" ")] == [
        "bad.yaml:1: sever: There is no such setting.",
        "bad.yaml:2: models[0].targets: List should have at least 1 item after validation, not 0.",
    ]
    assert bad.stderr == "2 problems\n"


def test_check_without_a_file_looks_at_the_environment(processes: Processes) -> None:
    done = processes.run("check", OPENAI_API_KEY="sk-x")
    assert done.returncode == 0
    assert "the environment: good" in done.stderr
    assert processes.run("check", HEADGATE_CONFIG="missing.yaml").returncode == 2


@covers("litellm-config")
def test_check_names_what_of_litellms_file_is_not_honoured(processes: Processes, folder: Path) -> None:
    text = "model_list: [{model_name: a, litellm_params: {model: openai/x, api_key: k, user_continue: 5}}]\n"
    (folder / "litellm.yaml").write_text(text)
    done = processes.run("check", "--quiet", "--config", "litellm.yaml")
    assert done.returncode == 0
    assert "unsupported: 1 fields not honoured" in done.stdout
    assert "model_list[0].litellm_params.user_continue" in done.stdout


def test_a_configuration_error_shows_a_traceback_only_with_debug(processes: Processes, folder: Path) -> None:
    plain = processes.run("serve", "--config", "bad.yaml")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert "sever: There is no such setting." in plain.stderr
    assert "Traceback" not in plain.stderr
    for args in (["--debug", "serve", "--config", "bad.yaml"], ["serve", "--config", "bad.yaml", "--debug"]):
        shown = processes.run(*args)
        assert shown.returncode != 0
        assert "Traceback" in shown.stderr
        assert "ConfigError" in shown.stderr


@covers("schema")
def test_the_schema_is_json_on_standard_output(processes: Processes) -> None:
    done = processes.run("config", "schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["title"] == "headgate.yaml"


@pytest.mark.parametrize("where", ["master.key", "pepper"])
def test_a_data_directory_that_cannot_be_used_is_told_without_a_traceback(
    processes: Processes, folder: Path, where: str
) -> None:
    (folder / "file").write_text("not a folder")
    done = processes.run("serve", "--port", "0", "--config", "good.yaml", HEADGATE_DATA_DIR=str(folder / "file"))
    assert done.returncode == 2
    assert "HEADGATE_DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr
    (folder / "data").mkdir()
    (folder / "data" / where).write_text("")
    done = processes.run("serve", "--port", "0", "--config", "good.yaml")
    assert done.returncode == 2
    assert f"{where} is empty" in done.stderr
