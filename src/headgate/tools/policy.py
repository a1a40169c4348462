"""Which calls of the gateway's own tools are held back until somebody approves. Pure."""

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

    def holds(self, info: ToolInfo) -> bool:
        """Whether a call of this tool has to wait for an approval."""
        policy = self._of(info.name)
        if policy == "auto":
            return may_destroy(info.hints)
        return policy == "always_ask"

    def _of(self, name: str) -> Policy:
        if not self.by_name:
            return self.default
        exact = self.by_name.get(name)
        if exact is not None:
            return exact
        matching = [pattern for pattern in self.by_name if fnmatchcase(name, pattern)]
        return self.by_name[max(matching, key=len)] if matching else self.default


def may_destroy(hints: Hints) -> bool:
    """Whether a call may destroy something. A tool that says nothing counts as one that does."""
    if hints.destructive is None:
        return hints.read_only is not True
    return hints.destructive


def named(tool: ToolInfo, wanted: Iterable[str]) -> bool:
    """Whether any of these names, groups or patterns means the tool."""
    return any(one == tool.group or fnmatchcase(tool.name, one) for one in wanted)
