"""Settings under a tenant of the file: mistakes are told with their place, like those of any other setting."""

from typing import Any

import pytest

from headgate.config import native
from headgate.config.draft import Draft
from tests.requirements import covers

pytestmark = covers("117", "131")


def problems(**settings: Any) -> list[tuple[str, str, str]]:
    """(path, message, remedy) of what is wrong with a tenant's settings."""
    draft = Draft({"tenants": [{"id": "blue", "settings": settings}]})
    native.load(draft)
    return [(one.path, one.message, one.remedy) for one in draft.problems]


def test_settings_that_can_be_are_taken() -> None:
    assert problems(reasoning_effort="low", markup="1.5", require_user=True, defaults={"seed": 1}) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"retrys": 1}, "Did you mean 'retries'?"),
        ({"retries": 99}, "'retries'"),
        ({"models.allow": ["a"]}, "`models`"),
        ({"streams": 1}, "`rate`"),
        ({"user_header": "x"}, "cannot stand in the file"),
        ({"markup": -1}, "'markup'"),
    ],
)
def test_a_mistake_is_told_with_its_place(settings: dict[str, Any], told: str) -> None:
    [(path, message, remedy)] = problems(**settings)
    assert path == f"tenants[0].settings.{next(iter(settings))}"
    assert told in f"{message} {remedy}"
