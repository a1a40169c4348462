"""A YAML file as plain data, with the line of every value. Knows no setting."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headgate.config.draft import Draft, Path_, Place, shown
from headgate.config.problems import ConfigError, Problem

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # faster where libyaml is there
_LARGEST_FILE = 4 << 20


@dataclass(slots=True)
class Document:
    """`data` as the loaders take it; `lines` maps each path to its line, counted from 1."""

    file: str
    data: dict[str, Any]
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path_) -> int:
        """The line of a value, or of the nearest value around it."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 0)

    def place_of(self, path: Path_) -> Place:
        return Place(self.file, shown(path), self.line_of(path))

    def problem(self, path: Path_, message: str, remedy: str) -> None:
        self.problems.append(Problem(self.file, self.line_of(path), shown(path), message, remedy))

    def draft(self) -> Draft:
        """The file as a draft of the tree, for a file in our own form."""
        return Draft(self.data, {path: self.place_of(path) for path in self.lines}, self.problems)


def read(file: Path, *, lists: bool = False) -> Document:
    """Read a file; raises ConfigError when it is no YAML mapping, nor, where those are taken, a list."""
    node = _compose(file, lists=lists)
    document = Document(str(file), {})
    if node is None:
        return document
    try:
        document.lines = dict(_lines(node, ()))
    except RecursionError:
        message, remedy = "The file nests without end: an anchor holds itself.", "Take the alias out of its anchor."
        raise ConfigError([Problem(str(file), 1, "", message, remedy)]) from None
    for path, line in _repeated(node, ()):
        document.problems.append(
            Problem(
                str(file),
                line,
                shown(path),
                "The key occurs twice.",
                "Keep one of the two; the last would win silently.",
            )
        )
    document.data = _construct(node, file)
    return document


def _compose(file: Path, *, lists: bool) -> yaml.Node | None:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ConfigError([Problem(str(file), 0, "", "The file is larger than 4 MiB.", "Is it the right file?")])
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(
            [Problem(str(file), 0, "", f"The file cannot be read: {error.strerror}.", "Check its path and rights.")]
        ) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(file), 0, "", "The file is not UTF-8 text.", "Save it as UTF-8.")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ConfigError(
            [
                Problem(
                    str(file),
                    line,
                    "",
                    f"The file is not valid YAML: {error.problem}.",
                    "Check the indentation and quotes near that line.",
                )
            ]
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(
            [Problem(str(file), 0, "", f"The file is not valid YAML: {error}.", "Remove the unusual character.")]
        ) from None
    is_list = lists and isinstance(node, yaml.SequenceNode)
    if node is not None and not is_list and not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            [
                Problem(
                    str(file), 1, "", "The file is not a mapping of settings.", "Begin with a key such as `upstreams:`."
                )
            ]
        )
    return node


def _construct(node: yaml.Node, file: Path) -> dict[str, Any]:
    loader = _Loader("")
    try:
        data: dict[str, Any] = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        message = f"The file is not plain YAML: {error.problem}."
        raise ConfigError([Problem(str(file), line, "", message, "Write text, numbers, lists and mappings.")]) from None
    except ValueError as error:
        message = f"The file holds an impossible value: {error}."
        raise ConfigError([Problem(str(file), 0, "", message, "Put quotes around dates that are text.")]) from None
    finally:
        loader.dispose()
    return data


def _lines(node: yaml.Node, path: Path_) -> Iterator[tuple[Path_, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield from _lines(value, here)
            yield here, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, (*path, number))


def _repeated(node: yaml.Node, path: Path_) -> Iterator[tuple[Path_, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            if str(key.value) in seen and key.value != "<<":
                yield here, key.start_mark.line + 1
            seen.add(str(key.value))
            yield from _repeated(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _repeated(value, (*path, number))
