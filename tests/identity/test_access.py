"""Which models a key may use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.errors import ModelForbidden
from headgate.core.principal import Principal
from headgate.identity.access import may_use, refuse_model
from tests.requirements import covers

pytestmark = covers("119")


def holder(allow: str = "", deny: str = "", within: str = "") -> Principal:
    return Principal("key_1", allow=tuple(allow.split()), deny=tuple(deny.split()), within=tuple(within.split()))


@pytest.mark.parametrize(
    ("who", "names", "is_allowed"),
    [
        (holder(), ["anything"], True),
        (holder(allow="gpt-4o"), ["gpt-4o"], True),
        (holder(allow="gpt-4o"), ["gpt-4o-mini"], False),
        (holder(allow="gpt-4o"), ["GPT-4o"], False),
        (holder(allow="gpt-*"), ["gpt-4o"], True),
        (holder(allow="openai/*"), ["openai/a/b"], True),
        (holder(allow="*-mini o*"), ["o3"], True),
        (holder(allow="gpt?"), ["gpt4"], False),
        (holder(allow="a.c"), ["abc"], False),
        (holder(allow="[ab]"), ["a"], False),
        (holder(deny="gpt-*"), ["gpt-4o"], False),
        (holder(allow="gpt-*", deny="gpt-4o"), ["gpt-4o"], False),
        (holder(deny="*"), ["x"], False),
        (holder(within="gpt-*"), ["claude"], False),
        (holder(allow="claude", within="gpt-*"), ["claude"], False),
        (holder(allow="claude gpt-4o", within="gpt-*"), ["gpt-4o"], True),
        (holder(allow="cheap"), ["small", "small", "cheap"], True),
        (holder(allow="smart", deny="gpt-4o"), ["smart", "gpt-4o"], False),
    ],
)
def test_lists_decide(who: Principal, names: list[str], is_allowed: bool) -> None:
    assert may_use(who, *names) is is_allowed


def test_a_refusal_names_the_model_that_was_asked_for() -> None:
    refuse_model(holder(allow="a"), "a")
    with pytest.raises(ModelForbidden, match="'alias'") as caught:
        refuse_model(holder(deny="real"), "alias", "real")
    assert (caught.value.status, caught.value.param) == (403, "model")


def matches(pattern: str, name: str) -> bool:
    """Slow and plain: `*` takes any number of letters."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(matches(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] == name[0] and matches(pattern[1:], name[1:])


@given(pattern=st.text("ab*.\n", max_size=6), name=st.text("ab.\n", max_size=6))
def test_a_star_stands_for_any_text_and_nothing_else_is_special(pattern: str, name: str) -> None:
    assert may_use(Principal("k", allow=(pattern,)), name) is matches(pattern, name)


patterns = st.lists(st.text("ab*", min_size=1, max_size=3), max_size=3).map(tuple)


@given(allow=patterns, deny=patterns, within=patterns, name=st.text("ab", min_size=1, max_size=3))
def test_a_key_never_reaches_further_than_its_tenant(
    allow: tuple[str, ...], deny: tuple[str, ...], within: tuple[str, ...], name: str
) -> None:
    tenant_alone = Principal("t", within=within, deny=deny)
    if may_use(Principal("k", allow=allow, deny=deny, within=within), name):
        assert may_use(tenant_alone, name)
