"""Skills from a folder: what agents know how to do. https://agentskills.io/specification

A folder with a SKILL.md is told to the model by name and description; it reads the rest when it needs it. A single
Markdown or YAML file comes into the prompt whole. What lies in a folder named like an agent is that agent's own.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headgate.agents.types import AgentSettings

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAIN = ("SKILL.md", "skill.md")
_FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_LONGEST = {"name": 64, "description": 1024, "compatibility": 500}
_LARGEST = 1 << 20
_MOST_FILES = 200
_FENCE = "---"


@dataclass(frozen=True, slots=True)
class Skill:
    """`folder` is where its further files lie; None for one that is a single file. `owner`: the agent's, or empty."""

    name: str
    description: str
    body: str
    owner: str = ""
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a skill. `line` counts from 1; 0 where there is none."""

    file: Path
    line: int
    message: str
    remedy: str


class _Wrong(ValueError):
    def __init__(self, message: str, remedy: str, line: int = 0) -> None:
        super().__init__(message)
        self.fault = (line, message, remedy)


@dataclass(slots=True)
class Skills:
    """All skills of a folder, and what is wrong with those that are not among them."""

    all: list[Skill] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def names_for(self, agent: str) -> list[str]:
        """What an agent of that name may list."""
        return [one.name for one in self.all if one.owner in ("", agent)]

    def of(self, agent: AgentSettings) -> list[Skill]:
        """Its own ones; besides, the global ones that it lists, or all of them if it lists none and includes them."""
        own = [one for one in self.all if one.owner == agent.name]
        named = {one.name for one in own}
        everyone = [one for one in self.all if not one.owner and one.name not in named]
        if agent.skills:
            return [*own, *(one for one in everyone if one.name in agent.skills)]
        return [*own, *everyone] if agent.include_global_skills else own


def told(skills: Sequence[Skill]) -> str:
    """What of skills stands in the system message; empty for none."""
    whole = [f"## {one.name}\n\n{one.body}" for one in skills if one.folder is None]
    listed = [f"- {one.name}: {' '.join(one.description.split())}" for one in skills if one.folder is not None]
    if listed:
        how = "Before you do what one of these is for, read it with the tool `read_skill`."
        whole.append("\n".join((f"## Further skills\n\n{how}\n", *listed)))
    return "\n\n".join(("# Skills", *whole)) if whole else ""


def load(folder: Path | None, agents: Sequence[str]) -> Skills:
    """Everything in a folder; nothing where there is none. `agents` are the names of those that may own skills."""
    skills = Skills()
    if folder is None or not folder.is_dir():
        return skills
    owners = {name: agent for agent in agents for name in _known_as(agent)}
    _walk(folder, "", owners, skills)
    seen: dict[tuple[str, str], Skill] = {}
    for skill in list(skills.all):
        if seen.setdefault((skill.owner, skill.name), skill) is not skill:
            skills.all.remove(skill)
            message = f"There are two skills named '{skill.name}'."
            skills.faults.append(Fault(skill.folder or folder, 0, message, "Rename or remove one of the two."))
    return skills


def _known_as(agent: str) -> tuple[str, str]:
    """The name with and without the usual prefix, whichever it has."""
    bare = agent.removeprefix("augmented/")
    return bare, f"augmented/{bare}"


def _walk(folder: Path, inside: str, owners: dict[str, str], skills: Skills) -> None:
    """`inside` is the folder's path below the skills' own."""
    for entry in sorted(folder.iterdir()):
        here = f"{inside}/{entry.name}".removeprefix("/")
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            main = next((entry / name for name in _MAIN if (entry / name).is_file()), None)
            if main is not None:
                _add(main, entry, inside, owners, skills)
            elif any(owner == here or owner.startswith(f"{here}/") for owner in owners):
                _walk(entry, here, owners, skills)
            elif any(_files(entry)):
                remedy = "Name it like an agent, or put a SKILL.md into it."
                skills.faults.append(Fault(entry, 0, "The folder belongs to no agent and is no skill.", remedy))
        elif entry.suffix in (".md", ".yaml", ".yml"):
            _add(entry, None, inside, owners, skills)


def _add(file: Path, folder: Path | None, inside: str, owners: dict[str, str], skills: Skills) -> None:
    try:
        if inside and inside not in owners:
            raise _Wrong(f"There is no agent '{inside}' to have this skill.", "Move it, or name the folder right.")
        text = _text(file)
        if folder is not None:
            skill = _of_folder(text, folder)
        elif file.suffix == ".md":
            skill = _of_markdown(text, file)
        else:
            skill = _of_yaml(text, file)
    except _Wrong as wrong:
        skills.faults.append(Fault(file, *wrong.fault))
        return
    skills.all.append(Skill(skill.name, skill.description, skill.body, inside and owners[inside], folder))


def _of_folder(text: str, folder: Path) -> Skill:
    fields, body, lines = _front(text)
    if fields is None:
        raise _Wrong("The skill does not begin with its name and description.", f"Begin it with a line `{_FENCE}`.", 1)
    for name in fields:
        if name not in _FIELDS:
            remedy = f"Put it under `metadata:`. Fields: {', '.join(_FIELDS)}."
            raise _Wrong(f"There is no field '{name}' of skills.", remedy, lines.get(name, 1))
    for name in ("name", "description"):
        if not str(fields.get(name) or "").strip():
            raise _Wrong(f"The field '{name}' is missing.", f"Add `{name}:`.", 1)
    for name, longest in _LONGEST.items():
        if len(str(fields.get(name) or "")) > longest:
            raise _Wrong(f"The field '{name}' is longer than {longest} characters.", "Shorten it.", lines.get(name, 1))
    name = unicodedata.normalize("NFKC", str(fields["name"]).strip())
    if why := _why_no_name(name):
        raise _Wrong(f"'{name}' cannot be the name of a skill: {why}.", "Write it like `read-tables`.", lines["name"])
    if name != unicodedata.normalize("NFKC", folder.name):
        message = f"The skill '{name}' lies in a folder named '{folder.name}'."
        raise _Wrong(message, "Give both the same name.", lines["name"])
    return Skill(name, str(fields["description"]).strip(), body)


def _why_no_name(name: str) -> str:
    if name != name.lower():
        return "it has capital letters"
    if name.startswith("-") or name.endswith("-") or "--" in name:
        return "its hyphens do not stand between words"
    return "" if all(sign.isalnum() or sign == "-" for sign in name) else "it holds other than letters, digits, hyphens"


def _of_markdown(text: str, file: Path) -> Skill:
    fields, body, _ = _front(text)
    first = body.lstrip().partition("\n")[0]
    heading = first.removeprefix("# ").strip() if first.startswith("# ") else ""
    fields = fields or {}
    return Skill(str(fields.get("name") or file.stem), str(fields.get("description") or heading), body)


def _of_yaml(text: str, file: Path) -> Skill:
    fields, lines = _mapping(text, 0)
    for name in fields:
        if name not in ("name", "description", "content", "content_file"):
            remedy = "Fields: name, description, content, content_file."
            raise _Wrong(f"There is no field '{name}' of skills.", remedy, lines[name])
    body = str(fields.get("content") or "")
    if given := fields.get("content_file"):
        body = _text(_within(file.parent, str(given)))
    if not body.strip():
        raise _Wrong("The skill holds no text.", "Add `content:`, or `content_file:`.", 1)
    return Skill(str(fields.get("name") or file.stem), str(fields.get("description") or ""), body.strip())


def _front(text: str) -> tuple[dict[str, Any] | None, str, dict[str, int]]:
    """The fields before the body, the body, and each field's line; no fields where a text has none."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return None, text.strip(), {}
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise _Wrong(f"The fields at the top do not end with a line `{_FENCE}`.", f"Add the line `{_FENCE}`.", 1)
    fields, places = _mapping("\n".join(lines[1:end]), 1)
    return fields, "\n".join(lines[end + 1 :]).strip(), places


def _mapping(text: str, before: int) -> tuple[dict[str, Any], dict[str, int]]:
    """A YAML mapping, and the line of each of its keys; `before` lines stand above it."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if not isinstance(node, yaml.MappingNode):
            raise _Wrong("The fields are no mapping.", "Write `name: …` and `description: …`.", before + 1)
        loader = _Loader("")
        try:
            fields: dict[Any, Any] = loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, _Wrong):
            raise
        mark = getattr(error, "problem_mark", None)
        message = f"The fields are not valid YAML: {getattr(error, 'problem', None) or error}."
        line = before + (mark.line if mark else 0) + 1
        raise _Wrong(message, "Check the indentation and quotes near that line.", line) from None
    places = {str(key.value): before + key.start_mark.line + 1 for key, _ in node.value}
    return {str(key): value for key, value in fields.items()}, places


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST:
            raise _Wrong("The file is larger than 1 MiB.", "Move parts of it into further files.")
        return file.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise _Wrong("The file is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        raise _Wrong(f"The file cannot be read: {error.strerror}.", "Check its path and rights.") from None


def _within(folder: Path, path: str) -> Path:
    """A file of a folder, links followed; raises what is told of one that lies elsewhere."""
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise _Wrong(f"The file '{path}' lies outside of the skill.", "Move it into the folder.")
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def files_of(skill: Skill) -> list[str]:
    """Paths of a skill's further files, as `read` takes them."""
    if skill.folder is None:
        return []
    paths = (path.relative_to(skill.folder) for path in _files(skill.folder))
    shown = [path.as_posix() for path in paths if path.name not in _MAIN and not path.name.startswith(".")]
    return shown[:_MOST_FILES]


def read(skill: Skill, path: str) -> str:
    """The text of one of a skill's files, of its body if none is named; raises ValueError saying why not."""
    if not path or path in _MAIN or skill.folder is None:
        return skill.body
    found = _within(skill.folder, path)
    if not found.is_file():
        raise ValueError(f"The skill '{skill.name}' has no file '{path}'.")
    return _text(found)
