"""Which calls of the gateway's own tools are held back until somebody approves. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from headgate.tools.types import Hints, Policy, ToolInfo

HELD = (
    "The tool '{name}' was not run: it needs the approval of a person, and nobody was asked. "
    "Do not call it again with the same intent; tell the user what you wanted to do."
)


@dataclass(frozen=True, slots=True)
class Policies:
    """`default` holds where no pattern of `by_name` matches; of several patterns, the longest one counts."""

    default: Policy = "auto"
    by_name: Mapping[str, Policy] = field(default_factory=dict)

    def holds(self, info: ToolInfo, arguments: str = "") -> bool:
        """Whether a call of this tool has to wait for an approval; `arguments` are JSON as a model wrote it."""
        if info.asks:
            return True
        pattern = self._deciding(info.name)
        policy = self.default if pattern is None else self.by_name[pattern]
        if policy == "auto":
            return may_destroy(info.hints) and not (info.confirms and _only_shows(info.confirms, arguments))
        return policy == "always_ask"

    def rule(self, info: ToolInfo) -> str:
        """What holds a call of this tool back, as settings have it: `tool_policies.files_*: always_ask`."""
        if info.asks:
            return "question"
        pattern = self._deciding(info.name)
        line = (
            f"tool_policy: {self.default}" if pattern is None else f"tool_policies.{pattern}: {self.by_name[pattern]}"
        )
        if not line.endswith(": auto"):
            return line
        return f"{line}, destructiveHint: {'true' if info.hints.destructive else 'not told'}"

    def _deciding(self, name: str) -> str | None:
        """The name or pattern that counts; None where none matches."""
        if not self.by_name or name in self.by_name:
            return name if self.by_name else None
        matching = [pattern for pattern in self.by_name if fnmatchcase(name, pattern)]
        return max(matching, key=len) if matching else None


def _only_shows(confirms: str, arguments: str) -> bool:
    """Whether a call lacks the argument without which nothing is changed."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return isinstance(given, dict) and not given.get(confirms)


def may_destroy(hints: Hints) -> bool:
    """Whether a call may destroy something. A tool that says nothing counts as one that does."""
    if hints.destructive is None:
        return hints.read_only is not True
    return hints.destructive


def named(tool: ToolInfo, wanted: Iterable[str]) -> bool:
    """Whether any of these names, groups or patterns means the tool."""
    names = (tool.name, *tool.aliases)
    return any(one == tool.group or any(fnmatchcase(name, one) for name in names) for one in wanted)
