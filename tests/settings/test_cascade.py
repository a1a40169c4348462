"""Which value holds: never looser than the level above it, whatever was set in whatever order."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headgate.config.tenants import REGISTRY, cascade_of, standing_of, terms_of
from headgate.config.tree import Settings
from headgate.core.bounds import Budget, Rate
from headgate.core.errors import StartupError, TenantConfigLoosens
from headgate.core.terms import NO_TERMS
from headgate.identity.holders import Builder
from headgate.identity.types import Defaults, Rights, Tenant
from headgate.settings.cascade import Cascade
from headgate.settings.types import Read, Row, Standing
from tests.requirements import covers

pytestmark = covers("117")
NOTHING = Standing()
COUNTS = st.integers(1, 50)
AMOUNTS = st.integers(1, 9)
PERIODS = st.sampled_from(["day", "month"])
BUDGETS = st.lists(
    st.builds(lambda usd, period, hard: Budget(usd * 10**9, period, hard), AMOUNTS, PERIODS, st.booleans()), max_size=6
)


def rows(tenant: str = "blue", **values: Any) -> Read:
    return Read(1, tuple(Row(tenant, key, value) for key, value in values.items()))


def cascade(**more: Any) -> Cascade:
    return Cascade(REGISTRY, terms_of, **more)


def test_the_lowest_level_that_says_something_wins() -> None:
    made = cascade(process={"retries": 3}, file={"blue": {"retries": 1}})
    assert [
        (made.resolve("retries", name, NOTHING).value, made.resolve("retries", name, NOTHING).source)
        for name in ("red", "blue")
    ] == [(3, "process"), (1, "yaml")]
    made.take(rows(retries=0))
    assert (made.resolve("retries", "blue", NOTHING).value, made.resolve("retries", "blue", NOTHING).source) == (
        0,
        "db",
    )
    made.take(rows(retries=None))
    assert made.resolve("retries", "blue", NOTHING).source == "yaml"


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_value_that_the_file_came_to_forbid_is_met_by_the_file(above: int, own: int) -> None:
    """The file may change after the tenant set its value; what holds is the stricter."""
    made = cascade(file={"blue": {"timeout": above}})
    made.take(rows(timeout=own))
    found = made.resolve("timeout", "blue", NOTHING)
    assert found.value == min(above, own) == made.terms("blue").timeout
    assert found.source == ("db" if own <= above else "yaml")


@given(st.sampled_from([("timeout", True), ("typical_answer", False)]), COUNTS, COUNTS)
def test_what_is_looser_is_refused_and_what_is_not_is_taken(case: tuple[str, bool], above: int, own: int) -> None:
    key, lower_is_stricter = case
    made = cascade(file={"blue": {key: above}})
    if own == above or (own < above) is lower_is_stricter:
        assert made.checked(key, own, "blue", NOTHING) == own
    else:
        with pytest.raises(TenantConfigLoosens) as caught:
            made.checked(key, own, "blue", NOTHING)
        assert str(above) in caught.value.message


@given(COUNTS, st.integers(0, 50), BUDGETS, BUDGETS)
def test_limits_of_a_tenant_are_never_above_those_of_its_record(
    own_rate: int, rate: int, budgets: list[Budget], own: list[Budget]
) -> None:
    tenant = Tenant("blue", rights=Rights(rate=Rate(rate), budgets=tuple(budgets)))
    made = cascade()
    values = [{"usd": f"{one.nano_usd // 10**9}", "period": one.period, "hard": one.hard} for one in own]
    made.take(rows(requests_per_minute=own_rate, budgets=values))
    [bound] = Builder(Defaults(), made.terms).tenant_bounds(tenant)
    assert bound.rate.requests_per_minute == (min(rate, own_rate) if rate else own_rate)
    for one in (*budgets, *own):
        least = min(each.nano_usd for each in (*budgets, *own) if (each.period, each.hard) == (one.period, one.hard))
        assert Budget(least, one.period, one.hard) in bound.budgets
    shown = made.resolve("budgets", "blue", standing_of(tenant))
    assert {(Decimal(one["usd"]), one["period"], one["hard"]) for one in shown.value} == {
        (Decimal(one.nano_usd) / 10**9, one.period, one.hard) for one in bound.budgets
    }


@given(BUDGETS, BUDGETS)
def test_budgets_that_pass_the_check_are_met_in_full(above: list[Budget], own: list[Budget]) -> None:
    def said(found: list[Budget]) -> list[dict[str, Any]]:
        return [{"usd": str(one.nano_usd // 10**9), "period": one.period, "hard": one.hard} for one in found]

    standing = Standing("yaml", {"budgets": said(above)})
    try:
        cascade().checked("budgets", said(own), "blue", standing)
    except TenantConfigLoosens:
        assume(False)
    for one in own:
        for other in above:
            assert (one.period, one.hard) != (other.period, other.hard) or one.nano_usd <= other.nano_usd


def test_what_only_the_process_says_changes_nothing_for_a_tenant() -> None:
    tree = Settings.model_validate({"parameters": {"reasoning_effort": "low"}, "auth": {"require_user": True}})
    made = cascade_of(tree)
    assert made.resolve("reasoning_effort", "blue", NOTHING).source == "process"
    assert made.resolve("require_user", "blue", NOTHING).value is True
    assert made.terms("blue") is NO_TERMS


def test_a_value_of_another_version_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    made = cascade()
    made.take(rows(retries="many", gone=1, tags=["kept"]))
    assert made.own("blue") == {"tags": ["kept"]}
    assert "retries" in caplog.text
    assert "gone" in caplog.text


def test_of_another_database_than_before_nothing_stays() -> None:
    made = cascade()
    made.take(rows(tags=["old"]))
    assert made.take(Read(0, (Row("red", "tags", ["new"]),), is_all=True)) == {"blue", "red"}
    assert made.resolve("tags", "blue", NOTHING).value == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"retrys": 1}, "retries"),
        ({"retries": "many"}, "retries"),
        ({"models.allow": ["a"]}, "`models`"),
        ({"requests_per_minute": 1}, "`rate`"),
        ({"budgets": []}, "`budgets`"),
        ({"models.only": ["a"]}, "cannot stand in the file"),
        ({"user_header": "x"}, "cannot stand in the file"),
    ],
)
def test_a_setting_of_the_file_that_cannot_be_is_told_at_start(values: dict[str, Any], told: str) -> None:
    with pytest.raises(StartupError) as caught:
        cascade(file={"blue": values})
    assert "'blue'" in caught.value.message
    assert told in caught.value.message


def test_further_settings_are_found_by_their_key() -> None:
    """What a later part of the gateway reads of a setting without a field of its own."""
    made = cascade(file={"blue": {"markup": "1.25"}})
    assert made.terms("blue").values == {"markup": "1.25"}
