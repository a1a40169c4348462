"""The coverage-guided fuzzer, for a bounded number of inputs."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import Amount
from tests.requirements import covers
from tests.soak import guided_seeds

ROOT = Path(__file__).parents[2]
pytestmark = [
    covers("fuzz"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris, which has no wheel for this platform"),
]


def test_no_input_breaks_a_promise(tmp_path: Path, amount: Amount) -> None:
    corpus = tmp_path / "corpus"
    guided_seeds.write(corpus)
    command = [
        sys.executable,
        "-m",
        "tests.soak.guided",
        str(corpus),
        f"-runs={amount(100_000, 10_000_000)}",
        "-seed=1",
    ]
    ended = subprocess.run(
        [*command, "-max_len=4096", "-max_total_time=300", f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
    done = re.search(r"Done (\d+) .*|stat::number_of_executed_units: *(\d+)", ended.stderr)
    print(f"\n{done[0] if done else ended.stderr.splitlines()[-1]}")
    assert done is not None
