"""What callers are told of a node at work: which tools it calls, and nothing of what it says."""

from collections.abc import Iterator, Mapping
from typing import Any

from headgate.core.chat import ChatEvent, Step, ToolEnded, ToolHeld, ToolStarted


def progress_of(event: ChatEvent) -> Iterator[Mapping[str, Any]]:
    """A tool that began, ended or waits for an approval, told the same way by turns and by steps of reasoning."""
    match event:
        case ToolStarted(call):
            yield _told(call.name, "started")
        case ToolEnded(call):
            yield _ended(call.name, event.seconds * 1000, failed=event.failed)
        case ToolHeld(call):
            yield _told(call.name, "approval_required")
        case Step("tool_execution_start"):
            for name in event.metadata["tools"]:
                yield _told(name, "started")
        case Step("tool_result"):
            for one in event.metadata["tool_results"]:
                yield _ended(one["tool_name"], one["execution_time_ms"], failed=not one["success"])


def _told(name: str, status: str, **more: Any) -> Mapping[str, Any]:
    return {"tool_name": name, "status": status, **more}


def _ended(name: str, milliseconds: float, *, failed: bool) -> Mapping[str, Any]:
    return _told(name, "completed", success=not failed, duration_ms=round(milliseconds))
