"""The import contracts hold, and each reports a violation planted into a copy of the source."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements import covers

ROOT = Path(__file__).parents[2]
pytestmark = covers("architecture")

PLANTED = {
    "upwards": ("core/surfaces.py", "import headgate.pipeline.run", "Layers"),
    "upwards inside a function": ("pipeline/attempts.py", "def f():\n    import headgate.api.errors", "Layers"),
    "sideways": ("routing/catalog.py", "import headgate.identity.keys", "Layers"),
    "a new top-level folder": ("utils/__init__.py", "", "Layers"),
    "a cycle inside a feature": ("routing/types.py", "import headgate.routing.catalog", "No package cycles"),
    "an upstream named outside app": ("api/health.py", "import headgate.upstreams.openai", "Only app names"),
    "settings read below": ("api/health.py", "import headgate.config.tree", "Settings are read"),
    "I/O in the core": ("core/tokens.py", "import httptools", "The core knows no I/O"),
    "SQL outside stores": ("identity/scopes.py", "import sqlalchemy", "SQL stays in db"),
    "the web framework outside api": ("pipeline/resolve.py", "import starlette", "The web framework"),
}


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_reported(copy: Path, name: str) -> None:
    file, line, contract = PLANTED[name]
    path = copy / "src/headgate" / file
    path.parent.mkdir(exist_ok=True)
    old = path.read_text() if path.exists() else ""
    path.write_text(f"{old}\n{line}\n")
    result = lint(copy)
    assert result.returncode != 0
    assert any(line.startswith(contract) and "BROKEN" in line for line in result.stdout.splitlines()), result.stdout
