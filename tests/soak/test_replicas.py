"""Two real llama.cpp servers behind one model: conversations that stay on one replica are served from its cache."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from headgate.config.discovery import has_packaged_model
from tests.conftest import Amount
from tests.harness.process import Process, Processes
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
SLOTS = 3
CONVERSATIONS = 5
WORDS = ("sail", "wind", "harbour", "night", "lamp", "stone", "river", "bread", "garden", "letter", "winter", "music")
pytestmark = [
    covers("167"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(not has_packaged_model(), reason="the local model's packages are not installed"),
]


@dataclass(frozen=True)
class Cached:
    """Prompt tokens of all turns, and how many of them came from a replica's cache."""

    prompt: int
    cached: int

    def __str__(self) -> str:
        return f"{self.cached} of {self.prompt} ({self.cached / self.prompt:.0%})"


def configuration() -> str:
    """Each replica holds `SLOTS` conversations and nothing more, as a busy server does."""
    local = {"context": 2048, "parallel": SLOTS, "prompt_cache_mib": 0, "threads": 1}
    targets = [{"upstream": name, "model": "smollm2"} for name in ("one", "two")]
    kinds: dict[str, dict[str, Any]] = {
        "prefix": {"affinity": "prefix"},
        "session": {"affinity": "session", "balance": "least_busy"},
        "least_busy": {"balance": "least_busy"},
        "weighted": {"balance": "weighted"},
    }
    return json.dumps(
        {
            "upstreams": [{"name": name, "provider": "local", "local": local} for name in ("one", "two")],
            "models": [{"name": name, "targets": targets, **kind} for name, kind in kinds.items()],
        }
    )


def sentences(number: int, count: int) -> Iterator[str]:
    """Texts that no two conversations begin alike."""
    for turn in range(count):
        picked = [WORDS[(number * 5 + turn * 3 + at * (number + 1)) % len(WORDS)] for at in range(60)]
        yield f"{number} {' '.join(picked)}. What comes next?"


async def converse(serving: Process, model: str, turns: int) -> Cached:
    """All conversations, one turn each in rotation, as many people talking at once would have it."""
    texts = [list(sentences(number, turns)) for number in range(CONVERSATIONS)]
    histories: list[list[dict[str, str]]] = [[] for _ in range(CONVERSATIONS)]
    prompt = cached = 0
    async with httpx.AsyncClient(base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as http:
        for turn in range(turns):
            for number, history in enumerate(histories):
                history.append({"role": "user", "content": texts[number][turn]})
                response = await http.post(
                    "/v1/chat/completions",
                    json={"model": model, "messages": history, "max_tokens": 4, "temperature": 0},
                    headers={"x-session-id": f"{model}-{number}"},
                )
                assert response.status_code == 200, response.text
                answer = response.json()
                history.append(answer["choices"][0]["message"])
                prompt += answer["usage"]["prompt_tokens"]
                cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return Cached(prompt, cached)


async def test_conversations_that_stay_on_one_replica_are_served_from_its_cache(
    processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    (tmp_path / "headgate.yaml").write_text(configuration())
    serving = await asyncio.to_thread(
        processes.serve, "--config", str(tmp_path / "headgate.yaml"), HEADGATE_MASTER_KEY=KEY
    )
    turns, kinds = amount(3, 8), amount(1, 2)
    without = {name: await converse(serving, name, turns) for name in ("least_busy", "weighted")[:kinds]}
    having = {name: await converse(serving, name, turns) for name in ("prefix", "session")[:kinds]}
    print()
    for name, counted in (without | having).items():
        print(f"{name}: cached prompt tokens {counted}")
    assert all(counted.cached >= 5 * without["least_busy"].cached for counted in having.values())
    assert all(counted.cached > counted.prompt / 3 for counted in having.values())
    lines = [json.loads(line) for line in serving.out.read_text().splitlines() if '"event":"request"' in line]
    assert any(line["cached_tokens"] for line in lines)
