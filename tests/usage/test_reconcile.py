"""Exports made from the ledger agree with it; every difference that is planted is found, and nothing else."""

import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.money import Price
from headgate.core.tokens import Tokens
from headgate.usage.entries import entries_of
from headgate.usage.exports import Claim, ExportError, claims_of, plain_name
from headgate.usage.reconcile import Reconciled, Used, compared, width_of
from headgate.usage.store import AttemptStore
from headgate.usage.types import Entry, Span
from tests.requirements import covers
from tests.usage import exports
from tests.usage.databases import ledger_database
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of

pytestmark = covers("reconcile", "113")
PRICE = Price(2_500_000_000, 10_000_000_000, 1_250_000_000, 3_000_000_000)
MODELS = ("gpt-4o", "gpt-4o-mini", "o3")
START = SETTLED_AT // exports.DAY * exports.DAY


def ledger(seed: int, count: int = 40) -> list[Entry]:
    """Attempts of three models over some days, some of them failed."""
    chance = random.Random(seed)
    found: list[Entry] = []
    for number in range(count):
        prompt = chance.randint(1, 5000)
        cached = chance.randint(0, prompt)
        tokens = Tokens(prompt, chance.randint(0, 900), cached, 0, chance.randint(0, prompt - cached))
        one = attempt(tokens=tokens, price=PRICE)
        one.model, one.upstream = chance.choice(MODELS), "openai"
        at = START + chance.randint(0, 4 * exports.DAY - 1) + 2500
        found += entries_of(run_of([one], id=f"req_{number}"), at, price_of)
    return found


def used(entries: list[Entry], width: int) -> list[Used]:
    """As the store sums them up."""
    return [
        Used(
            one.started_at // width,
            one.provider_model,
            "",
            1,
            *(one.prompt, one.completion, one.cached, one.cache_write, one.cost or 0, one.cost is None, one.bound),
        )
        for one in entries
    ]


def reconciled(raw: bytes, entries: list[Entry], tolerance: str = "0") -> Reconciled:
    claims = claims_of(raw)
    return compared(claims, used(entries, width_of(claims)), width_of(claims), Decimal(tolerance))


def verdicts(found: Reconciled) -> dict[tuple[str, str], str]:
    """Those that are not well, by day and model."""
    days: dict[tuple[str, str], str] = {
        (str((one.claim.since - START) // exports.DAY), one.claim.model): one.verdict
        for one in found.lines
        if one.verdict != "matched"
    }
    assert len(days) == sum(one.verdict != "matched" for one in found.lines)
    return days


@pytest.mark.parametrize("made", exports.EVERY, ids=lambda made: made.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_an_export_made_from_the_ledger_agrees_with_it(made: Callable[[exports.Groups], bytes], seed: int) -> None:
    entries = ledger(seed)
    groups = exports.by_day_and_model(entries)
    found = reconciled(made(groups), entries)
    assert found.is_well
    assert found.count("matched") == len(found.lines) == len(groups)


@given(st.data())
def test_every_planted_difference_is_found_and_nothing_else(data: st.DataObject) -> None:
    entries = ledger(data.draw(st.integers(0, 50)))
    rows = exports.general_rows(exports.by_day_and_model(entries))
    planted: dict[tuple[str, str], str] = {}
    kept: list[dict[str, Any]] = []
    for row in rows:
        place = str((claims_of(exports.csv_of([row]))[0].since - START) // exports.DAY), row["model"]
        act = data.draw(st.sampled_from(("nothing", "nothing", "drop", "tokens", "money")))
        if act == "drop":
            planted[place] = "missing_there"
            continue
        if act == "tokens":
            name = data.draw(st.sampled_from(("prompt", "completion", "cached", "cache_write")))
            row[name] += data.draw(st.integers(1, 9)) * (-1 if row[name] > 9 and data.draw(st.booleans()) else 1)
            planted[place] = "differing"
        elif act == "money":
            row["cost_usd"] = f"{Decimal(row['cost_usd']) + Decimal('0.000001'):.9f}"
            planted[place] = "differing"
        kept.append(row)
    days = {day for day, _ in planted} | {"0", "3"}
    if data.draw(st.booleans()):
        day = data.draw(st.sampled_from(sorted(days)))
        date = rows[0]["date"][:8] + f"{int(rows[0]['date'][8:]) + int(day):02}"
        kept.append({**rows[0], "date": date, "model": "of-nobody"})
        place = str((claims_of(exports.csv_of(kept[-1:]))[0].since - START) // exports.DAY), "of-nobody"
        planted[place] = "missing_here"
    if not kept:
        return
    told = {claim.since for claim in claims_of(exports.csv_of(kept))}
    span = {str((since - START) // exports.DAY) for since in told}
    expected = {place: what for place, what in planted.items() if what != "missing_there" or place[0] in span}
    assert verdicts(reconciled(exports.csv_of(kept), entries)) == expected


def test_runs_are_compared_one_by_one() -> None:
    entries = ledger(1, 6)
    claims = claims_of(exports.runs_csv(entries))
    by_run = [Used(0, "", one.run, 1, one.prompt, one.completion, bound=one.bound) for one in entries]
    assert compared(claims, by_run, width_of(claims), Decimal(0)).is_well
    claims[0].prompt, claims[1].run = 10**6, "of-nobody"
    found = compared(claims, by_run, width_of(claims), Decimal(0))
    assert [one.verdict for one in found.lines][:3] == ["differing", "missing_here", "matched"]


def test_what_estimates_may_be_off_by_is_told_apart() -> None:
    claim = Claim(0, exports.DAY, "m", prompt=100, completion=50)
    for bound, well in ((9, False), (10, True)):
        found = compared([claim], [Used(0, "m", "", 1, 110, 50, bound=bound)], exports.DAY, Decimal(0))
        assert (found.lines[0].verdict, found.is_well) == ("differing", well)


def test_a_tolerance_is_a_share_of_what_the_export_says() -> None:
    claim = Claim(0, exports.DAY, "m", prompt=100, usd=Decimal(1))
    for here, cost, well in ((101, 10**9, True), (102, 10**9, False), (100, 1_020_000_000, False)):
        found = compared([claim], [Used(0, "m", "", 1, here, 0, cost=cost)], exports.DAY, Decimal("0.01"))
        assert found.is_well is well


def test_rounded_amounts_are_not_differences() -> None:
    for told, cost, well in (("0.06", 64_000_000, True), ("0.06", 66_000_000, False), ("0.060", 60_600_000, False)):
        [claim] = claims_of(f"date,model,cost_usd\n2026-01-01,m,{told}\n".encode())
        at = claim.since // exports.DAY
        assert compared([claim], [Used(at, "m", "", 1, 1, cost=cost)], exports.DAY, Decimal(0)).is_well is well


def test_amounts_for_all_models_together_are_compared_with_all() -> None:
    raw = b"start_time,end_time,amount_value,amount_currency,line_item\n0000000000,86400,3,usd,\n"
    with pytest.raises(ExportError):
        claims_of(raw.replace(b"0000000000", b"x"))
    [claim] = claims_of(b"date,cost_usd\n2026-01-01,3\n")
    at = claim.since // exports.DAY
    both = [Used(at, "m", "", 1, 1, cost=10**9), Used(at, "n", "", 1, 1, cost=2 * 10**9)]
    assert compared([claim], both, exports.DAY, Decimal(0)).is_well


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "No column"),
        (b"\xff\xfe", "UTF-8"),
        (b"{", "not JSON"),
        (b"{}", "results"),
        (b'{"data": [{"results": [{}]}]}', "start and end"),
        (b'{"data": [{"start_time": 1700000000, "end_time": 1700000001, "results": [{}]}]}', "input_tokens"),
        (b"date,model,prompt\n", "no usage"),
        (b"date,model,prompt\n2026-01-01,m\n", "cells"),
        (b"date,model,prompt\nsoon,m,1\n", "line 2"),
        (b"date,model,prompt\n2026-01-01,m,1.5\n", "whole number"),
        (b"date,model,prompt\n2026-01-01,m,-1\n", "whole number"),
        (b"date,model,prompt\n2026-01-01,m,many\n", "`prompt` in line 2"),
        (b"start,end,prompt\n2026-01-02,2026-01-01,1\n", "ends before"),
        (b"start,prompt\n2026-01-02,1\n", "without an end"),
        (b"model,prompt\nm,1\n", "when"),
        (b"date,model,words\n2026-01-01,m,1\n", "how much"),
        (b"start_time,end_time,amount_value,amount_currency\n1700000000,1700000100,1,eur\n", "eur"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(raw: bytes, told: str) -> None:
    with pytest.raises(ExportError, match=told):
        claims_of(raw)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("gpt-4o", "gpt-4o"),
        ("o3", "o3"),
        ("llama-3.1-8b", "llama-3.1-8b"),
    ],
)
def test_versions_of_a_model_are_one_model(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[AttemptStore]:
    async with ledger_database(tmp_path) as (_, opened):
        yield opened


async def test_the_store_sums_up_by_slots_models_and_upstreams(store: AttemptStore) -> None:
    entries = ledger(3)
    await store.add(entries)
    span = Span(START, START + 4 * exports.DAY)
    found = await store.used(exports.DAY, span, frozenset(("openai",)))
    raw = exports.general_csv(exports.by_day_and_model(entries))
    claims = claims_of(raw)
    assert compared(claims, found, exports.DAY, Decimal(0)).is_well
    assert sum(one.requests for one in found) == len(entries)
    assert await store.used(exports.DAY, span, frozenset(("other",))) == []
    [run] = await store.used_by_runs([entries[0].run], frozenset())
    assert (run.run, run.prompt) == (entries[0].run, entries[0].prompt)
