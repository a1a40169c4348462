"""How many of the facts planted in long dialogues are still known after one compaction, and after three.

The summary is written by a summariser that follows rules, in the place of the provider, or is the gateway's digest.
`scripts/soak compaction` prints the figures.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from headgate.conversations.compaction import text_of
from headgate.conversations.items import with_id
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, New, Owner
from headgate.core.principal import ANYONE
from headgate.pipeline.history import ReadHistory
from headgate.tools.types import Caller
from tests.compaction import dialogues, held_out
from tests.compaction.dialogues import TURNS, Dialogue, Fact
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Recorded, Stub, chat
from tests.journeys.test_compaction import settings
from tests.requirements import covers

pytestmark = covers("86", "91")
OWNER = Owner("default", "")
POLICY = {"keep_turns": 2, "user_text_tokens": 300}
STEPS = (16, 29, TURNS)
"""Turns said before each of the compactions; every fact but the changes of mind is told before the first."""
CUES = re.compile(
    r"\b(must|never|no one|nobody|nothing may|has to|remember|rule|decided?|decision|agreed|correct|correction|wrong|"
    r"wrongly|actually|instead|rather|changed|not|no)\b|[0-9]|[#/@_]",
    re.IGNORECASE,
)
Items = Callable[[Dialogue, int, int], Iterable[dict[str, Any]]]
SETS = {"tuned": dialogues, "held out": held_out}
KINDS = ("identifier", "decision", "correction", "constraint", "change of mind")


def by_rules(request: Recorded) -> Answer:
    """A summary of the sentences that have a number, a name or a word of deciding in them, the newest ones first."""
    *said, task = request.json["messages"]
    words = int(re.findall(r"at most (\d+) words", task["content"])[0])
    sentences: dict[str, None] = {}
    for message in said:
        text = str(message.get("content") or "").replace("Summary of the conversation until now:", "")
        for sentence in re.split(r"(?<=[.!?;])\s+|\n+", re.sub(r"^## .*$|^- ", "", text, flags=re.MULTILINE)):
            if CUES.search(sentence) and "(It stands for" not in sentence:
                sentences.setdefault(sentence.strip())
    kept: list[str] = []
    for sentence in reversed(sentences):
        words -= len(sentence.split())
        if words > 0:
            kept.append(f"- {sentence}")
    return chat("## Facts\n" + "\n".join(reversed(kept)))


def refusing(_: Recorded) -> Answer:
    return Answer(status=500)


async def told(state: State, head: Conversation) -> str:
    return "\n".join(text_of(one.data) for one in await state.heads.told(head))


async def reaches(state: State, head: Conversation, fact: Fact) -> bool:
    tool = ReadHistory(state.heads, head)
    return fact.needle in (await tool.call({"search": fact.needle}, Caller(ANYONE))).text


async def after_each(gateway: Gateway, dialogue: Dialogue, items_of: Items) -> list[tuple[int, str, Conversation]]:
    """(turns said, what is told, the conversation) after each compaction."""
    state = gateway.gate.deps.state
    assert state is not None
    head, said, found = await state.heads.create(OWNER, model="small"), 0, []
    for turns in STEPS:
        added = [New(with_id(one)) for one in items_of(dialogue, said, turns)]
        head, _ = await state.heads.append(await state.heads.get(head.id, OWNER), added)
        said = turns
        answer = await gateway.http.post(f"/c1/conversations/{head.id}/compact", json=POLICY)
        assert answer.json()["changed"], answer.text
        head = await state.heads.get(head.id, OWNER)
        found.append((said, await told(state, head), head))
    return found


async def known(gateway: Gateway, among: Sequence[Dialogue], items_of: Items) -> dict[str, dict[int, Counter[str]]]:
    """How many facts are told, reached and planted, by kind, after one and after three compactions."""
    state = gateway.gate.deps.state
    assert state is not None
    counts: dict[str, dict[int, Counter[str]]] = {kind: {1: Counter(), 3: Counter()} for kind in KINDS}
    for dialogue in among:
        steps = await after_each(gateway, dialogue, items_of)
        for number in (1, 3):
            turns, text, head = steps[number - 1]
            for fact in dialogue.facts:
                if fact.turn >= turns:
                    continue
                is_told = fact.needle.lower() in " ".join(text.lower().split())
                is_reached = is_told or await reaches(state, head, fact)
                counts[fact.kind][number].update(planted=1, told=is_told, reached=is_reached)
    return counts


def shown(counts: dict[str, dict[int, Counter[str]]], name: str) -> str:
    lines = [f"{name}: kind, told after one, after three, within reach after three"]
    for kind, found in counts.items():
        shares = [f"{one['told']}/{one['planted']}" for one in (found[1], found[3])]
        lines.append(f"  {kind:16} {shares[0]:>7} {shares[1]:>7} {found[3]['reached']}/{found[3]['planted']:>3}")
    return "\n".join(lines)


LEAST = {("tuned", "summary"): 0.9, ("tuned", "digest"): 0.6, ("held out", "summary"): 0.4, ("held out", "digest"): 0.4}
"""Share of the facts that are told after three compactions."""


@pytest.mark.parametrize("among", SETS)
@pytest.mark.parametrize("name", ["summary", "digest"])
async def test_planted_facts_are_told_or_within_reach(stub: Stub, tmp_path: Path, name: str, among: str) -> None:
    stub.otherwise = by_rules if name == "summary" else refusing
    dialogues = SETS[among].DIALOGUES
    async with running_gateway(settings(stub, user_text_tokens=300), tmp_path) as gateway:
        counts = await known(gateway, dialogues, SETS[among].items_of)
    sys.stdout.write(f"\n{shown(counts, f'{among}, {name}')}\n")
    planted = sum(one[3]["planted"] for one in counts.values())
    assert planted == 5 * len(dialogues) >= 100
    assert sum(one[3]["reached"] for one in counts.values()) == planted
    assert sum(one[3]["told"] for one in counts.values()) >= LEAST[among, name] * planted


@pytest.mark.parametrize("among", SETS)
def test_the_set_is_large_and_every_fact_is_told_once(among: str) -> None:
    assert len(SETS[among].DIALOGUES) >= 20
    for dialogue in SETS[among].DIALOGUES:
        texts = [text_of(one) for one in SETS[among].items_of(dialogue, 0, TURNS)]
        assert len(texts) > 80
        for fact in dialogue.facts:
            assert sum(fact.needle in text for text in texts) == 1, fact
            assert fact.turn <= STEPS[1] - POLICY["keep_turns"]
