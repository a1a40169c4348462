"""How many examples generated requests and answers get."""

import pytest

from tests.conformance import conversations


def pytest_configure(config: pytest.Config) -> None:
    """Runs before the tests are imported, which read the number then."""
    if config.getoption("--long"):
        conversations.EXAMPLES = 1000
