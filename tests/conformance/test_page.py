"""The published page says what the suite says now."""

from pathlib import Path

from tests.conformance.golden import cases
from tests.conformance.page import page, score
from tests.conformance.through import SPOKEN
from tests.requirements import covers

pytestmark = covers("conformance")
PAGE = Path(__file__).parents[2] / "docs/conformance.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run scripts/conformance.py"


def test_every_recorded_answer_comes_out_right_in_every_dialect() -> None:
    wrong = [(str(case), caller) for case in cases() for caller in SPOKEN if not score(case, caller)]
    assert wrong == []
