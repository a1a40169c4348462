"""Documents name what exists, and generated pages are what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headgate.config import document, native
from headgate.config.tree import Settings
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
pytestmark = covers("docs", "schema")


def named_paths(text: str) -> set[str]:
    """Paths of this repository that a page names in code or links."""
    words = re.findall(
        r"(?:`|^ *|\()((?:src|tests|docs|conf|scripts|requirements|bench)/[\w./-]*\w/?)", text, re.MULTILINE
    )
    return set(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    missing = [
        path for path in named_paths(page.read_text()) if not ((ROOT / path).exists() or (page.parent / path).exists())
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_a_path_that_does_not_exist_is_seen() -> None:
    assert named_paths("see `src/headgate/nowhere.py` and\n  src/headgate/api/routes.py  path") == {
        "src/headgate/nowhere.py",
        "src/headgate/api/routes.py",
    }


def test_the_generated_pages_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "scripts/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_example_configuration_is_good() -> None:
    draft = document.read(ROOT / "conf/headgate.yaml").draft()
    assert native.load(draft) is not None
    assert draft.problems == []


def test_the_example_configuration_is_good_with_everything_switched_on() -> None:
    text = (ROOT / "conf/headgate.yaml").read_text()
    lines = [re.sub(r"^(\s*)# ?(?=[- ]*[a-z_]+:|[- ]*\{|[- ]*- )", r"\1", line) for line in text.splitlines()]
    kept = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    settings = Settings.model_validate(yaml.safe_load(kept))
    assert {upstream.name for upstream in settings.upstreams} == {"local", "openai", "gpu-box", "bedrock"}
    assert [model.name for model in settings.models] == ["smollm2-135m", "all-minilm-l6-v2", "assistant"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configuration_examples_in_pages_are_good(page: Path) -> None:
    for example in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        Settings.model_validate(yaml.safe_load(example))
