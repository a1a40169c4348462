"""What the holder of a key may administer, and for whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.errors import ScopeMissing
from headgate.core.principal import Principal
from headgate.identity.scopes import require, require_no_more, tenants_with
from tests.requirements import covers

pytestmark = covers("116")


def holder(*scopes: str, tenant: str = "blue", is_admin: bool = False) -> Principal:
    return Principal("key_1", is_admin, tenant=tenant, scopes=frozenset(scopes))


@pytest.mark.parametrize(
    ("scopes", "tenants"),
    [
        ((), set()),
        (("keys:write",), {"blue"}),
        (("keys:write:red",), {"red"}),
        (("keys:write", "keys:write:red"), {"blue", "red"}),
        (("keys:write:*",), None),
        (("keys:*",), {"blue"}),
        (("*:write:red",), {"red"}),
        (("*:*:*",), None),
        (("keys:read", "tenants:write", "keys:writer"), set()),
    ],
)
def test_a_scope_holds_for(scopes: tuple[str, ...], tenants: set[str] | None) -> None:
    assert tenants_with(holder(*scopes), "keys:write") == tenants


def test_the_master_key_has_every_scope() -> None:
    require(holder(is_admin=True), "anything:at_all", "any")
    require_no_more(holder(is_admin=True), ["*:*:*"], "any")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ScopeMissing, match=r"'keys:write'\.") as caught:
        require(holder("keys:read"), "keys:write")
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
    require(holder("keys:write"), "keys:write")
    with pytest.raises(ScopeMissing, match="for the tenant 'red'"):
        require(holder("keys:write"), "keys:write", "red")


@pytest.mark.parametrize(
    ("mine", "wanted", "is_allowed"),
    [
        (["keys:write"], ["keys:write"], True),
        (["keys:write"], ["keys:write:blue"], True),
        (["keys:write"], ["keys:write:red"], False),
        (["keys:write"], ["keys:read"], False),
        (["keys:write"], ["keys:write:*"], False),
        (["keys:*"], ["keys:read", "keys:write"], True),
        (["keys:write"], ["keys:*"], False),
        (["keys:write:*"], ["keys:write:red"], True),
        (["*:*"], ["*:*"], True),
        ([], [], True),
    ],
)
def test_nobody_hands_on_more_than_he_has(mine: list[str], wanted: list[str], is_allowed: bool) -> None:
    who = holder(*mine)
    if is_allowed:
        require_no_more(who, wanted, "blue")
    else:
        with pytest.raises(ScopeMissing):
            require_no_more(who, wanted, "blue")


words = st.sampled_from(["keys", "tenants", "usage", "*"])
actions = st.sampled_from(["read", "write", "*"])
places = st.sampled_from(["", ":red", ":blue", ":*"])
scopes = st.builds(lambda word, action, place: f"{word}:{action}{place}", words, actions, places)


@given(mine=st.lists(scopes, max_size=4), wanted=st.lists(scopes, max_size=3))
def test_what_was_handed_on_reaches_no_further_than_the_hand(mine: list[str], wanted: list[str]) -> None:
    giver = holder(*mine)
    try:
        require_no_more(giver, wanted, "blue")
    except ScopeMissing:
        return
    taker = holder(*wanted)
    for needed in ("keys:read", "keys:write", "tenants:read", "usage:write"):
        theirs, own = tenants_with(taker, needed), tenants_with(giver, needed)
        assert own is None or (theirs is not None and theirs <= own)
