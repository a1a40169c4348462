"""Promises and tests name each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.requirements import REQUIREMENTS, covers

HERE = Path(__file__).parent
pytestmark = covers("architecture")


def ids_named_in(source: str) -> set[str]:
    """All ids that calls of `covers` in a source text name."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    named = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "covers")
    return {
        arg.value for call in named for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
    }


def sources() -> Iterator[str]:
    for path in sorted(HERE.rglob("test_*.py")):
        yield path.read_text()


def test_every_finished_promise_has_a_test() -> None:
    covered = set().union(*map(ids_named_in, sources()))
    missing = {key for key, promise in REQUIREMENTS.items() if promise.finished} - covered
    assert not missing, f"promises without a test: {sorted(missing)}"


def test_every_id_that_a_test_names_is_promised() -> None:
    unknown = set().union(*map(ids_named_in, sources())) - set(REQUIREMENTS)
    assert not unknown, f"tests name unknown promises: {sorted(unknown)}"


def test_a_planted_test_without_an_id_is_reported(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((HERE / "marks.py").read_text())
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*names no promise*test_nothing*"])


def test_ids_are_found_in_decorators_and_module_marks() -> None:
    assert ids_named_in("pytestmark = covers('a')\n@covers('b', 'c')\ndef test_x(): ...") == {"a", "b", "c"}
