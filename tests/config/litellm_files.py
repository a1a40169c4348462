"""The LiteLLM files of tests/golden/litellm, and what has to hold for whatever is in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headgate.config import document
from headgate.config.draft import Draft, Path_, shown
from headgate.upstreams.registry import PROVIDERS

FOLDER = Path(__file__).parents[1] / "golden" / "litellm"
FILES = sorted(FOLDER.glob("*.yaml"))
MISTAKEN = {"wrong", "include-wrong"}


def passed_over(draft: Draft, main: str) -> list[str]:
    """Leaves of the files of a draft that have not exactly one finding, nor a problem of their own or their entry's."""
    found: dict[str, list[str]] = {main: []}
    for finding in draft.findings:
        found.setdefault(finding.place.source, []).append(finding.place.name)
    problems = {part for one in draft.problems for part in (one.path, *re.findall(r"^\w+\[\d+\]", one.path))}
    wrong = []
    for source, names in found.items():
        for path in _leaves(document.read(Path(source)).data, ()):
            around = _surroundings(path)
            count = sum(name in around for name in names)
            if count != 1 and not (problems & around and count == 0):
                wrong.append(f"{source}: {shown(path)} has {count} findings")
    return wrong


def _leaves(data: Any, path: Path_) -> Iterator[Path_]:
    held: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    if not data or not isinstance(data, dict | list):
        yield path
    for key, value in held:
        yield from _leaves(value, (*path, key if isinstance(data, list) else str(key)))


def _surroundings(path: Path_) -> set[str]:
    """A path and all paths around it, as they are shown."""
    return {shown(path[:length]) for length in range(1, len(path) + 1)}


def variables_of(file: Path) -> Iterator[tuple[str, str]]:
    """The variables that a file and those it may include name, and the usual ones of every provider, with values."""
    text = "".join(one.read_text() for one in [file, *FOLDER.glob("shared/*.yaml")])
    usual = [key for row in PROVIDERS.values() for key in row.key_variables]
    for name in (*re.findall(r"os\.environ/(\w+)", text), *usual):
        if name.endswith("TIMEOUT"):
            yield name, "45"
        else:
            yield name, f"https://{name.lower()}.example.com" if name.endswith("BASE") else "a-value-for-all-0001"
