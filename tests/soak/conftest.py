"""Long proofs, each with a short form that runs with every test run."""

from collections.abc import Callable

import pytest


@pytest.fixture
def amount(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`amount(short, long)`: how much to do in this run."""
    long_form = bool(request.config.getoption("--long"))
    return lambda short, long: long if long_form else short
