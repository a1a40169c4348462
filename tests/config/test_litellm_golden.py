"""Every LiteLLM file in tests/golden/litellm: its report, that no field of it is passed over, and that it loads.

After a change that is meant, write the reports anew and read what changed:
`REWRITE_GOLDEN=1 python -m pytest tests/config/test_litellm_golden.py`
"""

import os
from pathlib import Path

import pytest
import yaml

from headgate.config import load
from headgate.config.draft import Draft
from headgate.config.problems import ConfigError
from tests.config.litellm_files import FILES, FOLDER, MISTAKEN, passed_over, variables_of
from tests.requirements import covers

REWRITE = bool(os.environ.get("REWRITE_GOLDEN"))
pytestmark = covers("127", "166", "litellm-config")
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def report(draft: Draft, main: str) -> str:
    """Findings, problems and the native form, as one text."""
    lines = []
    for one in draft.findings:
        where = f"{one.place.line}" if one.place.source == main else f"{one.place.source}:{one.place.line}"
        lines.append(f"{where} {one.place.name}: {one.grade}{' - ' * bool(one.remark)}{one.remark}")
    lines += ["", *(f"{one.line} {one.path}: {one.message} {one.remedy}" for one in draft.problems)]
    parts = ["\n".join(lines).strip()]
    if draft.variables:
        parts.append(yaml.safe_dump({"variables": draft.variables}).strip())
    parts.append(yaml.safe_dump(draft.data, sort_keys=False, width=120).strip())
    return "\n\n".join(parts) + "\n"


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be among the files, so that reports name them alike everywhere."""
    monkeypatch.chdir(FOLDER)


def test_there_are_files_for_every_section() -> None:
    assert len(FILES) >= 34


@each_file
def test_the_report_is_as_it_was_read_last(file: Path) -> None:
    text = report(load.draft_of(Path(file.name)), file.name)
    golden = file.with_suffix(".report.txt")
    if REWRITE:
        golden.write_text(text)
    assert text == golden.read_text()


@each_file
def test_every_leaf_of_the_file_has_exactly_one_finding_or_a_problem(file: Path) -> None:
    assert passed_over(load.draft_of(Path(file.name)), file.name) == []


@each_file
def test_the_file_loads_with_its_variables_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables_of(file):
        monkeypatch.setenv(name, value)
    if file.stem in MISTAKEN:
        with pytest.raises(ConfigError) as caught:
            load.load(Path(file.name))
        assert all(problem.line and problem.message and problem.remedy for problem in caught.value.problems)
        return
    loaded = load.load(Path(file.name))
    assert loaded.settings.server.litellm_headers
    assert loaded.settings.routing.overrides.fields
    assert len(loaded.settings.models) == len(loaded.draft.data["models"])


@each_file
def test_every_field_that_is_not_honoured_exactly_has_a_remark(file: Path) -> None:
    for finding in load.draft_of(Path(file.name)).findings:
        assert finding.place.line
        assert finding.remark.endswith((".", "?")) or (finding.grade == "exact" and not finding.remark)
