"""A configuration on its way into the tree: plain data, and where each value came from. Every loader makes one.

Texts may hold `${VARIABLE}` or `${VARIABLE:-otherwise}`; `$${` stands for a plain `${`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from headgate.config.problems import Problem

Path_ = tuple[str | int, ...]
Grade = Literal["exact", "approximate", "unsupported"]
REFERENCE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was set. `source` is a file, `environment`, `.env`, `command line` or `default`.

    `name` is what it is called there: a path in the file, a variable or a flag. `line` counts from 1, 0 when there is
    none.
    """

    source: str
    name: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else f"{self.source} {self.name}".strip()


DEFAULT = Place("default")


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of one field of a foreign format: honoured as it is, nearly, or not. `remark` says how."""

    grade: Grade
    place: Place
    remark: str = ""


@dataclass(slots=True)
class Draft:
    """Data shaped like the tree, not checked yet. `findings` grade the fields of a foreign format; `notes` are said at
    start; `variables` are those a file sets for itself, which lose against all others.
    """

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Path_, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    _unset: set[Path_] = field(default_factory=set)

    def put(self, path: Path_, value: Any, place: Place) -> None:
        """Set a value, making the mappings around it. Lists must be there; a place one past the end appends."""
        here: Any = self.data
        for part, following in pairwise(path):
            if isinstance(here, dict) and here.get(part) is None:
                here[part] = [] if isinstance(following, int) else {}
            elif isinstance(here, list) and part == len(here):
                here.append([] if isinstance(following, int) else {})
            here = here[part]
            if not isinstance(here, list if isinstance(following, int) else dict):
                return  # of the wrong shape: the tree tells so
        last: Any = path[-1]
        former: Any = None
        if isinstance(here, list) and last == len(here):
            here.append(value)
        else:
            former = here[last] if isinstance(here, list) else here.get(last)
            here[last] = value
        if isinstance(former, dict | list):
            for inner in [known for known in self.places if known[: len(path)] == path]:
                del self.places[inner]
        self.places[path] = place

    def place_of(self, path: Path_) -> Place:
        """Where a value, or the nearest value around it, was set."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, DEFAULT)

    def problem(self, path: Path_, message: str, remedy: str, *, at: Place | None = None) -> None:
        """Note a mistake, in the words of the source that holds it."""
        if path in self._unset:
            return  # it lacks a variable, which was told; what else seems wrong follows from that
        place = at or self.place_of(path)
        of_file = bool(place.line)
        name = place.name if of_file and place.name and path in self.places else shown(path)
        file = place.source if of_file or place is DEFAULT else f"({place})"
        problem = Problem(file, place.line, name, message, remedy)
        if problem not in self.problems:  # one value may stand at several places of the tree
            self.problems.append(problem)

    def expand(self, variables: Mapping[str, str]) -> None:
        """Replace every reference; what is not set is noted as a problem."""
        self.data = self._expanded(self.data, (), {**self.variables, **variables})

    def _expanded(self, data: Any, path: Path_, variables: Mapping[str, str]) -> Any:
        if isinstance(data, dict):
            return {key: self._expanded(value, (*path, str(key)), variables) for key, value in data.items()}
        if isinstance(data, list):
            return [self._expanded(value, (*path, number), variables) for number, value in enumerate(data)]
        if isinstance(data, str):
            return REFERENCE.sub(lambda found: self._value_of(found, path, variables), data)
        return data

    def _value_of(self, found: re.Match[str], path: Path_, variables: Mapping[str, str]) -> str:
        escaped, name, otherwise = found.groups()
        if escaped:
            return str(escaped)
        value = variables.get(name) or otherwise
        if value is None:
            self._unset.discard(path)  # the text may lack several
            self.problem(path, f"The variable {name} is not set.", f"Set {name} in the environment or in .env.")
            self._unset.add(path)
            return ""
        return str(value)


def shown(path: Path_) -> str:
    """A path as people write it: `models[0].targets[1].upstream`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def leaves(data: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value that is no mapping and no list with something in it, with its path."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    if not data or not isinstance(data, dict | list):
        yield path, data
    for key, value in inner:
        yield from leaves(value, (*path, key))


def value_at(data: Any, path: Path_) -> Any:
    """What stands at a path; None where nothing does."""
    for part in path:
        is_there = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if not is_there:
            return None
        data = data[part]
    return data


def literal(text: str) -> str:
    """A text that means itself in a draft, whatever it holds."""
    return text.replace("${", "$${")
