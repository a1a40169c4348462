"""A page for each client: it is in the index, says what was tried, and names the version that the proof installs."""

import json
import re
from pathlib import Path

import pytest

from headgate.cli.clients import CLIENTS
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "clients"
PROOF = ROOT / "tests" / "soak" / "clients"
INDEX = (FOLDER / "README.md").read_text()
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
pytestmark = covers("client-pages", "docs")


def pinned() -> dict[str, str]:
    """Versions by the name of the package, in npm and in PyPI, the latter with `==`."""
    found = dict(json.loads((PROOF / "package.json").read_text())["dependencies"])
    for name in ("python.txt", "aider.txt"):
        for package, version in re.findall(r"^([\w-]+)==([\w.]+)", (PROOF / name).read_text(), re.MULTILINE):
            found.setdefault(f"{package}==", version)
    return found


NAMED = {
    "claude-code": ["@anthropic-ai/claude-code"],
    "codex": ["@openai/codex"],
    "opencode": ["opencode-ai"],
    "continue": ["@continuedev/cli"],
    "cline": ["cline"],
    "aider": ["aider-chat=="],
    "llm": ["llm=="],
    "openai-sdks": ["openai", "openai=="],
    "anthropic-sdks": ["@anthropic-ai/sdk", "anthropic=="],
    "openai-agents-sdk": ["openai-agents=="],
}


def test_the_index_names_every_page_and_every_client_that_can_be_launched() -> None:
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", INDEX)) == {page.name for page in PAGES}
    assert set(CLIENTS) <= set(re.findall(r"`([\w-]+)`", INDEX))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_was_tried_and_what_was_only_read(page: Path) -> None:
    text = page.read_text()
    assert re.search(r"^\*\*(Tried|Only read):\*\*", text, re.MULTILINE)
    assert ("**Tried:**" in text) == (f"]({page.name})" in INDEX and "read only" not in row_of(page))


def row_of(page: Path) -> str:
    return next(line for line in INDEX.splitlines() if f"]({page.name})" in line)


@pytest.mark.parametrize("name", NAMED)
def test_a_page_names_the_version_that_the_proof_installs(name: str) -> None:
    text, versions = (FOLDER / f"{name}.md").read_text(), pinned()
    for package in NAMED[name]:
        assert versions[package] in text, package


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.program])
def test_every_client_that_can_be_launched_has_a_page_that_says_so(name: str) -> None:
    assert any(f"headgate launch {name}" in page.read_text() for page in PAGES)
