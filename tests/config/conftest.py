"""A working directory and an environment of one's own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.config.load import load
from headgate.config.problems import ConfigError, Problem

Write = Callable[[str], Path]
Problems = Callable[[str], list[Problem]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in, and an environment that holds nothing but where home is."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(place: Path) -> Write:
    """Writes headgate.yaml."""

    def write(text: str) -> Path:
        file = place / "headgate.yaml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def problems(write: Write) -> Problems:
    """All that is wrong with a text."""

    def problems(text: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(write(text))
        return caught.value.problems

    return problems
