"""Stored conversations and what belongs to them, as JSON. Times are whole seconds since the epoch."""

from collections.abc import Iterable
from typing import Any

from headgate.conversations.types import Conversation, Item, Segment
from headgate.core.money import usd


def conversation_shape(head: Conversation, kind: str) -> dict[str, Any]:
    """`kind` is conversation or session. Its messages are all its items, calls and thoughts among them."""
    return {
        "id": head.id,
        "object": kind,
        "title": head.title,
        "message_count": head.depth,
        "model": head.model,
        "agent": head.agent or None,
        "metadata": dict(head.metadata),
        "created_at": _seconds(head.created),
        "last_used_at": _seconds(head.touched),
    }


def item_shape(item: Item) -> dict[str, Any]:
    """An item in the words of the Responses API, and where it stands."""
    return {**item.data, "position": item.position, "run_id": item.run or None, "created_at": _seconds(item.created)}


def lineage_shape(head: Conversation, path: Iterable[Segment], children: Iterable[Segment]) -> dict[str, Any]:
    """The segments of its path, the root first; where it was forked from, and what was forked from it."""
    path = list(path)
    on_path = {one.id for one in path}
    begun = next((one for one in reversed(path) if one.cause == "fork" and one.conversation == head.id), None)
    before = {one.id: one for one in path}.get(begun.parent) if begun is not None else None
    forks = [one for one in children if one.cause == "fork" and one.conversation and one.conversation != head.id]
    left = [one for one in children if one.conversation == head.id and one.id not in on_path]
    return {
        "object": "lineage",
        "id": head.id,
        "segment": head.segment,
        "segments": [segment_shape(one) for one in path],
        "forked_from": {"conversation_id": before.conversation or None, "position": begun.base}
        if begun is not None and before is not None
        else None,
        "forks": [{"conversation_id": one.conversation, "position": one.base} for one in forks],
        "left_behind": [segment_shape(one) for one in left],
    }


def segment_shape(segment: Segment) -> dict[str, Any]:
    """`after` is the position that it goes on from; `covers` those that its summary stands for."""
    told = dict(segment.told)
    nano_usd = told.pop("nano_usd", None)
    if nano_usd is not None:
        told["cost_usd"] = f"{usd(nano_usd):f}"
    return {
        "id": segment.id,
        "conversation_id": segment.conversation or None,
        "parent": segment.parent or None,
        "after": segment.base,
        "cause": segment.cause,
        "created_at": _seconds(segment.created),
        "covers": list(segment.covers) if segment.covers else None,
        "keeps": list(segment.keeps),
        "told": told,
    }


def _seconds(milliseconds: int) -> int:
    return milliseconds // 1000
