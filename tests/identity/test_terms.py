"""The settings of tenants reach every holder of a key, also when whoever made them be learnt goes away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from headgate.core.bounds import Bound, Budget, Rate
from headgate.core.principal import Principal
from headgate.core.terms import NO_TERMS, Terms
from headgate.identity.keys import KeyRing
from headgate.identity.signal import Signal
from headgate.identity.types import Changed, KeyInForce, Rights, Tenant
from tests.requirements import covers

pytestmark = covers("117")


class Source:
    """Keys and settings as a database would give them."""

    def __init__(self, ring_file: Path) -> None:
        self.terms: dict[str, Terms] = {}
        self.changed: set[str] = set()
        self.keys: tuple[KeyInForce, ...] = ()
        self.told: list[frozenset[str]] = []
        self.signal = Signal(ring_file)
        self.ring = KeyRing(b"pepper", terms_of=lambda tenant: self.terms.get(tenant, NO_TERMS))

    async def load(self, after: int) -> AsyncIterator[Changed]:
        yield Changed(1, {"blue": Tenant("blue"), "red": Tenant("red")} if not after else {}, self.keys)

    async def read(self) -> frozenset[str]:
        changed, self.changed = frozenset(self.changed), set()
        return changed

    async def tell(self, subjects: frozenset[str]) -> None:
        self.told.append(subjects)

    def key(self, name: str, tenant: str = "blue", *budgets: Budget) -> KeyInForce:
        return KeyInForce(name, self.ring.digest(name.encode()), tenant, rights=Rights(budgets=budgets))

    def who(self, name: str) -> Principal:
        return self.ring.recognise(name.encode())

    def set(self, tenant: str, terms: Terms) -> None:
        self.terms[tenant] = terms
        self.changed.add(tenant)
        self.signal.bump()


async def followed(folder: Path, *names: str) -> Source:
    source = Source(folder / "signal")
    source.keys = (*tuple(source.key(name) for name in names), source.key("other", "red"))
    await source.ring.follow(source.signal, source.load, source.read)
    source.ring.on_new_budgets(source.tell)
    source.keys = ()
    return source


async def test_every_key_of_the_tenant_carries_its_terms_and_no_other(tmp_path: Path) -> None:
    source = await followed(tmp_path, "one", "two")
    source.set("blue", Terms(retries=1, rate=Rate(9)))
    assert source.ring.is_stale
    await source.ring.refresh()
    assert [source.who(name).terms.retries for name in ("one", "two", "other")] == [1, 1, None]
    assert source.who("one").bounds == (Bound("tenant:blue", Rate(9)),)
    assert source.who("other").terms is NO_TERMS


async def test_a_change_that_nobody_waited_for_to_the_end_is_made_whole_later(tmp_path: Path) -> None:
    source = await followed(tmp_path, *(f"key-{number}" for number in range(2500)))
    source.set("blue", Terms(retries=1))
    waiting = asyncio.get_running_loop().create_task(source.ring.refresh())
    while source.who("key-0").terms is NO_TERMS:
        await asyncio.sleep(0)
    assert source.who("key-2499").terms is NO_TERMS
    waiting.cancel()
    await asyncio.wait([waiting])
    assert source.ring.is_stale
    await source.ring.refresh()
    assert all(source.who(f"key-{number}").terms.retries == 1 for number in range(2500))


async def test_the_first_budget_of_a_subject_for_a_period_is_told_and_no_later_one(tmp_path: Path) -> None:
    source = await followed(tmp_path, "one", "two")
    day, larger, month = Budget(5, "day"), Budget(9, "day"), Budget(5, "month")
    for budgets in ((day,), (larger,), (larger, month), ()):
        source.keys = (source.key("one", "blue", *budgets),)
        source.signal.bump()
        await source.ring.refresh()
    assert source.told == [{"key:one"}, {"key:one"}]
    source.keys = ()
    for terms in (Terms(budgets=(day,)), Terms(budgets=(larger,))):
        source.set("blue", terms)
        await source.ring.refresh()
    assert source.told[2:] == [{"tenant:blue"}]
