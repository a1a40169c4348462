"""What a model remembers for the user whom it serves, beyond the conversation. Nobody else's memories are reached."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headgate.tools.builtin.function import FunctionTool, builtin, number, schema, text
from headgate.tools.ports import Remembered, Remembers
from headgate.tools.types import Caller, Hints, ToolResult

_GROUP = "memory"
_READS = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
_ADDS = Hints(read_only=False, destructive=False, idempotent=True, open_world=False)
_DELETES = Hints(read_only=False, destructive=True, idempotent=True, open_world=False)
_ID = text("The id, such as mem_….", maxLength=64)
_MOST = 50


def memory_tools(kept: Remembers) -> list[FunctionTool]:
    async def write(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        made = await kept.write(caller.who, arguments["text"].strip())
        return ToolResult(f"Remembered as {made.id}.", structured=_shape(made))

    async def read(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        return _told([await kept.read(caller.who, arguments["id"])])

    async def search(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        return _told(await kept.search(caller.who, arguments["query"], arguments.get("limit", 10)))

    async def list_(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        limit = arguments.get("limit", 20)
        found = await kept.page(caller.who, limit, arguments.get("after", ""))
        return _told(found[:limit], more=len(found) > limit)

    async def delete(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        await kept.delete(caller.who, arguments["id"])
        return ToolResult(f"Forgotten: {arguments['id']}.")

    most = number("How many at most.", minimum=1, maximum=_MOST)
    said = text("What to remember, in words that will be understood later.", minLength=1, maxLength=4000, pattern=r"\S")
    return [
        _tool("memory_write", "Remember something for this user.", schema(text=said), _ADDS, write),
        _tool("memory_read", "One memory of this user by its id.", schema(id=_ID), _READS, read),
        _tool(
            "memory_search",
            "Memories of this user that hold most of some words.",
            schema("limit", query=text("Words to look for.", minLength=1, maxLength=400), limit=most),
            _READS,
            search,
        ),
        _tool(
            "memory_list",
            "What is remembered for this user, the newest first.",
            schema("limit", "after", limit=most, after=text("The id of the last one seen.", maxLength=64)),
            _READS,
            list_,
        ),
        _tool("memory_delete", "Forget one memory of this user.", schema(id=_ID), _DELETES, delete),
    ]


def _tool(name: str, about: str, parameters: dict[str, Any], hints: Hints, function: Any) -> FunctionTool:
    return FunctionTool(builtin(name, about, parameters, _GROUP, hints), function)


def _told(found: Sequence[Remembered], *, more: bool = False) -> ToolResult:
    lines = [f"{one.id} ({_day(one)}): {one.text}" for one in found]
    lines += [f"[more: ask with after={found[-1].id}]"] if more else []
    told = {"memories": [_shape(one) for one in found], "has_more": more}
    return ToolResult("\n".join(lines) or "There are none.", structured=told)


def _shape(one: Remembered) -> dict[str, Any]:
    return {"id": one.id, "text": one.text, "created": int(one.created)}


def _day(one: Remembered) -> str:
    return datetime.fromtimestamp(one.created, UTC).strftime("%Y-%m-%d")
