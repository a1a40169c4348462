"""Keys from their making to their end, as every worker sees them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.core.bounds import Budget, Rate
from headgate.core.errors import (
    AlreadyExists,
    DatabaseUnavailable,
    InvalidAuthorization,
    InvalidField,
    KeyBlocked,
    KeyExpired,
    KeyNotFound,
    NotChangeable,
    ScopeMissing,
)
from headgate.core.principal import Principal
from headgate.identity import keys as keys_file
from headgate.identity.types import KeyChange, KeyQuery, NewKey, NewTenant, TenantChange
from tests.harness.admin import Member, member
from tests.harness.databases import on_each_database
from tests.harness.gateway import KEY
from tests.requirements import covers

pytestmark = [covers("110", "postgresql"), on_each_database]


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Member]:
    async with member(tmp_path) as one:
        yield one


@pytest_asyncio.fixture
async def there(tmp_path: Path, here: Member) -> AsyncIterator[Member]:
    """Another worker over the same database."""
    async with member(tmp_path) as one:
        yield one


@pytest.fixture
def master(here: Member) -> Principal:
    return here.ring.recognise(KEY.encode())


async def known(worker: Member, text: str) -> Principal:
    """As every request does it."""
    if worker.ring.is_stale:
        await worker.ring.refresh()
    return worker.ring.recognise(text.encode())


async def test_a_new_key_is_known_everywhere_at_once(here: Member, there: Member, master: Principal) -> None:
    issued = await here.identity.keys.create(
        NewKey.model_validate(
            {
                "alias": "ci",
                "user": "ann",
                "scopes": ["keys:read"],
                "models": {"allow": ["gpt-*"], "deny": ["gpt-4"]},
                "rate": {"requests_per_minute": 5},
                "budgets": [{"usd": "1.5", "period": "day"}],
                "tags": ["batch"],
            }
        ),
        master,
    )
    assert not here.ring.is_stale
    for worker in (here, there):
        who = await known(worker, issued.text)
        assert (who.key_id, who.alias, who.user, who.tenant) == (issued.record.id, "ci", "ann", "default")
        assert (who.allow, who.deny, who.tags) == (("gpt-*",), ("gpt-4",), ("batch",))
        assert who.scopes == {"keys:read"}
        (bound,) = who.bounds
        assert (bound.subject, bound.rate) == (f"key:{who.key_id}", Rate(requests_per_minute=5))
        assert bound.budgets == (Budget(1_500_000_000, "day"),)
        assert not who.is_admin
    assert not there.ring.is_stale


async def test_every_change_is_seen_on_the_next_request(here: Member, there: Member, master: Principal) -> None:
    keys = here.identity.keys
    issued = await keys.create(NewKey(), master)
    other = await keys.create(NewKey(), master)
    key_id, text = issued.record.id, issued.text
    await keys.block(key_id, master)
    with pytest.raises(KeyBlocked):
        await known(there, text)
    await keys.block(key_id, master, blocked=False)
    assert (await known(there, text)).key_id == key_id
    await keys.update(key_id, KeyChange.model_validate({"models": {"deny": ["x"]}}), master)
    assert (await known(there, text)).deny == ("x",)
    rotated = await keys.rotate(key_id, master)
    with pytest.raises(InvalidAuthorization):
        await known(there, text)
    assert (await known(there, rotated.text)).deny == ("x",)
    await keys.revoke(key_id, master)
    for worker in (here, there):
        with pytest.raises(InvalidAuthorization):
            await known(worker, rotated.text)
        assert (await known(worker, other.text)).key_id == other.record.id
    with pytest.raises(NotChangeable, match="revoked"):
        await keys.block(key_id, master, blocked=False)


async def test_a_rotated_key_keeps_its_old_text_for_the_grace_time(
    here: Member, there: Member, master: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = here.identity.keys
    first = await keys.create(NewKey(), master)
    second = await keys.rotate(first.record.id, master, 3600)
    for text in (first.text, second.text):
        assert (await known(there, text)).key_id == first.record.id
    third = await keys.rotate(first.record.id, master, 3600)
    for text in (second.text, third.text):
        with pytest.raises(AlreadyExists):
            await keys.create(NewKey(), master, text)
    with pytest.raises(InvalidAuthorization):  # of two old ones the older is over at once
        await known(there, first.text)
    later = keys.clock() + 3601
    monkeypatch.setattr(keys_file, "time", lambda: later)
    with pytest.raises(KeyExpired):
        await known(there, second.text)
    assert (await known(there, third.text)).key_id == first.record.id


async def test_a_key_ends_when_it_says(here: Member, master: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = await here.identity.keys.create(NewKey(expires_in="1h"), master)
    assert (await known(here, issued.text)).key_id == issued.record.id
    later = issued.record.expires_at + 0.001
    monkeypatch.setattr(keys_file, "time", lambda: later)
    with pytest.raises(KeyExpired):
        await known(here, issued.text)
    with pytest.raises(InvalidField, match="expired already"):
        await here.identity.keys.create(NewKey.model_validate({"expires_at": "2001-01-01T00:00:00Z"}), master)


async def test_a_deleted_key_is_forgotten_and_its_text_never_given_out_again(
    here: Member, there: Member, master: Principal
) -> None:
    keys = here.identity.keys
    issued = await keys.create(NewKey(alias="gone", metadata={"a": 1}), master, "sk-chosen-by-the-caller")
    await keys.delete(issued.record.id, master)
    with pytest.raises(InvalidAuthorization):
        await known(there, issued.text)
    with pytest.raises(KeyNotFound):
        await keys.get(issued.record.id, master)
    assert (await keys.list(KeyQuery(), master)).records == []
    with pytest.raises(KeyNotFound):
        await keys.find(issued.text, master)
    with pytest.raises(AlreadyExists):
        await keys.create(NewKey(), master, issued.text)
    assert (await keys.create(NewKey(alias="gone"), master)).record.alias == "gone"


async def test_a_key_of_the_configuration_is_not_given_out(here: Member, master: Principal) -> None:
    with pytest.raises(AlreadyExists):
        await here.identity.keys.create(NewKey(), master, KEY)
    with pytest.raises(InvalidField, match="shorter than 16"):
        await here.identity.keys.create(NewKey(), master, "sk-1234")


async def test_an_alias_is_unique_among_the_keys_of_a_tenant(here: Member, master: Principal) -> None:
    keys = here.identity.keys
    await here.identity.tenants.create(NewTenant(id="blue"), master)
    first = await keys.create(NewKey(alias="ci"), master)
    other = await keys.create(NewKey(), master)
    await keys.create(NewKey(alias="ci", tenant="blue"), master)
    with pytest.raises(AlreadyExists) as caught:
        await keys.create(NewKey(alias="ci"), master)
    assert caught.value.param == "alias"
    with pytest.raises(AlreadyExists):
        await keys.update(other.record.id, KeyChange(alias="ci"), master)
    await keys.update(first.record.id, KeyChange(alias="ci"), master)
    await keys.revoke(first.record.id, master)
    await keys.update(other.record.id, KeyChange(alias="ci"), master)


async def test_keys_are_listed_by_pages_and_by_what_they_are(here: Member, master: Principal) -> None:
    keys = here.identity.keys
    made = [(await keys.create(NewKey(user=f"user-{number % 2}"), master)).record.id for number in range(5)]
    seen: list[str] = []
    query = KeyQuery(limit=2)
    while True:
        page = await keys.list(query, master)
        seen += [one.id for one in page.records]
        if not page.has_more:
            break
        query = KeyQuery(limit=2, after=seen[-1])
    assert seen == made == sorted(made)
    await keys.block(made[0], master)
    await keys.revoke(made[1], master)
    await keys.update(made[2], KeyChange(expires_in="1s"), master)
    states = {"blocked": made[:1], "revoked": made[1:2], "active": made[2:]}
    for state, expected in states.items():
        found = await keys.list(KeyQuery(state=state), master, count=True)  # type: ignore[arg-type]
        assert ([one.id for one in found.records], found.total) == (expected, len(expected))
    assert len((await keys.list(KeyQuery(user="user-1"), master)).records) == 2


@covers("116")
async def test_a_narrow_key_administers_its_own_tenant_only(here: Member, master: Principal) -> None:
    keys, tenants = here.identity.keys, here.identity.tenants
    await tenants.create(NewTenant(id="blue"), master)
    foreign = await keys.create(NewKey(), master)
    made = await keys.create(NewKey(tenant="blue", scopes=["keys:read", "keys:write"]), master)
    blue = await known(here, made.text)
    own = await keys.create(NewKey(tenant="blue"), blue)
    assert {one.id for one in (await keys.list(KeyQuery(), blue)).records} == {made.record.id, own.record.id}
    for act in (keys.get, keys.block, keys.revoke, keys.rotate, keys.delete):
        with pytest.raises(KeyNotFound):
            await act(foreign.record.id, blue)
    with pytest.raises(ScopeMissing):
        await keys.create(NewKey(), blue)
    with pytest.raises(ScopeMissing):
        await keys.create(NewKey(tenant="blue", scopes=["tenants:write"]), blue)
    with pytest.raises(ScopeMissing):
        await keys.update(own.record.id, KeyChange(scopes=["keys:read:*"]), blue)
    strong = await keys.create(NewKey(tenant="blue", scopes=["*:*:*"]), master)
    for act in (keys.rotate, keys.block, keys.delete):
        with pytest.raises(ScopeMissing):
            await act(strong.record.id, blue)
    plain = await known(here, own.text)
    with pytest.raises(ScopeMissing):
        await keys.list(KeyQuery(), plain)


@covers("116")
async def test_a_tenants_limits_and_lists_hold_for_its_keys(here: Member, there: Member, master: Principal) -> None:
    keys, tenants = here.identity.keys, here.identity.tenants
    with pytest.raises(InvalidField, match="no tenant 'blue'"):
        await keys.create(NewKey(tenant="blue"), master)
    await tenants.create(
        NewTenant.model_validate({"id": "blue", "models": {"allow": ["a*"]}, "rate": {"streams": 3}}), master
    )
    made = await keys.create(NewKey.model_validate({"tenant": "blue", "models": {"allow": ["*"]}}), master)
    who = await known(there, made.text)
    assert (who.allow, who.within) == (("*",), ("a*",))
    assert [(bound.subject, bound.rate.streams) for bound in who.bounds] == [("tenant:blue", 3)]
    change: dict[str, Any] = {"models": {"deny": ["b"]}, "rate": None, "budgets": [{"usd": 1}]}
    await tenants.update("blue", TenantChange.model_validate(change), master)
    who = await known(there, made.text)
    assert (who.within, who.deny) == (("a*",), ("b",))
    assert [(bound.rate, len(bound.budgets)) for bound in who.bounds] == [(Rate(), 1)]
    await tenants.block("blue", master)
    with pytest.raises(KeyBlocked):
        await known(there, made.text)
    await tenants.block("blue", master, blocked=False)
    assert (await known(there, made.text)).tenant == "blue"
    with pytest.raises(NotChangeable, match="has keys"):
        await tenants.delete("blue", master)
    await keys.delete(made.record.id, master)
    await tenants.delete("blue", master)
    assert [one.id for one in await tenants.list(master)] == ["default"]


async def test_while_the_database_cannot_be_read_the_known_keys_go_on(
    here: Member,
    there: Member,
    master: Principal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    issued = await here.identity.keys.create(NewKey(), master)
    assert (await known(there, issued.text)).key_id == issued.record.id

    async def broken(after: int) -> AsyncIterator[Any]:
        if after:
            raise DatabaseUnavailable("gone")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(there.ring, "_load", broken)
        await here.identity.keys.revoke(issued.record.id, master)
        assert (await known(there, issued.text)).key_id == issued.record.id
        assert there.ring.is_stale
        assert "changed keys are not known yet: gone" in caplog.text
    there.ring._retry_at = 0.0
    with pytest.raises(InvalidAuthorization):
        await known(there, issued.text)
