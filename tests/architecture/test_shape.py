"""Names, sizes, the one reader of the environment, and the bans of the linter, each with a planted violation."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.sizes import LIMIT, judge, measure
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
BANNED_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "legacy", "new", "old", "v2", "v3"}
pytestmark = covers("architecture")

PLANTED = {
    "TID251": "import os\n\nx = os.environ['A']\n",
    "BLE001": "try:\n    x = 1\nexcept Exception:\n    x = 2\n",
    "S110": "try:\n    x = 1\nexcept Exception:\n    pass\n",
    "PLC0415": "def f() -> None:\n    import json\n\n    json.dumps(1)\n",
    "PLW0603": "x = 1\n\n\ndef f() -> None:\n    global x\n    x = 2\n",
    "F403": "from os import *\n",
    "PLR0913": "def f(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> None: ...\n",
}


def banned_names(paths: Iterator[Path]) -> list[str]:
    """Files and folders whose name says nothing about what is in them."""
    return [str(path) for path in paths if BANNED_WORDS & set(path.stem.lower().split("_"))]


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert banned_names((ROOT / "src").rglob("*.py")) == []


@pytest.mark.parametrize("name", ["utils.py", "chat_helpers.py", "relay_v2.py", "legacy.py", "pool_manager.py"])
def test_a_planted_name_is_reported(name: str) -> None:
    assert banned_names(iter([Path("src/headgate") / name]))


def test_no_file_passes_its_ceiling() -> None:
    assert judge(measure(ROOT), {}) == []


def test_a_file_over_the_limit_is_reported() -> None:
    assert judge({"src/a.py": LIMIT + 1}, {}) == [f"OVER  src/a.py  {LIMIT + 1} > {LIMIT}"]


def test_a_ceiling_only_goes_down() -> None:
    assert judge({"src/a.py": 650}, {"src/a.py": 700}) == ["LOWER src/a.py  ceiling 700, now 650"]
    assert judge({"src/a.py": 650}, {"src/a.py": 650}) == []


@pytest.mark.parametrize("code", PLANTED)
def test_the_linter_reports_a_planted_violation(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "src/headgate/pipeline/planted.py", "-"],
        input=PLANTED[code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert code in result.stdout


def test_every_dependency_is_locked_with_hashes() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    locked = (ROOT / "requirements/serve.txt").read_text().lower()
    for dependency in declared:
        name = dependency.split(">")[0].lower()
        assert f"\n{name}==" in f"\n{locked}", f"{name} is not locked; run scripts/lock"


def test_no_requirements_file_names_an_address_or_lacks_a_hash() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)
