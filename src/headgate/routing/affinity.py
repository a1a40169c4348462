"""Keeping requests that begin alike on one target, so that its prompt cache serves them. Pure.

Rendezvous hashing (Thaler and Ravishankar, 1998): every worker and replica ranks the targets alike without sharing
anything, and a target that comes or goes moves only its own conversations. Loads are bounded as in consistent hashing
with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016): a target far busier than the others is passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from headgate.routing.types import Target

_SPREAD = 1.25
_SLACK = 4


def beginning_of(fields: Mapping[str, Any]) -> bytes | None:
    """What a conversation keeps from turn to turn: all before the model's first answer, or a prompt's first part."""
    messages = fields.get("messages") or fields.get("input")
    if isinstance(messages, list):
        opening = [fields[name] for name in ("instructions", "system") if fields.get(name)]
        for message in messages:
            if not isinstance(message, dict) or message.get("role") in ("assistant", "tool"):
                break
            opening.append(message.get("content"))
            if message.get("role") == "user":
                break
        return orjson.dumps(opening) if opening else None
    prompt = fields.get("prompt")
    return prompt[:1024].encode("utf-8", "replace") if isinstance(prompt, str) else None


def nearest(key: bytes, targets: Sequence[Target], in_flight: Callable[[Target], int]) -> Target:
    """The target that a key belongs to, or the next in its ranking while that one is far busier than the rest."""
    ranked = sorted(targets, key=lambda target: _score(key, target), reverse=True)
    loads = [in_flight(target) for target in ranked]
    bound = _SPREAD * (sum(loads) + 1) / len(ranked) + _SLACK
    return next((target for target, load in zip(ranked, loads, strict=True) if load + 1 <= bound), ranked[0])


def _score(key: bytes, target: Target) -> bytes:
    return blake2b(key, digest_size=8, key=target.key.encode()[:64]).digest()
