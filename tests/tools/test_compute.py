"""Counting in texts, and questions to JSON with bounds on what they compute."""

import json
import time
from typing import Any

import pytest

from tests.requirements import covers
from tests.tools.calling import call, said

pytestmark = covers("101")


async def test_text_stats_counts_what_people_count() -> None:
    result = await call("text_stats", text="Hello there, Anna! It's 5 o'clock.\n\nHow are you? fine")
    stats: Any = result.structured
    assert stats == json.loads(result.text)
    assert (stats["words"], stats["sentences"], stats["lines"], stats["paragraphs"]) == (10, 4, 3, 2)
    assert stats["characters"] == 53
    assert stats["unique_words"] == 10


async def test_text_stats_of_nothing_and_of_other_scripts() -> None:
    nothing: Any = (await call("text_stats", text="")).structured
    assert (nothing["words"], nothing["sentences"], nothing["average_word_length"]) == (0, 0, 0)
    other: Any = (await call("text_stats", text="Привет мир. 你好。 naïve\ud800")).structured
    assert other["words"] == 4
    assert other["bytes"] > other["characters"]
    assert (await call("text_stats", text="a" * 1_000_001)).failed


ITEMS = {"items": [{"name": "pen", "price": 2, "tags": ["a"]}, {"name": "car", "price": 9000, "tags": []}]}


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("items[?price > `10`].name", ["car"]),
        ("sum(items[].price)", 9002),
        ("items[0].{n: name, p: price}", {"n": "pen", "p": 2}),
        ("items[].tags[]", ["a"]),
        ("nothing", None),
        ("sort_by(items, &price)[-1].name", "car"),
        ("join(', ', items[].name)", "pen, car"),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
async def test_json_query_answers_as_the_language_says(query: str, answer: Any, as_text: bool) -> None:
    given: Any = json.dumps(ITEMS) if as_text else ITEMS
    assert json.loads(await said("json_query", json=given, query=query)) == answer


LARGE = {"a": [{"p": number, "n": "x" * 30} for number in range(3000)], "s": "y" * 30_000}


@pytest.mark.parametrize(
    "query",
    [
        "[@,@]|" * 100 + "@",
        "[@,@][]|" * 100 + "@",
        "join(s, a[].n)",
        "[@,@]|to_string([@,@]|to_string([@,@]|to_string([@,@]|to_string([@,@]|to_string([@,@]|to_string(@))))))",
        "a[*].[a,a,a,a,a,a,a,a][].[@,@,@,@,@,@,@,@][].[@,@]",
        "a[?contains(to_string(@), 'x')] | [*].[@][] | [*].[@][] | [*].[@][] | [*].[@][] | [*].[@][] | [*].[@][]",
        "map(&map(&[@, @], @), [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a])",
        "(" * 450 + "@" + ")" * 450 + "[",
        "a[",
        "nope(@)",
        "sum(a)",
        "x" * 1001,
    ],
)
async def test_a_query_that_grows_without_end_or_is_none_ends_quickly_with_an_error(query: str) -> None:
    began = time.perf_counter()
    result = await call("json_query", json=LARGE, query=query)
    assert time.perf_counter() - began < 2
    assert result.failed
    assert len(result.text) < 500


async def test_json_that_is_none_or_too_large_is_refused() -> None:
    assert "cannot be read" in (await call("json_query", json="{nope", query="a")).text
    assert "at most" in (await call("json_query", json="[" + "1," * 200_000 + "1]", query="@")).text
