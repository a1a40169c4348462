"""The command line in this process: quick, with an environment and a working directory of its own."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from headgate.cli.main import main

_KEPT = ("PATH", "LANG", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("check", "--quiet", PORT="1")`: a command with its environment, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name not in _KEPT]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path / "data"))

    def run(*args: str, **variables: str) -> Done:
        with monkeypatch.context() as only_now:
            for name, value in variables.items():
                only_now.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(list(args))
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run
