"""Whatever happens to requests and to the process, the sums agree: attempts, runs, keys, users, tenants, reports."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headgate import app
from headgate.api.application import Application
from headgate.api.gate import Gate
from headgate.config.tree import Settings
from headgate.core.ids import child_of
from headgate.core.run import Run
from headgate.identity.types import NewKey, NewTenant
from headgate.limits.counters import SPENT, TableCounters
from headgate.usage.ledger import Ledger
from headgate.usage.types import Entry
from tests.harness.admin import PEPPER, bearer
from tests.harness.gateway import KEY
from tests.harness.scripted import FAILURES, Act, Provider, Try, perform
from tests.requirements import covers

pytestmark = covers("152", "153", "113")
PRICE = {"input": "1.5", "output": "6", "request": "0.00001"}
TREE = Settings.model_validate(
    {
        "upstreams": [{"name": name, "provider": "mock"} for name in "abc"],
        "models": [
            {
                "name": "small",
                "targets": [{"upstream": "a", "model": "m"}, {"upstream": "b", "model": "m"}],
                "price": PRICE,
                "retries": 1,
                "fallbacks": ["large"],
            },
            {"name": "large", "targets": [{"upstream": "c", "model": "m"}], "price": PRICE, "retries": 0},
            {
                "name": "copied",
                "targets": [{"upstream": "b", "model": "m"}],
                "price": PRICE,
                "retries": 0,
                "mirror": {"model": "large"},
            },
        ],
        "routing": {"first_pause": 0.0001},
    }
)
tries = st.builds(
    Try,
    st.one_of(st.none(), st.none(), st.sampled_from(FAILURES)),
    st.integers(0, 6),
    st.booleans(),
    st.sampled_from((False, False, True)),
    st.sampled_from((False, False, False, False, True)),
)
acts = st.builds(
    Act,
    st.sampled_from(("rich", "poor", "other")),
    st.sampled_from(("", "ann", "bob")),
    st.sampled_from(("small", "small", "large", "copied")),
    st.booleans(),
    st.sampled_from((None, None, None, 0, 1, 2, 4)),
    st.lists(tries, max_size=5),
)
schedules = st.lists(st.lists(acts, min_size=1, max_size=5), min_size=1, max_size=3)
"""Requests at once, one group after another."""


def prepared(folder: Path) -> app.Prepared:
    return app.Prepared(TREE, ((KEY, True),), PEPPER, {}, data_dir=folder)


@pytest.fixture(scope="module")
def template() -> Iterator[tuple[Path, dict[str, str]]]:
    """A data directory with the keys, and their texts."""

    async def make(folder: Path) -> dict[str, str]:
        async with app.gateway(prepared(folder)) as gate:
            assert gate.identity is not None
            master = gate.keys.recognise(KEY.encode())
            await gate.identity.tenants.create(NewTenant(id="acme"), master)
            dollar, cent = [{"usd": "1", "period": "day"}], [{"usd": "0.0005", "period": "total"}]
            wanted: dict[str, dict[str, Any]] = {
                "rich": {"budgets": [*dollar, {"usd": 0, "hard": False}], "rate": {"streams": 9}, "tags": ["red"]},
                "poor": {"budgets": cent, "tenant": "acme"},
                "other": {"budgets": dollar, "tenant": "acme", "rate": {"tokens_per_minute": 10_000}},
            }
            made = {
                name: await gate.identity.keys.create(NewKey.model_validate(fields), master)
                for name, fields in wanted.items()
            }
            return {name: issued.text for name, issued in made.items()}

    with TemporaryDirectory() as kept:
        yield Path(kept), asyncio.run(make(Path(kept)))


def scripted(gate: Gate, scripts: dict[str, list[Try]]) -> list[Entry]:
    """Put providers that follow scripts in the place of the others; every entry that is recorded, as it is."""
    upstreams = cast("dict[str, Provider]", gate.deps.upstreams)
    upstreams.update({name: Provider(name, scripts) for name in "abc"})
    entries: list[Entry] = []
    record = gate.deps.record
    assert record is not None

    def noted(run: Run) -> list[Entry]:
        made = record(run)
        entries.extend(made)
        return made

    gate.deps.record = noted
    return entries


async def carry_out(groups: list[list[Act]], gate: Gate, texts: dict[str, str]) -> tuple[list[Run], list[Entry]]:
    scripts: dict[str, list[Try]] = {}
    entries = scripted(gate, scripts)
    runs: list[Run] = []
    for group in groups:
        performing = []
        for act in group:
            run = Run(f"req-{len(runs)}", child_of(None), "chat")
            runs.append(run)
            scripts[run.id] = list(act.tries)
            run.who = gate.keys.recognise(texts[act.key].encode())
            if act.user:
                run.who = gate.keys.for_user(run.who, act.user)
            performing.append(perform(act, run, gate.deps))
        await asyncio.gather(*performing)
    for copy in list(gate.deps.mirrors):
        await asyncio.wait([copy], timeout=5)
    return runs, entries


def nothing_is_held(gate: Gate, entries: list[Entry]) -> None:
    """At rest nothing is reserved, and what is booked for each key is what its runs cost."""
    assert gate.deps.limiter is not None
    table = cast("TableCounters", gate.deps.limiter._counters)._table
    spent = Counter[str]()
    for one in entries:
        spent[f"key:{one.key}"] += (one.cost or 0) * one.billed
    for subject, row in getattr(table, "_rows").items():  # noqa: B009
        assert (table.reserved(row), table.streams(row)) == (0, 0), subject
        if subject.startswith("key:"):
            assert max(table.cells[row + SPENT["day"]], table.cells[row + SPENT["total"]]) == spent[subject]


async def nothing_is_missing(folder: Path, runs: list[Run], entries: list[Entry]) -> None:
    """A process that starts on what is left tells the same sums everywhere."""
    async with app.gateway(prepared(folder)) as gate:
        assert gate.reports is not None
        http = httpx.AsyncClient(transport=httpx.ASGITransport(Application(gate)), base_url="http://x")
        http.headers.update(bearer(KEY))
        billed = sum((one.cost or 0) * one.billed for one in entries)
        for by in ("key", "tenant", "user", "model", "target", "component", "day"):
            told = (await http.get("/admin/usage", params={"by": by})).json()
            for name, wanted in (
                ("cost_nano_usd", sum(one.cost or 0 for one in entries)),
                ("attempts", len(entries)),
                ("requests", len({(one.run, one.parent) for one in entries})),
                ("prompt", sum(one.prompt for one in entries)),
            ):
                assert told["total"][name] == sum(row[name] for row in told["rows"]) == wanted, (by, name)
                assert all(row[name] >= 0 for row in told["rows"])
        exported = (await http.get("/admin/usage/export", params={"format": "json"})).json()
        assert sorted(one["id"] for one in exported) == sorted(one.id for one in entries)
        for path in ("/spend/keys", "/spend/logs"):
            spent = sum(round(row["spend"] * 1e9) for row in (await http.get(path)).json())
            assert spent == billed, path
        learnt = await gate.reports.spent(0)
        for kind in ("key:", "tenant:", "model:"):
            assert sum(amount for subject, amount in learnt.items() if subject.startswith(kind)) == billed
        await http.aclose()
    made = {one.run for one in entries if one.billed}
    assert made == {run.id for run in runs if run.attempts}
    copies = {one.parent for one in entries if not one.billed}
    for run in runs:
        assert sum(one.run == run.id for one in entries) == len(run.attempts)
        assert (run.id in copies) is (run.model == "copied" and bool(run.attempts)), run.id


def copy_of_a_killed(alive: Path, left: Path) -> None:
    """What is on disk while the ledger may be drained: journals first, so that none is missed that is not kept yet."""
    shutil.copytree(alive / "journal", left / "journal", ignore=lambda _, names: [n for n in names if "draft" in n])
    for name in ("headgate.db", "headgate.db-wal"):
        if (alive / name).exists():
            shutil.copy(alive / name, left / name)


async def live_through(groups: list[list[Act]], texts: dict[str, str], folder: Path, ending: str) -> None:
    alive, left = folder / "alive", folder / "left"
    async with app.gateway(prepared(alive)) as gate:
        runs, entries = await carry_out(groups, gate, texts)
        nothing_is_held(gate, entries)
        if ending != "ended":
            copy_of_a_killed(alive, left)
    if ending == "ended":
        left = alive
    for path in left.glob("journal/*.journal") if ending == "torn" else ():
        path.write_bytes(path.read_bytes() + b'00112233 ["torn-entry","req-')
    await nothing_is_missing(left, runs, entries)


@given(schedules, st.sampled_from(("ended", "killed", "torn")), st.sampled_from((0.001, 3600.0)))
@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_attempts_runs_keys_users_tenants_and_reports_agree(
    template: tuple[Path, dict[str, str]], groups: list[list[Act]], ending: str, every: float
) -> None:
    usual = Ledger.__init__.__defaults__
    Ledger.__init__.__defaults__ = (every, None)  # drained all the time, or at the start and at the end alone
    try:
        with TemporaryDirectory() as made:
            shutil.copytree(template[0], Path(made) / "alive")
            asyncio.run(live_through(groups, template[1], Path(made), ending))
    finally:
        Ledger.__init__.__defaults__ = usual
