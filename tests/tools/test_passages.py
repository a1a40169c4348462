"""Passages as a model is told them: whatever a document holds, it stays between its own marks."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headgate.tools.passages import Quoted, handed_over, quoted, within
from tests.requirements import covers

pytestmark = covers("95", "96")
ONE = Quoted("doc_1#0", "facts", "Cars", "https://example.org", "Four wheels.\nAnd a horn.", 0.5)
LINES = st.text(
    alphabet=st.sampled_from(list("ab[]#<>/ \n\r\x0b\x0c\x1c\x85\u2028\u2029")) | st.characters(), max_size=80
)


def test_a_passage_has_its_id_what_it_is_called_and_its_words() -> None:
    assert quoted([ONE]) == "[doc_1#0]\n> (Cars, https://example.org)\n> Four wheels.\n> And a horn."
    assert quoted([replace(ONE, title="", source="")]) == "[doc_1#0]\n> Four wheels.\n> And a horn."


@given(LINES, LINES, LINES)
def test_no_line_of_a_document_can_pass_for_one_of_ours(title: str, source: str, text: str) -> None:
    told = handed_over([replace(ONE, title=title, source=source, text=text), ONE])
    opening, *between, closing = told.splitlines()
    assert closing == f"</{opening[1:]}"
    ours = [line for line in between if not line.startswith(">")]
    assert [line for line in ours[1:] if line] == ["[doc_1#0]", "[doc_1#0]"]


@given(LINES)
def test_the_same_passages_are_told_in_the_same_bytes_and_others_in_other_marks(text: str) -> None:
    one = handed_over([replace(ONE, text=text)])
    assert one == handed_over([replace(ONE, text=text)])
    other = handed_over([replace(ONE, text=text + "x")])
    assert one.splitlines()[0] != other.splitlines()[0]


@given(st.lists(LINES, max_size=5), st.integers(0, 400))
def test_the_best_that_fit_are_kept_in_their_order(texts: list[str], characters: int) -> None:
    passages = [replace(ONE, id=f"doc_{number}#0", text=text) for number, text in enumerate(texts)]
    kept = within(passages, characters)
    assert kept == passages[: len(kept)]
    assert len(quoted(kept)) <= characters
    if len(kept) < len(passages):
        assert len(quoted(passages[: len(kept) + 1])) + 2 > characters
