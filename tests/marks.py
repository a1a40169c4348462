"""The marker `covers`: a test that names no promise does not run at all."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "covers(*ids): the promises of tests/requirements.py that a test covers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    nameless = [item.nodeid for item in items if not any(mark.args for mark in item.iter_markers("covers"))]
    if nameless:
        raise pytest.UsageError(f"names no promise: {', '.join(nameless)}")
