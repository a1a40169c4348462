"""The wheel holds the whole program and nothing else, and runs without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.requirements import covers

ROOT = Path(__file__).parents[2]
pytestmark = covers("146")


def test_the_wheel_is_the_program_and_runs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        packed.extractall(tmp_path / "installed")
    files = [path for path in (ROOT / "src/headgate").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    source = {path.relative_to(ROOT / "src").as_posix() for path in files}
    assert names == source
    ran = subprocess.run(
        [sys.executable, "-c", "import headgate, headgate.cli.serve; print(headgate.__file__)"],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.startswith(str(tmp_path / "installed"))
