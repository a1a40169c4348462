"""The tool by which a model reads what compactions cover of its conversation: by position, or by words in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headgate.agents.types import AgentSettings
from headgate.conversations.compaction import line_of, text_of
from headgate.conversations.store import Heads
from headgate.conversations.types import Conversation, Item
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.pipeline.inject import goes_with
from headgate.tools.types import Caller, Hints, Tool, ToolInfo, ToolResult

NAME = "read_history"
_PAGE = 20
_MOST_ITEMS = 50
_MOST_CHARACTERS = 12_000
_LONGEST_ITEM = 2000
_LONGEST_ALONE = 10_000
_AT_ONCE = 500
_MOST_SEARCHED = 20_000
_SAYS = (
    "Read earlier items of this conversation word by word, also those that a summary stands for. "
    "Give 'search' to find items that hold all of these words, or 'first' and 'last' for a range of item numbers. "
    "If there is more, the result says with which 'first' to go on."
)
_NUMBER = {"type": "integer", "minimum": 1}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "search": {"type": "string", "maxLength": 200, "description": "Words that the items hold, in any case."},
        "first": {**_NUMBER, "description": "Number of the first item to read; 1 if left out."},
        "last": {**_NUMBER, "description": "Number of the last one; the end if left out."},
        "limit": {**_NUMBER, "maximum": _MOST_ITEMS, "description": f"How many at most; {_PAGE} if left out."},
    },
    "additionalProperties": False,
}
INFO = ToolInfo(NAME, _SAYS, _PARAMETERS, "builtin", "history", Hints(True, False, True, False))


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """For one conversation."""

    heads: Heads
    head: Conversation
    info: ToolInfo = INFO

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        words = str(arguments.get("search") or "").lower().split()
        first, last = int(arguments.get("first") or 1), int(arguments.get("last") or self.head.depth)
        limit = min(int(arguments.get("limit") or _PAGE), _MOST_ITEMS)
        alone = first == last
        lines: list[str] = []
        room, searched, after = _MOST_CHARACTERS, 0, first - 1
        while after < last and searched < _MOST_SEARCHED:
            page = await self.heads.items(self.head, after, min(_AT_ONCE, last - after))
            for item in page:
                line = _told(item, words, alone=alone) if item.position <= last else ""
                if line and (len(lines) == limit or (room := room - len(line)) < 0):
                    return _result(lines, item.position)
                lines += [line] * bool(line)
            searched += len(page)
            if not page:
                break
            after = page[-1].position
        return _result(lines, after + 1 if after < last and searched >= _MOST_SEARCHED else 0)


def _told(item: Item, words: Sequence[str], *, alone: bool) -> str:
    """The item on a line; empty where it is not meant."""
    if item.data.get("type") == "compaction" or (words and not _holds(item, words)):
        return ""
    longest = _LONGEST_ALONE if alone else _LONGEST_ITEM
    return line_of(item, lambda _: longest)


def _holds(item: Item, words: Sequence[str]) -> bool:
    text = text_of(item.data).lower()
    return all(word in text for word in words)


def _result(lines: Sequence[str], following: int) -> ToolResult:
    told = "\n".join(lines) or "There are no such items."
    return ToolResult(f"{told}\n[More: go on with first={following}]" if following else told)


def with_history(head: Conversation, heads: Heads, deps: Deps) -> Deps:
    """The same, where the runs on this conversation have the tool."""
    tool = ReadHistory(heads, head)
    before, inject = deps.toolbox, deps.inject

    async def toolbox(agent: AgentSettings, run: Run) -> Sequence[Tool]:
        tools = await before(agent, run)
        return [*tools, tool] if run.conversation == head.id else tools

    def injected(request: ModelRequest, run: Run) -> AgentSettings | None:
        found = inject(request, run) if inject is not None else None
        if found is not None or run.conversation != head.id or not goes_with(request):
            return found
        return AgentSettings(name=request.model[:128], model=request.model, include_global_skills=False)

    return replace(deps, toolbox=toolbox, inject=injected)
