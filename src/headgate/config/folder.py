"""The folder beside the configuration file: agents in `agents/` and `models/`, prompts and skills. Into a draft."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headgate.config import document
from headgate.config.draft import REFERENCE, Draft, Path_, Place, literal, shown
from headgate.config.problems import ConfigError, Problem
from headgate.config.variables import Variables

_AGENTS = ("agents", "models")
_OTHERS = frozenset(("mcp", "prompts", "skills"))
_LISTS = ("agents", "models")
_SUFFIXES = (".yaml", ".yml")


def add_folder(draft: Draft, file: Path | None, variables: Variables) -> None:
    """Find the folder, and put the agents of its files behind those of the configuration file itself."""
    folder = _find(draft, file, variables)
    if folder is None:
        return
    draft.put(("conf",), literal(str(folder)), draft.places.get(("conf",)) or Place(str(folder)))
    for path in _files(folder, file):
        _add_file(draft, path)
    strategies = draft.data.get("strategies")
    if (folder / "prompts").is_dir() and not (isinstance(strategies, dict) and strategies.get("prompts")):
        draft.put(("strategies", "prompts"), literal(str(folder / "prompts")), Place(str(folder / "prompts")))


def _find(draft: Draft, file: Path | None, variables: Variables) -> Path | None:
    """As set, with what is set relative to the file that says so; else `conf` beside the file, or what holds it."""
    given = draft.data.get("conf")
    if isinstance(given, str) and given:
        known = variables.merged
        text = REFERENCE.sub(lambda found: "${" if found[1] else known.get(found[2] or "", found[3] or ""), given)
        base = file.parent if file is not None and draft.place_of(("conf",)).source == str(file) else Path()
        folder = (base / Path(text).expanduser()).absolute()
        if not folder.is_dir():
            draft.problem(("conf",), f"There is no folder {folder}.", "Make it, or name another.")
            return None
        return folder.parent if folder.name in _AGENTS else folder
    if given is not None:
        return None  # of the wrong shape: the tree tells so
    if file is None:
        return Path("conf").absolute() if Path("conf/models").is_dir() else None
    beside = file.parent.absolute()
    if (beside / "conf").is_dir():
        return beside / "conf"
    return beside if beside.name == "conf" else None


def _files(folder: Path, file: Path | None) -> Iterator[Path]:
    """Files of agents, by name. A folder that holds none of the usual ones may hold the files themselves."""
    inner = [folder / name for name in _AGENTS if (folder / name).is_dir()]
    for one in inner or ([] if file is not None and file.parent.absolute() == folder else [folder]):
        for path in sorted(one.rglob("*")):
            is_other = one == folder and path.relative_to(folder).parts[0] in _OTHERS
            if path.suffix in _SUFFIXES and path.is_file() and not is_other:
                yield path


def _add_file(draft: Draft, path: Path) -> None:
    try:
        read = document.read(path, lists=True)
    except ConfigError as error:
        draft.problems += error.problems
        return
    draft.problems += read.problems
    for entry, at in _entries(read):
        listed = draft.data.setdefault("agents", [])
        if not isinstance(listed, list):
            return  # of the wrong shape: the tree tells so
        if not isinstance(entry, dict):
            line = read.line_of(at)
            draft.problems.append(
                Problem(str(path), line, shown(at), "An agent is a mapping.", "Begin it with `name:`.")
            )
            continue
        here: Path_ = ("agents", len(listed))
        listed.append(entry)
        draft.places[here] = Place(str(path), shown(at), read.line_of(at))
        for inner in read.lines:
            if inner[: len(at)] == at and len(inner) > len(at):
                draft.places[(*here, *inner[len(at) :])] = read.place_of(inner)


def _entries(read: document.Document) -> Iterator[tuple[Any, Path_]]:
    """One agent, a list of them, or a list under the name of its kind."""
    data: Any = read.data
    if isinstance(data, dict) and len(data) == 1 and (name := next(iter(data))) in _LISTS:
        data = data[name]
        yield from ((one, (name, number)) for number, one in enumerate(data if isinstance(data, list) else (data,)))
    elif isinstance(data, list):
        yield from ((one, (number,)) for number, one in enumerate(data))
    elif data:
        yield data, ()
