"""Skills from a folder: both forms, whose they are, which an agent gets, and what is wrong with bad ones."""

from pathlib import Path
from typing import Any

import pytest
from skills_ref import validate

from headgate.agents.skills import Skills, load, read, told
from headgate.agents.types import AgentSettings
from headgate.app.skills import reader_of
from headgate.tools.types import Caller
from tests.requirements import covers

HOME = "augmented/homeassistant"
CONF = Path(__file__).parents[2] / "conf"


def put(folder: Path, path: str, text: str) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def of_folder(folder: Path, name: str, description: str = "Read tables.", **more: str) -> None:
    fields = "".join(f"{key}: {value}\n" for key, value in {"name": name, "description": description, **more}.items())
    put(folder, f"{name}/SKILL.md", f"---\n{fields}---\n\nBody of {name}.\n")


def names(known: Skills, **agent: Any) -> list[str]:
    return [one.name for one in known.of(AgentSettings(**{"name": HOME, **agent}))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "review.md", "# How to review\n\nLook at {{everything()}}.")
    put(tmp_path, "style.yaml", "name: style\ndescription: How to write\ncontent: |\n  Write plainly.\n")
    put(tmp_path, f"{HOME}/lights.md", "Dim them.")
    of_folder(tmp_path, "tables")
    of_folder(tmp_path / HOME, "scenes")
    return tmp_path


@covers("57")
def test_both_forms_are_read_and_nested_folders_belong_to_their_agent(folder: Path) -> None:
    skills = load(folder, [HOME, "other"])
    assert skills.faults == []
    found = {one.name: (one.owner, one.description, one.folder is None) for one in skills.all}
    assert found == {
        "review": ("", "How to review", True),
        "style": ("", "How to write", True),
        "tables": ("", "Read tables.", False),
        "lights": (HOME, "", True),
        "scenes": (HOME, "Read tables.", False),
    }


@covers("58")
@pytest.mark.parametrize(
    ("listed", "include", "expected"),
    [
        ([], True, ["lights", "scenes", "review", "style", "tables"]),
        ([], False, ["lights", "scenes"]),
        (["style"], True, ["lights", "scenes", "style"]),
        (["style"], False, ["lights", "scenes", "style"]),
    ],
)
def test_an_agent_has_its_own_and_those_it_lists_or_all(
    folder: Path, listed: list[str], include: bool, expected: list[str]
) -> None:
    assert names(load(folder, [HOME]), skills=listed, include_global_skills=include) == expected


@covers("58")
def test_skills_of_one_agent_are_not_anothers_and_its_own_take_the_place_of_global_ones(folder: Path) -> None:
    put(folder, f"{HOME}/review.md", "My own way.")
    skills = load(folder, [HOME, "other"])
    assert names(skills, name="other") == ["review", "style", "tables"]
    [mine] = [one for one in skills.of(AgentSettings(name=HOME)) if one.name == "review"]
    assert mine.body == "My own way."


@covers("57")
def test_single_files_come_in_whole_and_folders_by_name_and_description(folder: Path) -> None:
    text = told(load(folder, [HOME]).of(AgentSettings(name=HOME)))
    assert "Look at {{everything()}}." in text
    assert "- tables: Read tables." in text
    assert "`read_skill`" in text
    assert "Body of tables." not in text


BAD = {
    "not-lowercase": "name: Not-lowercase\ndescription: x",
    "other-name": "name: another\ndescription: x",
    "no-description": "name: no-description",
    "empty-description": "name: empty-description\ndescription: ''",
    "no-name": "description: x",
    "a--b": "name: a--b\ndescription: x",
    "-a": "name: -a\ndescription: x",
    "under_score": "name: under_score\ndescription: x",
    "long-description": "name: long-description\ndescription: " + "x" * 1025,
    "n" * 65: f"name: {'n' * 65}\ndescription: x",
    "unknown-field": "name: unknown-field\ndescription: x\nversion: 1",
    "long-compatibility": "name: long-compatibility\ndescription: x\ncompatibility: " + "x" * 501,
}
GOOD = {
    "plain": "name: plain\ndescription: x",
    "n" * 64: f"name: {'n' * 64}\ndescription: " + "x" * 1024,
    "with-all": "name: with-all\ndescription: x\nlicense: MIT\ncompatibility: y\nallowed-tools: R\nmetadata:\n  a: b",
    "v2": "name: v2\ndescription: 'a: b'",
}


@covers("57")
@pytest.mark.parametrize("name", [*BAD, *GOOD], ids=lambda name: name[:20])
def test_the_verdict_on_a_skill_is_that_of_the_reference(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/SKILL.md", f"---\n{(BAD | GOOD)[name]}\n---\nBody.")
    skills = load(tmp_path, [])
    assert (skills.faults == []) is (validate(tmp_path / name) == []) is (name in GOOD)
    assert all(fault.line > 0 and fault.remedy for fault in skills.faults)


@covers("57")
@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("x/SKILL.md", "no fields", "does not begin"),
        ("x/SKILL.md", "---\nname: x\n", "do not end"),
        ("x/SKILL.md", "---\nname: [x\n---\n", "not valid YAML"),
        ("x/SKILL.md", "---\n- x\n---\n", "no mapping"),
        ("x.yaml", "name: x", "no text"),
        ("x.yaml", "title: x\ncontent: y", "no field 'title'"),
        ("x.yaml", "content_file: ../../../etc/hostname", "outside"),
        ("nobody/x.md", "text", "belongs to no agent"),
        ("augmented/loose.md", "text", "no agent 'augmented'"),
    ],
)
def test_what_is_no_skill_is_told_with_its_place(tmp_path: Path, path: str, text: str, words: str) -> None:
    put(tmp_path, path, text)
    [fault] = load(tmp_path, [HOME]).faults
    assert words in fault.message
    assert str(fault.file).startswith(str(tmp_path))


@covers("57")
def test_two_skills_of_one_name_are_told(tmp_path: Path) -> None:
    of_folder(tmp_path, "x")
    put(tmp_path, "x.md", "text")
    assert "two skills named 'x'" in load(tmp_path, []).faults[0].message


@covers("57")
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("", "Body of tables."),
        ("SKILL.md", "Body of tables."),
        ("references/units.md", "Metres."),
        ("../review.md", "outside"),
        ("/etc/hostname", "outside"),
        ("references/../../style.yaml", "outside"),
        ("link.md", "outside"),
        ("nothing.md", "no file"),
        ("references", "no file"),
        ("large.md", "larger than 1 MiB"),
        ("binary.bin", "not UTF-8"),
    ],
)
async def test_a_skill_is_read_by_tool_and_nothing_outside_of_it(folder: Path, file: str, words: str) -> None:
    put(folder, "tables/references/units.md", "Metres.")
    put(folder, "tables/large.md", "x" * (1 << 20) + "x")
    (folder / "tables/binary.bin").write_bytes(b"\xff\xfe\x00")
    (folder / "tables/link.md").symlink_to(folder / "review.md")
    tool = reader_of(load(folder, [HOME]).of(AgentSettings(name=HOME)))
    assert tool is not None
    assert tool.info.parameters["properties"]["name"]["enum"] == ["scenes", "tables"]
    result = await tool.call({"name": "tables", "file": file} if file else {"name": "tables"}, Caller())
    assert words in result.text
    assert result.failed == (words not in ("Body of tables.", "Metres."))
    assert ("references/units.md" in result.text) is (not file)
    assert (await tool.call({"name": "review"}, Caller())).failed


@covers("57")
def test_an_agent_without_folders_among_its_skills_has_no_tool_to_read_them(folder: Path) -> None:
    assert reader_of(load(folder, []).of(AgentSettings(name="x", skills=["review"]))) is None


@covers("57")
def test_the_example_skills_are_good() -> None:
    skills = load(CONF / "skills", [])
    assert skills.faults == []
    folders = [one.folder for one in skills.all if one.folder is not None]
    assert folders
    assert [validate(folder) for folder in folders] == [[]] * len(folders)
    assert read(skills.all[0], "")
