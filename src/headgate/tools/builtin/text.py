"""Counting what a text holds."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from headgate.tools.builtin.function import FunctionTool, builtin, schema, text
from headgate.tools.types import Caller, ToolResult

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+(?=[\s\"')\]\u201d\u00bb]|$)")
_LONGEST = 1_000_000


def stats_of(words: str) -> dict[str, Any]:
    """Counts of one text. A sentence ends with a mark and a space; what follows the last one counts as one more."""
    found = _WORD.findall(words)
    ends = [match.end() for match in _END.finditer(words)]
    rest = words[ends[-1] if ends else 0 :]
    counts = Counter(word.lower() for word in found)
    return {
        "characters": len(words),
        "characters_without_spaces": sum(not one.isspace() for one in words),
        "bytes": len(words.encode("utf-8", "surrogatepass")),
        "words": len(found),
        "unique_words": len(counts),
        "sentences": len(ends) + bool(_WORD.search(rest)),
        "lines": len(words.splitlines()),
        "paragraphs": sum(bool(part.strip()) for part in re.split(r"\n[ \t]*\n", words)),
        "average_word_length": round(sum(map(len, found)) / len(found), 2) if found else 0,
        "most_frequent": [{"word": word, "count": count} for word, count in counts.most_common(5)],
    }


async def _text_stats(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
    words = arguments["text"]
    if len(words) > _LONGEST:
        raise ValueError(f"a text has at most {_LONGEST} characters")
    stats = await asyncio.to_thread(stats_of, words)
    return ToolResult(orjson.dumps(stats, option=orjson.OPT_INDENT_2).decode("utf-8", "replace"), structured=stats)


TEXT_STATS = FunctionTool(
    builtin(
        "text_stats",
        "Count characters, words, sentences, lines and paragraphs of a text.",
        schema(text=text("The text.")),
        "compute",
    ),
    _text_stats,
)
