"""All errors with a code, wherever in the core they are declared."""

from collections.abc import Iterator

from headgate.core import agent_errors, document_errors, knowledge_errors, state_errors, tool_errors
from headgate.core.errors import HeadgateError

__all__ = ["agent_errors", "catalogue", "document_errors", "knowledge_errors", "state_errors", "tool_errors"]


def catalogue() -> Iterator[type[HeadgateError]]:
    """Every error class with a code, in the order of the tree."""
    waiting: list[type[HeadgateError]] = [HeadgateError]
    while waiting:
        kind = waiting.pop(0)
        if kind.code:
            yield kind
        waiting[:0] = kind.__subclasses__()
