"""Runs are put together from entries wherever those are: in the database, on their way to it, or in both."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.run import Run
from headgate.usage.entries import entries_of
from headgate.usage.journal import Journal
from headgate.usage.runs import STATUSES, Past, Runs
from headgate.usage.types import Entry, RunQuery
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import MOMENTS, price_of, runs

pytestmark = covers("162")
PLACES = st.sampled_from(("stored", "waiting", "both"))
WORLDS = st.lists(st.tuples(runs(), MOMENTS, PLACES), min_size=1, max_size=10)
World = list[tuple[Run, int, str]]
PAGE = 3


async def paged(world: World, query: RunQuery, status: str) -> tuple[list[Past], list[list[Entry]]]:
    """All runs that a query finds, page by page; and the entries of all there are."""
    whole = [entries_of(run, at, price_of) for run, at, _ in world]
    with tempfile.TemporaryDirectory() as folder:
        async with ledger_database(Path(folder)) as (_, store):
            journal = Journal(Path(folder) / "journal")
            for entries, (_, _, place) in zip(whole, world, strict=True):
                if place != "waiting":
                    await store.add(entries)
                if place != "stored":
                    journal.append(entries)
            kept = Runs(store, Path(folder) / "journal")
            found: list[Past] = []
            while page := await kept.find(query, status, PAGE):
                found += page
                query = query._replace(after=page[-1].place)
            journal.seal()
            return found, whole


@settings(max_examples=40, deadline=None)
@given(WORLDS)
def test_every_run_is_found_once_whole_and_the_newest_first(world: World) -> None:
    found, whole = asyncio.run(paged(world, RunQuery(), ""))
    assert [one.place for one in found] == sorted((entries[-1].id for entries in whole), reverse=True)
    by_place = {one.place: list(one.entries) for one in found}
    assert all(by_place[entries[-1].id] == entries for entries in whole)


@settings(max_examples=40, deadline=None)
@given(
    WORLDS,
    st.sampled_from((*STATUSES[1:], "")),
    st.sampled_from(("", "acme")),
    st.sampled_from(("", "ann")),
    st.sampled_from(("", "req_1", "mine")),
    st.sampled_from((None, (), ("acme",))),
)
def test_filters_mean_the_same_in_the_database_and_on_the_way_to_it(
    world: World, status: str, tenant: str, user: str, run_id: str, tenants: tuple[str, ...] | None
) -> None:
    query = RunQuery(id=run_id, tenant=tenant, user=user, tenants=tenants, own="default-k1")
    found, _ = asyncio.run(paged(world, query, status))
    for place in ("stored", "waiting"):
        moved = [(run, at, place) for run, at, _ in world]
        again, _ = asyncio.run(paged(moved, query, status))
        assert again == found
    for one in found:
        assert not status or one.status == status
        assert one.final.tenant == "acme" or (not tenant and (tenants is None or one.final.key == "default-k1"))
        assert not user or one.final.user == user
        assert not run_id or one.final.run == run_id
