"""A summary that no model writes: the sentences of a conversation that say most, word by word. Pure.

Knows no language. A sentence says much if it holds what has to be exact, if the user said it, or if its words are rare
in the conversation. The same items give the same text.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from headgate.conversations.compaction import BYTES_PER_TOKEN, PLACE, Plan, is_summary, line_of, text_of
from headgate.conversations.types import Item

HEAD = "(Made without a model, of what was said word by word.)"
_LONGEST = 240
_EXACT = re.compile(
    r"https?://[^\s)>\"']+|[\w.+-]+@[\w-]+\.[\w.]+|(?<![\w/])/?(?:[\w.-]+/)+[\w.-]+"
    r"|\b(?=[\w:-]*\d)[A-Za-z0-9][\w:-]*(?:\.\w+)*\b|\b[a-z]+(?:_[a-z0-9]+)+\b|\b[A-Z][A-Z0-9_-]{3,}\b"
)
"""What has to be said letter by letter: addresses, paths, numbers, and names with digits, `_` or capitals."""
_SENTENCES = re.compile(r"(?<=[.!?;\u3002\uff01\uff1f])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_WORDS = re.compile(r"\w+")
_OF_EXACT, _OF_EARLIER, _OF_USER = 1.5, 1.0, 0.5
_SHARE_OF_EXACT = 4


@dataclass(frozen=True, slots=True)
class _Sentence:
    place: int
    text: str
    bonus: float
    """Of who said it."""

    @property
    def key(self) -> str:
        """Without its position, which tells nothing."""
        return self.text.partition("] ")[2] or self.text


def digest_of(plan: Plan, tokens: int) -> str:
    """What takes the place of the items that a plan covers, in about so many tokens at most."""
    room = tokens * BYTES_PER_TOKEN - len(HEAD)
    sentences = list({one.key: one for one in _sentences(plan.dropped)}.values())
    scores = _scores(sentences)
    order = sorted(range(len(sentences)), key=lambda at: (-scores[at], -at))
    said = sorted(_fitting([(sentences[at].text, at) for at in order], room - room // _SHARE_OF_EXACT))
    told = "\n".join(sentences[at].text for at in said)
    words = [word for one in sentences for word in _EXACT.findall(one.key) if word not in told]
    left = room - len(told.encode())
    latest = list(dict.fromkeys(reversed(words)))
    exact = _fitting([(f"{word}, ", at) for at, word in enumerate(latest)], left)
    also = ", ".join(latest[at] for at in sorted(exact, reverse=True))
    return f"{HEAD}\n\n## Said and done\n{told or 'None'}\n\n## Also named\n{also or 'None'}"


def _sentences(items: Iterable[Item]) -> Iterator[_Sentence]:
    place = 0
    for item in items:
        if is_summary(item):
            texts = [(text, _OF_EARLIER) for text in _of_earlier(item)]
        elif item.data.get("type") == "message":
            who = str(item.data.get("role"))
            bonus = _OF_USER if who == "user" else 0.0
            parts = _SENTENCES.split(text_of(item.data))
            texts = [(f"[{item.position}] {who}: {one.strip()}", bonus) for one in parts if one.strip()]
        else:
            texts = [(line, 0.0)] if (line := line_of(item)) else []
        for text, bonus in texts:
            place += 1
            yield _Sentence(place, text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [...]", bonus)


def _of_earlier(item: Item) -> Sequence[str]:
    text = text_of(item.data).partition(PLACE)[0].replace(HEAD, "")
    return [line for one in text.split("\n") if (line := one.strip()) and not line.startswith("## ") and line != "None"]


def _scores(sentences: Sequence[_Sentence]) -> list[float]:
    """How much each says: the mean rarity of its words, between 0 and 1, and what it gains besides."""
    words = [set(_WORDS.findall(one.key.lower())) for one in sentences]
    counts = Counter(word for one in words for word in one)
    most = math.log(len(sentences) + 1) or 1.0
    rarity = [
        sum(math.log((len(sentences) + 1) / counts[word]) for word in one) / (len(one) * most) if one else 0.0
        for one in words
    ]
    return [
        rare + one.bonus + (_OF_EXACT if _EXACT.search(one.key) else 0.0)
        for rare, one in zip(rarity, sentences, strict=True)
    ]


def _fitting(texts: Iterable[tuple[str, int]], room: int) -> list[int]:
    """Which of them fit, taken in their order; one that is too long is passed over."""
    kept: list[int] = []
    for text, at in texts:
        size = len(text.encode()) + 1
        if size <= room:
            room -= size
            kept.append(at)
    return kept
