"""The flags of `headgate serve`, seen through `--print-config` and `config show`, which take the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.cli import serve
from tests.cli.conftest import Run
from tests.requirements import covers

pytestmark = covers("124")

MODEL = ("--model", "gpt-5")
KEY = {"OPENAI_API_KEY": "sk-VERYSECRET-0001"}


def shown(run: Run, *args: str, **variables: str) -> dict[str, dict[str, Any]]:
    done = run("config", "show", "--json", *args, **variables)
    assert done.code == 0, done.err
    settings: dict[str, dict[str, Any]] = json.loads(done.out)
    return settings


@pytest.mark.parametrize(
    ("args", "variables", "path", "value"),
    [
        (("--host", "0.0.0.0"), {"HEADGATE_HOST": "127.0.0.9"}, "server.host", "0.0.0.0"),
        (("--port", "4001"), {"PORT": "4000"}, "server.port", 4001),
        (("--workers", "2"), {"HEADGATE_WORKERS": "3"}, "server.workers", 2),
        (("--no-drop-params",), {}, "parameters.drop_unsupported", False),
        (("--drop-params",), {"HEADGATE_PARAMETERS_DROP_UNSUPPORTED": "0"}, "parameters.drop_unsupported", True),
        (("--reasoning-effort", "high"), {"REASONING_EFFORT": "low"}, "parameters.reasoning_effort", "high"),
        (("--master-key", "sk-a"), {"LITELLM_MASTER_KEY": "sk-b"}, "auth.master_key", "[redacted]"),
        (("--no-master-key",), {"REQUIRE_AUTH": "true"}, "auth.required", False),
        (("--debug",), {"HEADGATE_LOGGING_DEBUG": "0"}, "logging.debug", True),
        (("--detailed-debug",), {}, "logging.debug", True),
        (
            ("--upstream-base", "https://a.example"),
            {"OPENAI_API_BASE": "b"},
            "upstreams[0].base_url",
            "https://a.example",
        ),
        (("--alias", "mine"), {}, "models[0].name", "mine"),
        (("--model-spec", "key=a,upstream=x"), {}, "models[0].name", "x"),
    ],
)
def test_a_flag_wins_over_the_environment_and_is_named_as_the_source(
    run: Run, args: tuple[str, ...], variables: dict[str, str], path: str, value: Any
) -> None:
    found = shown(run, *MODEL, *args, **KEY, **variables)[path]
    assert found["value"] == value
    flag = "--debug" if args[0] == "--detailed-debug" else args[0].replace("--no-drop", "--drop")
    assert found["source"].startswith(f"command line {flag}")


@pytest.mark.parametrize("args", [("--debug", "config", "show"), ("config", "show", "--debug")])
def test_debug_may_stand_before_and_behind_the_command(run: Run, args: tuple[str, ...]) -> None:
    assert "logging.debug = true  (command line --debug)" in run(*args).out
    assert "logging.debug = false  (default)" in run("config", "show").out


@pytest.mark.parametrize("args", [("--debug", "serve"), ("serve", "--debug")])
def test_serve_takes_debug_at_either_place(run: Run, args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(serve, "_start", lambda loaded, insecure: started.append(loaded.settings.logging.debug))
    assert run(*args, *MODEL, **KEY).code == 0
    assert run("serve", *MODEL, **KEY).code == 0
    assert started == [True, False]


@covers("126", "redaction")
def test_the_configuration_is_printed_as_yaml_and_nothing_else_on_standard_output(run: Run) -> None:
    done = run("serve", "--print-config", *MODEL, "--master-key", "sk-VERYSECRET-0002", PORT="4000", **KEY)
    assert done.code == 0
    assert yaml.safe_load(done.out) == {
        "model_list": [
            {
                "model_name": "gpt-5",
                "litellm_params": {"model": "openai/gpt-5", "api_key": "os.environ/OPENAI_API_KEY"},
            }
        ],
        "litellm_settings": {"drop_params": True, "set_verbose": True},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    assert "# auth.master_key holds a key itself: set LITELLM_MASTER_KEY to it." in done.err
    assert "VERYSECRET" not in done.out + done.err


@covers("126")
def test_a_printed_configuration_can_be_loaded_again(run: Run, tmp_path: Path) -> None:
    specs = (
        "--model-spec",
        "key=a,alias=one,upstream=x,reasoning=low,base=https://a.example/v1",
        "--model-spec",
    )
    done = run("serve", "--print-config", *specs, "key=b,alias=two,upstream=y", **KEY)
    (tmp_path / "printed.yaml").write_text(done.out)
    again = shown(run, "--config", "printed.yaml", LITELLM_MASTER_KEY="sk-m", **KEY)
    before = shown(run, *specs, "key=b,alias=two,upstream=y", **KEY)
    for path in ("models[0].name", "models[1].name", "models[0].targets[0].model", "upstreams[0].base_url"):
        assert again[path]["value"] == before[path]["value"]


@pytest.mark.parametrize("flag", ["--streaming", "--no-streaming"])
def test_the_streaming_flag_fills_set_verbose(run: Run, flag: str) -> None:
    done = run("serve", "--print-config", *MODEL, flag, **KEY)
    assert yaml.safe_load(done.out)["litellm_settings"]["set_verbose"] is (flag == "--streaming")


@pytest.mark.parametrize(
    "args",
    [
        ("--model-spec", "key=a"),
        ("--reasoning-effort", "banana", *MODEL),
        ("--alias", "mine"),
        ("--master-key", "a", "--no-master-key"),
        ("--port", "x"),
        ("--port", "70000"),
        ("--config", "missing.yaml"),
    ],
)
def test_a_wrong_flag_ends_with_2_and_without_a_traceback(run: Run, args: tuple[str, ...]) -> None:
    done = run("serve", "--print-config", *args, **KEY)
    assert (done.code, done.out) == (2, "")
    assert args[0] in done.err or "missing.yaml" in done.err
    assert "Traceback" not in done.err


@covers("cli")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_for_a_shell_is_printed(run: Run, shell: str) -> None:
    done = run("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert "_HEADGATE_COMPLETE" in done.out


@covers("cli")
def test_an_unknown_shell_is_wrong_usage(run: Run) -> None:
    assert run("completion", "nope").code == 2
