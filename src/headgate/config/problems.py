"""Mistakes in a configuration, told all at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from headgate.core.errors import StartupError


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, what it is and how to mend it. `line` counts from 1; 0 when there is none."""

    file: str
    line: int
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        at = f" {self.path}:" if self.path else ""
        return f"{place}:{at} {self.message}\n    {self.remedy}"


class ConfigError(StartupError):
    """Everything that is wrong with a configuration."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy that offers the nearest known word."""
    near = get_close_matches(word, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else otherwise
