"""What the nodes of a plan, and the model that writes the answer, are told of each other's results."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from headgate.agents.plan import Node
from headgate.pipeline.delegation import words_of

Guard = Callable[[str], str]
"""Makes a text harmless for the model that reads it."""


class Result(NamedTuple):
    """What came of a node: its words, or why there are none. `state` is completed, failed or skipped."""

    node: Node
    state: str
    text: str


def bounded(text: str, characters: int) -> str:
    """The text within a length; what is left out is told."""
    left = len(text) - characters
    return text if left <= 0 else f"{text[:characters]}\n[{left} characters left out]"


def task_of(node: Node, asked: str, results: Iterable[Result], guard: Guard) -> str:
    """What a node is told: what it should do, for which request, and what those found that it builds on."""
    parts = [f"Your piece of the work:\n{node.objective}"]
    if asked:
        parts.append(f"The request that the work as a whole is for; do only your piece of it:\n{asked}")
    parts += [f"Result of '{one.node.id}' by {one.node.agent}:\n{guard(one.text)}" for one in results]
    return "\n\n".join(parts)


def report_of(results: Iterable[Result], guard: Guard) -> str:
    """All results, for the one who writes the answer."""
    return "\n\n".join(_reported(one, guard) for one in results)


def _reported(result: Result, guard: Guard) -> str:
    id_, agent, objective, _ = result.node
    head = f"Piece '{id_}' by {agent}: {objective}"
    if result.state == "completed":
        return f"{head}\nResult:\n{guard(result.text)}"
    return f"{head}\n{'It failed' if result.state == 'failed' else 'It was not begun'}: {guard(result.text)}"


def last_words(messages: Sequence[Any]) -> str:
    """The text of the last message of the user."""
    return next((words_of(one.get("content")) for one in reversed(messages) if one.get("role") == "user"), "")
