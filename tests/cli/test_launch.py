"""`headgate launch`, with programs on the PATH that tell how they were started."""

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from headgate.cli.clients import CLIENTS
from tests.cli.conftest import Done, Run
from tests.requirements import covers

pytestmark = covers("launch")
KEY = "sk-hg-of-the-launch"
TELL = """#!{python}
import json, os, sys, pathlib
found = dict(argv=sys.argv, env=dict(os.environ), cwd=os.getcwd())
for name in sys.argv + list(os.environ.values()):
    path = pathlib.Path(name, "keys.json" if "LLM_USER_PATH" in os.environ else "")
    if "headgate-" in path.parent.name and path.is_file():
        found.update(file=path.read_text(), mode=oct(path.parent.stat().st_mode)[-3:], path=str(path))
pathlib.Path("told.json").write_text(json.dumps(found))
sys.exit(int(os.environ.get("EXIT", "0")))
"""


class Handler(BaseHTTPRequestHandler):
    names: tuple[str, ...] = ("small",)

    def do_GET(self) -> None:
        wanted = unquote(self.path.removeprefix("/v1/models").strip("/"))
        content: Any
        status, content = 200, {"data": [{"id": name} for name in self.names]} if not wanted else {"id": wanted}
        if self.headers["authorization"] != f"Bearer {KEY}":
            status, content = 401, {"error": {"message": "The key is not known here."}}
        elif wanted and wanted not in self.names:
            status, content = 404, {"error": {"message": f"No model named '{wanted}' is offered here."}}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Any:
    def offer(*names: str) -> None:
        monkeypatch.setattr(Handler, "names", names)

    return offer


@pytest.fixture
def programs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every client, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in {client.program for client in CLIENTS.values() if client.program} | {"mine"}:
        (folder / name).write_text(TELL.format(python=sys.executable))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def told() -> dict[str, Any]:
    """How the client was started."""
    found: dict[str, Any] = json.loads(Path("told.json").read_text())
    return found


def launched(run: Run, url: str, *args: str, **variables: str) -> tuple[Done, dict[str, Any]]:
    done = run("launch", *args, HEADGATE_URL=f"{url}/v1", HEADGATE_KEY=KEY, **variables)
    assert done.code == 0, done.err
    return done, told()


def test_claude_code_gets_address_key_and_models_and_no_other_key(run: Run, url: str, programs: Path) -> None:
    args = ("claude", "--model", "small", "--", "-p", "Say hi", "--debug", "--model", "x")
    done, seen = launched(run, url, *args, ANTHROPIC_API_KEY="sk-ant-own", MINE="kept")
    assert seen["argv"] == [str(programs / "claude"), "-p", "Say hi", "--debug", "--model", "x"]
    env = seen["env"]
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]) == (url, KEY)
    assert env["ANTHROPIC_MODEL"] == env["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "small"
    assert "ANTHROPIC_API_KEY" not in env
    assert env["MINE"] == "kept"
    assert KEY not in done.out + done.err


def test_codex_is_told_on_its_command_line_and_its_key_is_not(run: Run, url: str, programs: Path) -> None:
    _, seen = launched(run, url, "codex", "--", "exec", "Say hi")
    arguments = seen["argv"][1:]
    assert arguments[-4:] == ["-m", "small", "exec", "Say hi"]
    settings = dict(one.split("=", 1) for flag, one in itertools.pairwise(arguments) if flag == "-c")
    assert settings["model_providers.headgate.base_url"] == f"{url}/v1"
    assert settings["model_providers.headgate.wire_api"] == "responses"
    assert seen["env"][settings["model_providers.headgate.env_key"]] == KEY
    assert not any(KEY in one for one in seen["argv"])


def test_opencode_gets_all_models_in_a_variable(run: Run, url: str, programs: Path, offered: Any) -> None:
    offered("small", "org/large", "any/*")
    config = json.loads(launched(run, url, "opencode")[1]["env"]["OPENCODE_CONFIG_CONTENT"])
    provider = config["provider"]["headgate"]
    assert (list(provider["models"]), provider["options"]["baseURL"]) == (["small", "org/large"], f"{url}/v1")
    assert "model" not in config
    assert KEY not in json.dumps(config)
    config = json.loads(launched(run, url, "opencode", "--model", "small")[1]["env"]["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == "headgate/small"


def test_aider_and_llm_get_what_they_read(run: Run, url: str, programs: Path) -> None:
    env = launched(run, url, "aider")[1]["env"]
    assert (env["OPENAI_API_BASE"], env["OPENAI_API_KEY"], env["AIDER_MODEL"]) == (f"{url}/v1", KEY, "openai/small")
    seen = launched(run, url, "llm", "--", "Hi")[1]
    assert seen["argv"][1:] == ["openai", "endpoint", f"{url}/v1", "--key", "headgate", "-m", "small", "Hi"]
    assert json.loads(seen["file"]) == {"headgate": KEY}
    assert (seen["mode"], Path(seen["path"]).exists()) == ("700", False)


@pytest.mark.parametrize("name", ["continue", "cline"])
def test_what_has_to_stand_in_a_file_lies_in_one_that_is_gone_afterwards(
    run: Run, url: str, programs: Path, name: str
) -> None:
    _, seen = launched(run, url, name)
    content = json.loads(seen["file"])
    assert f"{url}/v1" in json.dumps(content)
    assert KEY not in seen["file"]
    assert KEY in seen["env"].values()
    assert seen["mode"] == "700"
    assert not Path(seen["path"]).parent.exists()


def test_any_program_can_be_started(run: Run, url: str, programs: Path) -> None:
    _, seen = launched(run, url, "any", "--", "mine", "--flag", ANTHROPIC_AUTH_TOKEN="sk-own")
    assert seen["argv"] == [str(programs / "mine"), "--flag"]
    env = seen["env"]
    assert env["OPENAI_BASE_URL"] == f"{url}/v1"
    assert env["ANTHROPIC_BASE_URL"] == env["OLLAMA_HOST"] == url
    assert {env[f"{name}_API_KEY"] for name in ("OPENAI", "ANTHROPIC", "OLLAMA")} == {KEY}
    assert "ANTHROPIC_AUTH_TOKEN" not in env
    assert run("launch", "any", HEADGATE_URL=url, HEADGATE_KEY=KEY).code == 2


def test_the_exit_code_is_passed_on(run: Run, url: str, programs: Path) -> None:
    assert run("launch", "claude", HEADGATE_URL=url, HEADGATE_KEY=KEY, EXIT="7").code == 7
    (programs / "claude").write_text(f"#!{sys.executable}\nimport os\nos.kill(os.getpid(), {int(signal.SIGKILL)})\n")
    assert run("launch", "claude", HEADGATE_URL=url, HEADGATE_KEY=KEY).code == 128 + signal.SIGKILL


def test_no_file_of_the_user_is_written(run: Run, url: str, programs: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in CLIENTS:
        if CLIENTS[name].program:
            launched(run, url, name)
    Path("told.json").unlink()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != programs] == []


def test_what_would_be_started_is_printed_without_the_key(run: Run, url: str, programs: Path) -> None:
    done = run("launch", "claude", "--print", "--", "-p", "Say 'hi'", HEADGATE_URL=url, HEADGATE_KEY=KEY)
    assert done.code == 0
    assert KEY not in done.out + done.err
    assert not Path("told.json").exists()
    shown = run("launch", "claude", "--print", "--show-key", HEADGATE_URL=url, HEADGATE_KEY=KEY)
    assert f"ANTHROPIC_AUTH_TOKEN={KEY}" in shown.out


@pytest.mark.parametrize("name", [name for name in CLIENTS if CLIENTS[name].program])
def test_what_is_printed_starts_the_same_in_a_shell(run: Run, url: str, programs: Path, name: str) -> None:
    args = ("--", "-p", "Say 'hi' $HOME")
    wanted = launched(run, url, name, *args)[1]
    done = run("launch", name, "--print", *args, HEADGATE_URL=url, HEADGATE_KEY=KEY)
    assert KEY not in done.out + done.err
    variables = {"PATH": os.environ["PATH"], "HEADGATE_KEY": KEY, "HOME": "/nowhere"}
    subprocess.run(["sh", "-c", done.out], env=variables, check=True, timeout=20)
    seen = told()
    own = str(Path(wanted["path"]).parent) if "path" in wanted else "/nowhere"

    def moved(text: str) -> str:
        return text.replace(own, f"headgate-{name}")

    assert seen["argv"][1:] == [moved(one) for one in wanted["argv"][1:]]
    assert seen.get("file") == wanted.get("file")
    for variable in CLIENTS[name].variables(_anywhere()):
        assert seen["env"][variable] == moved(wanted["env"][variable])


def _anywhere() -> Any:
    from headgate.cli.clients import Where

    return Where("http://x", KEY, "small", ["small"])


def test_a_client_that_is_not_installed_is_told_with_how_to_install_it(run: Run, url: str) -> None:
    done = run("launch", "codex", HEADGATE_URL=url, HEADGATE_KEY=KEY, PATH="/nowhere")
    assert done.code == 1
    assert "no program 'codex'" in done.err
    assert "npm install -g @openai/codex" in done.err


@pytest.mark.parametrize(
    ("args", "variables", "wanted"),
    [
        (("claude", "--model", "nope"), {}, "No model named 'nope'"),
        (("claude",), {"HEADGATE_KEY": "sk-wrong"}, "The key is not known here"),
        (("claude", "--url", "http://127.0.0.1:9"), {}, "No gateway answers at http://127.0.0.1:9"),
        (("claude", "--url", "ftp://x"), {}, "http:// or https://"),
        (("claude", "--key-env", "NOT_SET"), {}, "NOT_SET"),
        (("nobody",), {}, "'nobody' is not one of 'claude', 'codex'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    run: Run, url: str, programs: Path, args: tuple[str, ...], variables: dict[str, str], wanted: str
) -> None:
    done = run("launch", *args, **{"HEADGATE_URL": url, "HEADGATE_KEY": KEY, **variables})
    assert done.code in (1, 2)
    assert wanted in done.err
    assert "Traceback" not in done.err
    assert not Path("told.json").exists()


def test_the_key_may_stand_in_any_variable_or_the_machines_own_file(
    run: Run, url: str, programs: Path, tmp_path: Path
) -> None:
    done = run("launch", "claude", "--url", url, "--key-env", "MY_KEY", MY_KEY=KEY)
    assert (done.code, told()["env"]["ANTHROPIC_AUTH_TOKEN"]) == (0, KEY)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "master.key").write_text(f"{KEY}\n")
    done = run("launch", "claude", "--url", url)
    assert (done.code, told()["env"]["ANTHROPIC_AUTH_TOKEN"]) == (0, KEY)


def test_a_gateway_that_asks_for_no_key_is_told_none(
    run: Run, url: str, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "KEY", "no-key")
    assert run("launch", "claude", "--url", url).code == 0
    assert told()["env"]["ANTHROPIC_AUTH_TOKEN"] == "no-key"
    assert "ANTHROPIC_AUTH_TOKEN=no-key" in run("launch", "claude", "--url", url, "--print").out


def test_which_model_is_asked_for_must_be_clear(run: Run, url: str, programs: Path, offered: Any) -> None:
    offered("small", "org/large")
    done = run("launch", "codex", HEADGATE_URL=url, HEADGATE_KEY=KEY)
    assert done.code == 2
    assert "Choose with --model, from: small, org/large." in done.err
    offered("small", "openai/gpt-6")
    assert "-m" not in launched(run, url, "codex")[1]["argv"]
    offered("small", "claude-opus-5")
    assert "ANTHROPIC_MODEL" not in launched(run, url, "claude")[1]["env"]


def test_an_interrupt_is_the_clients_and_the_launcher_waits(url: str, programs: Path, tmp_path: Path) -> None:
    """As a terminal sends it: to both at once."""
    (programs / "claude").write_text(
        f"#!{sys.executable}\nimport signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(3))\nprint('ready', flush=True)\nsignal.pause()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate", "launch", "claude", "--url", url],
        env={**os.environ, "HEADGATE_KEY": KEY},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 3


def test_every_client_is_in_the_help(run: Run) -> None:
    said = run("launch", "--help").out
    assert all(name in said for name in CLIENTS)
    assert all(shlex.split(one.install) for one in CLIENTS.values() if one.program)
