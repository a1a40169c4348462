"""Texts cut into pieces: what holds for any text, and where the cuts fall."""

import importlib.util
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.knowledge import chunk
from headgate.knowledge.chunk import split
from tests.requirements import covers

pytestmark = covers("93")
WORDS = "ab 日😀é\n\t\r.,#-*`|>[](){}<&_~=1\u200b\u0301\u2028\x0b"
texts = st.text(alphabet=st.sampled_from(WORDS), max_size=300) | st.text(max_size=300)


@pytest.fixture(params=["library", "blanks"], autouse=True)
def with_and_without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `knowledge` may be missing."""
    monkeypatch.setattr(chunk, "_SECTION", 64)
    if request.param == "blanks":
        monkeypatch.setattr(chunk, "find_spec", lambda _: None)
    else:
        assert importlib.util.find_spec(chunk._SPLITTER)


@given(texts, st.integers(1, 60), st.integers(0, 59), st.booleans())
def holds(text: str, size: int, overlap: int, markdown: bool) -> None:
    held: set[int] = set()
    before = 0
    for number, span in enumerate(split(text, size=size, overlap=overlap, markdown=markdown)):
        assert text[span.start : span.end] == span.text
        assert span.text.strip()
        assert len(span.text) <= size
        if number:
            assert span.end > before
            assert before - span.start <= min(overlap, size - 1)
        before = span.end
        held.update(range(span.start, span.end))
    assert not [at for at, one in enumerate(text) if not one.isspace() and at not in held]


def test_pieces_are_where_they_say_hold_everything_and_keep_to_size_and_overlap() -> None:
    holds()


def test_what_is_cut_is_repeated_where_that_is_wanted() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    spans = split(text, size=60, overlap=20, markdown=False)
    pairs = list(itertools.pairwise(spans))
    assert sum(before.end - after.start > 5 for before, after in pairs) > len(pairs) * 0.7


def test_nothing_comes_of_a_text_without_words() -> None:
    assert split(" \n\t ", size=10, overlap=2, markdown=True) == []
    assert split("", size=10, overlap=2, markdown=True) == []


@pytest.mark.parametrize("text", ["a" * 300_000, "lorem ipsum dolor. " * 15_000, ">" * 50_000, "[a](" * 50_000])
@pytest.mark.parametrize("markdown", [True, False])
def test_the_time_it_takes_grows_with_the_text_and_not_with_its_square(
    monkeypatch: pytest.MonkeyPatch, text: str, markdown: bool
) -> None:
    monkeypatch.setattr(chunk, "_SECTION", 1 << 15)
    started = time.process_time()
    assert len(split(text, size=1000, overlap=100, markdown=markdown)) >= len(text) // 1000
    assert time.process_time() - started < 3


def test_markdown_is_cut_at_its_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "find_spec", importlib.util.find_spec)
    parts = [f"## Part {name}\n\n{name * 3} says something about {name}.\n\n" for name in "abc"]
    spans = split("# Title\n\n" + "".join(parts), size=60, overlap=0, markdown=True)
    assert [span.text.splitlines()[0] for span in spans] == ["# Title", "## Part b", "## Part c"]
