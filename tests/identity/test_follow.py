"""Whatever happens to keys and tenants, every ring that follows knows what one that starts anew would know."""

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.core.bounds import Budget, Rate
from headgate.core.errors import HeadgateError, KeyBlocked, RequestError, UserForbidden
from headgate.core.principal import Principal
from headgate.identity.keys import KeyRing
from headgate.identity.types import (
    Allowance,
    Changed,
    Defaults,
    KeyChange,
    KeyInForce,
    NewKey,
    NewTenant,
    Rights,
    Tenant,
    TenantChange,
)
from tests.harness.admin import Member, member
from tests.harness.databases import on_each_database
from tests.harness.gateway import KEY
from tests.requirements import covers

pytestmark = [covers("110", "116", "postgresql"), on_each_database]

ACTS = ("create", "block", "unblock", "update", "rotate", "rotate with grace", "revoke", "delete")
TENANT_ACTS = ("create", "block", "unblock", "update", "delete")
TENANTS = ("default", "blue", "red")
steps = st.one_of(
    st.tuples(st.just("key"), st.sampled_from(ACTS), st.integers(0, 3)),
    st.tuples(st.just("tenant"), st.sampled_from(TENANT_ACTS), st.integers(0, 2)),
)


def known_to(ring: KeyRing) -> tuple[dict[bytes, Any], set[bytes]]:
    return {digest: astuple(who) for digest, who in ring._holders.items()}, ring._blocked


async def change_key(here: Member, act: str, number: int, made: list[str], who: Principal) -> None:
    keys = here.identity.keys
    if act == "create" or not made:
        made.append((await keys.create(NewKey(tenant=TENANTS[number % 3]), who)).record.id)
        return
    key_id = made[number % len(made)]
    if act in ("block", "unblock"):
        await keys.block(key_id, who, blocked=act == "block")
    elif act == "update":
        await keys.update(key_id, KeyChange.model_validate({"models": {"allow": [f"m{number}"]}}), who)
    elif act.startswith("rotate"):
        await keys.rotate(key_id, who, 3600 if act.endswith("grace") else 0)
    else:
        await getattr(keys, act)(key_id, who)


async def change_tenant(here: Member, act: str, number: int, who: Principal) -> None:
    tenants, tenant_id = here.identity.tenants, TENANTS[number]
    if act == "create":
        await tenants.create(NewTenant(id=tenant_id), who)
    elif act == "update":
        await tenants.update(tenant_id, TenantChange.model_validate({"rate": {"streams": number + 1}}), who)
    elif act == "delete":
        await tenants.delete(tenant_id, who)
    else:
        await tenants.block(tenant_id, who, blocked=act == "block")


async def play(folder: Path, chosen: list[tuple[str, str, int]]) -> None:
    async with member(folder) as here, member(folder) as there:
        who, made = here.ring.recognise(KEY.encode()), list[str]()
        for at, (kind, act, number) in enumerate(chosen):
            worker = (here, there)[at % 2]
            with suppress(RequestError):  # such as changing a key that was revoked
                if kind == "key":
                    await change_key(worker, act, number, made, who)
                else:
                    await change_tenant(worker, act, number, who)
        await here.ring.refresh()
        await there.ring.refresh()
        async with member(folder) as new:
            assert known_to(new.ring) == known_to(here.ring) == known_to(there.ring)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.lists(steps, min_size=3, max_size=14))
def test_those_that_follow_know_what_one_that_starts_anew_knows(chosen: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), chosen))


async def test_a_database_that_was_put_back_is_learned_anew(tmp_path: Path) -> None:
    async with member(tmp_path / "new") as here, member(tmp_path / "old") as old:
        master = here.ring.recognise(KEY.encode())
        later = [await here.identity.keys.create(NewKey(), master) for _ in range(3)]
        before = await old.identity.keys.create(NewKey(), master)
        here.ring._load = old.ring._load
        await here.ring.publish()
        assert here.ring.recognise(before.text.encode()).key_id == before.record.id
        for issued in later:
            with pytest.raises(HeadgateError):
                here.ring.recognise(issued.text.encode())


def ring_with(defaults: Defaults, key: KeyInForce, tenant: Tenant) -> KeyRing:
    ring = KeyRing(b"pepper", defaults=defaults)
    ring._take(Changed(1, {tenant.id: tenant}, (key,)))
    return ring


@covers("109")
def test_a_key_of_the_configuration_stays_what_it_is_whatever_the_database_says() -> None:
    digest = KeyRing(b"pepper").digest(b"sk-text")
    ring = ring_with(Defaults(), KeyInForce("key_1", digest, "default", blocked=True), Tenant("blue"))
    master = ring.add("sk-text", is_admin=True)
    for key in (KeyInForce("key_1", digest, "default"), KeyInForce("key_1", digest, "default", is_gone=True)):
        ring._take(Changed(2, {}, (key,)))
        assert ring.recognise(b"sk-text") is master


@covers("116")
def test_a_blocked_tenant_shuts_out_its_keys_of_the_configuration_but_not_the_master_key() -> None:
    ring = KeyRing(b"pepper")
    ring.add("sk-token")
    ring.add("sk-master", is_admin=True)
    ring._take(Changed(1, {"default": Tenant("default", blocked=True)}))
    with pytest.raises(KeyBlocked):
        ring.recognise(b"sk-token")
    assert ring.recognise(b"sk-master").is_admin
    ring._take(Changed(2, {"default": None}))
    assert not ring.recognise(b"sk-token").is_admin


def test_limits_that_are_not_set_come_from_the_defaults() -> None:
    defaults = Defaults(
        key=Allowance(Rate(requests_per_minute=1), (Budget(1),)),
        user=Allowance(Rate(requests_per_minute=2)),
        tenant=Allowance(Rate(requests_per_minute=3)),
    )
    digest = KeyRing(b"pepper").digest(b"sk-text")
    key = KeyInForce("key_1", digest, "blue", "ann", rights=Rights(rate=Rate(streams=9)))
    ring = ring_with(defaults, key, Tenant("blue", rights=Rights(budgets=(Budget(7, "day"),))))
    who = ring.recognise(b"sk-text")
    assert [(bound.subject, bound.rate, bound.budgets) for bound in who.bounds] == [
        ("key:key_1", Rate(streams=9), (Budget(1),)),
        ("user:blue/ann", Rate(requests_per_minute=2), ()),
        ("tenant:blue", Rate(requests_per_minute=3), (Budget(7, "day"),)),
    ]


def test_the_limits_of_the_user_that_is_named_hold() -> None:
    digest = KeyRing(b"pepper").digest(b"sk-text")
    ring = ring_with(Defaults(user=Allowance(Rate(streams=1))), KeyInForce("key_1", digest, "blue"), Tenant("blue"))
    who = ring.recognise(b"sk-text")
    other = ring.for_user(who, "ben")
    assert (other.key_id, other.user) == ("key_1", "ben")
    assert [bound.subject for bound in other.bounds] == ["user:blue/ben"]
    assert who.bounds == ()


@covers("121")
def test_a_key_of_one_user_is_none_for_another() -> None:
    digest = KeyRing(b"pepper").digest(b"sk-text")
    ring = ring_with(
        Defaults(user=Allowance(Rate(streams=1))), KeyInForce("key_1", digest, "blue", "ann"), Tenant("blue")
    )
    who = ring.recognise(b"sk-text")
    assert ring.for_user(who, "ann") is who
    assert [bound.subject for bound in who.bounds] == ["user:blue/ann"]
    with pytest.raises(UserForbidden):
        ring.for_user(who, "ben")
    assert ring.for_user(Principal("master", is_admin=True, user="ann"), "ben").user == "ben"
