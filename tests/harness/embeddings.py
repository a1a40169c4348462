"""An embedding model that can be foretold: texts that share words are near. Each word adds to places of its own."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from headgate.knowledge.types import Embedded
from tests.harness.stub import Answer, Recorded

DIMENSIONS = 64
SAME = {"automobile": "car", "vehicle": "car", "feline": "cat", "physician": "doctor"}
"""Words that mean the same to it, though they are other words."""


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Of length one."""
    numbers = [0.0] * dimensions
    for word in re.findall(r"\w+", text.casefold()):
        numbers[crc32(SAME.get(word, word).encode()) % dimensions] += 1.0
    length = math.hypot(*numbers)
    return [one / length for one in numbers] if length else numbers


@dataclass
class Embedder:
    """Counts what it is asked, called as the pipeline or as a provider."""

    dimensions: int = DIMENSIONS
    model: str = "stub-embed"
    texts: list[str] = field(default_factory=list)
    calls: int = 0

    async def __call__(self, model: str, texts: Sequence[str]) -> Embedded:
        self._note(texts)
        return Embedded([vector(one, self.dimensions) for one in texts], self.model, frozenset((self.model,)))

    def answer(self, request: Recorded) -> Answer:
        texts = request.json["input"]
        texts = [texts] if isinstance(texts, str) else texts
        self._note(texts)
        data = [
            {"object": "embedding", "index": at, "embedding": vector(one, self.dimensions)}
            for at, one in enumerate(texts)
        ]
        usage = {"prompt_tokens": sum(len(one.split()) for one in texts), "total_tokens": 0}
        body = {"object": "list", "data": data, "model": request.json["model"], "usage": usage}
        return Answer(body=json.dumps(body).encode())

    def _note(self, texts: Sequence[str]) -> None:
        self.calls += 1
        self.texts += texts
