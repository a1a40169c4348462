"""Passages of an agent's indices go along with the user's last message, whether its model asks for them or not.

They stand behind what the user said, and nowhere else: what comes before is the same with every turn, and what is kept
of the conversation is what the user said. Where they cannot be looked up, the run goes on without, and says so.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headgate.agents.types import RagSettings
from headgate.core.chat import Given, Retrieved
from headgate.core.errors import HeadgateError
from headgate.core.knowledge_errors import IndexNotFound
from headgate.core.run import Run
from headgate.core.state_errors import StateUnavailable
from headgate.knowledge.types import Found, Passage
from headgate.pipeline.compact import room_of
from headgate.pipeline.context import Deps
from headgate.pipeline.embed import embed_for
from headgate.pipeline.prepare import Prompt
from headgate.pipeline.tools import defuses
from headgate.tools.marks import defused
from headgate.tools.passages import Quoted, cited_as, handed_over, within
from headgate.tools.types import Caller

log = logging.getLogger(__name__)
_USUAL_WINDOW = 16_384
"""Tokens, where nobody knows how many a model reads."""
_CHARACTERS = 3
"""Of a token, at least in most languages."""
_LONGEST_QUESTION = 4_000


async def hand_over(prompt: Prompt, run: Run, deps: Deps) -> Retrieved | None:
    """Add passages to the prompt; tells which, None where the agent wants none or the user said nothing in words."""
    wanted = prompt.agent.passive
    message = next((one for one in reversed(prompt.messages) if one.get("role") == "user"), None)
    said = _words(message.get("content")) if message is not None else ""
    if wanted is None or message is None or not said.strip():
        return None
    found, failed = await _looked_up(wanted, said, prompt, run, deps)
    passages = within([quotable(one) for one in found if _score(one) >= wanted.min_score], _room(wanted, prompt, deps))
    if passages:
        message["content"] = _with(message.get("content"), _safe(passages, prompt, run, deps))
    for name, why in failed.items():
        run.absent[f"index {name}"] = why
        log.warning("agent %s goes on without the index %s: %s", prompt.agent.name, name, why)
    run.passages = tuple(Given(one.id, one.index, one.score) for one in passages)
    return Retrieved(run.passages, failed)


def quotable(passage: Passage) -> Quoted:
    id_ = cited_as(passage.document, passage.chunk)
    return Quoted(id_, passage.index, passage.title, passage.source, passage.text, round(passage.score, 6))


async def _looked_up(
    wanted: RagSettings, said: str, prompt: Prompt, run: Run, deps: Deps
) -> tuple[Sequence[Passage], dict[str, str]]:
    """What was found, and why nothing was, by index."""
    caller = Caller(run.who, run.id, prompt.agent.name, run.depth, run.trace.traceparent)
    failed: dict[str, str] = {}
    names = []
    try:
        if deps.knowledge is None:
            raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
        async with asyncio.timeout(prompt.agent.bounds.tool_seconds):
            for name in wanted.indices:
                try:
                    names.append((await deps.knowledge.index(run.who.tenant, name)).id)
                except IndexNotFound as error:
                    failed[name] = error.code
            found = Found((), wanted.mode or "hybrid")
            if names:
                found = await deps.knowledge.query(
                    run.who.tenant,
                    names,
                    said[-_LONGEST_QUESTION:],
                    embed_for(caller, deps),
                    top_k=wanted.top_k,
                    mode=wanted.mode,
                )
    except HeadgateError as error:
        return (), dict.fromkeys(wanted.indices, error.code) | failed
    except TimeoutError:
        return (), dict.fromkeys(wanted.indices, "timeout") | failed
    return found.passages, failed


def _score(passage: Passage) -> float:
    near = passage.ranks.similarity
    return passage.score if near is None else near


def _room(wanted: RagSettings, prompt: Prompt, deps: Deps) -> int:
    """Characters: the share that is set, as far as the prompt leaves room for it."""
    room = room_of(deps.catalog.configured(prompt.model), prompt.fields, deps)
    most = int((room.window or _USUAL_WINDOW) * wanted.share * _CHARACTERS)
    if not room.window:
        return most
    said = sum(len(_words(message.get("content"))) for message in prompt.messages)
    return min(most, room.prompt * _CHARACTERS - said)


def _safe(passages: Sequence[Quoted], prompt: Prompt, run: Run, deps: Deps) -> str:
    if not defuses(prompt.model, run, deps):
        return handed_over(passages)
    safe = [
        replace(one, title=defused(one.title), source=defused(one.source), text=defused(one.text)) for one in passages
    ]
    return handed_over(safe)


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(str(one.get("text") or "") for one in parts if isinstance(one, dict) and one.get("type") == "text")


def _with(content: Any, passages: str) -> Any:
    if isinstance(content, list):
        return [*content, {"type": "text", "text": passages}]
    return f"{content}\n\n{passages}"
