"""The tool by which an agent's model reads the skills that it was told of by name and description."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from headgate.agents.skills import Skill, files_of, read
from headgate.tools.builtin.function import FunctionTool
from headgate.tools.types import Caller, Hints, Tool, ToolInfo, ToolResult

__all__ = ["READ_SKILL", "reader_of"]
READ_SKILL = "read_skill"


def reader_of(skills: Sequence[Skill]) -> Tool | None:
    """The tool for these skills; None where every one of them stands in the prompt whole."""
    known = {one.name: one for one in skills if one.folder is not None}
    if not known:
        return None
    parameters = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": list(known), "description": "Which skill."},
            "file": {"type": "string", "description": "One of the files that the skill names; leave it out at first."},
        },
        "required": ["name"],
        "additionalProperties": False,
    }

    def call(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
        skill = known.get(str(arguments.get("name")))
        if skill is None:
            return _failed(f"There is no skill '{arguments.get('name')}'. Skills: {', '.join(known)}.")
        file = str(arguments.get("file") or "")
        try:
            text = read(skill, file)
        except (ValueError, OSError) as error:
            return _failed(str(error))
        files = files_of(skill) if not file else []
        return ToolResult("\n".join((text, "", "Files of this skill:", *files)) if files else text)

    async def called(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        return await asyncio.to_thread(call, arguments, caller)

    hints = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
    text = "Read how to do what one of your skills is for, or one of the files that come with it."
    return FunctionTool(ToolInfo(READ_SKILL, text, parameters, "builtin", "skills", hints), called)


def _failed(text: str) -> ToolResult:
    return ToolResult(f"Error: {text}", failed=True)
