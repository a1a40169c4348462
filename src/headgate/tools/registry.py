"""All tools by name, whatever their source."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from headgate.core.errors import StartupError
from headgate.tools.builtin.function import FunctionTool
from headgate.tools.policy import named
from headgate.tools.types import Tool


class Registry:
    """Names are unique: a second tool of one name is refused."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        self._aliases: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Raises StartupError when the name is taken."""
        name = tool.info.name
        if name in self._tools:
            raise StartupError(f"There are two tools named '{name}'.")
        self._tools[name] = tool
        for alias in tool.info.aliases:
            self._aliases[alias] = FunctionTool(replace(tool.info, name=alias, aliases=()), tool.call)

    def get(self, name: str) -> Tool | None:
        """By its name, or by another one, which it then has."""
        return self._tools.get(name) or self._aliases.get(name)

    def chosen(self, wanted: Sequence[str]) -> list[Tool]:
        """The tools that these names, groups and patterns mean, in the registry's order."""
        return [tool for tool in self._tools.values() if named(tool.info, wanted)]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())
