"""Before several workers start, what a killed one left in its journals is in the database, so that all know of it."""

from pathlib import Path

from headgate import app
from headgate.config.tree import Settings
from headgate.core.tokens import Tokens
from headgate.usage.entries import entries_of
from headgate.usage.journal import Journal, files
from tests.harness.admin import PEPPER
from tests.harness.gateway import KEY
from tests.requirements import covers
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of

pytestmark = covers("150", "152", "153")


async def test_workers_learn_what_was_left_in_journals_from_the_database(tmp_path: Path) -> None:
    prepared = app.Prepared(Settings(), ((KEY, True),), PEPPER, {}, data_dir=tmp_path)
    journal = Journal(tmp_path / "journal")
    entries = entries_of(run_of([attempt(tokens=Tokens(10, 5))]), SETTLED_AT, price_of)
    journal.append(entries)
    journal.seal()
    await app.bring_up_to_date(prepared)
    assert files(tmp_path / "journal") == []
    async with app.gateway(prepared) as first, app.gateway(prepared) as second:
        for gate in (first, second):
            assert gate.reports is not None
            assert (await gate.reports.spent(0))["tenant:default"] == entries[0].cost
        assert first.trouble() == second.trouble() == ""
