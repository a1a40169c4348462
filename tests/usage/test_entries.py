"""A settled run as entries of the ledger."""

import orjson
import pytest
from hypothesis import given

from headgate.core.errors import (
    HeadgateError,
    InternalError,
    UpstreamBroke,
    UpstreamGarbled,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from headgate.core.money import Price
from headgate.core.principal import Principal
from headgate.core.run import Run
from headgate.core.tokens import Tokens
from headgate.core.wishes import Wishes
from headgate.usage.cost import cost_of
from headgate.usage.entries import entries_of
from headgate.usage.types import Entry
from tests.requirements import covers
from tests.usage.runs import PRICE, SETTLED_AT, attempt, failed, price_of, run_of, runs

pytestmark = covers("152", "113")
ASKED = {"messages": [{"role": "user", "content": "12345678"}], "max_tokens": 50}


def entries(run: Run) -> list[Entry]:
    return entries_of(run, SETTLED_AT, price_of)


def only(run: Run) -> Entry:
    (entry,) = entries(run)
    return entry


def test_what_the_provider_reported_is_what_is_charged() -> None:
    tokens = Tokens(100, 20, cached=60)
    entry = only(run_of([attempt(tokens=tokens, first_byte=101.1, first_token=101.2)]))
    assert (entry.tokens, entry.price, entry.measure, entry.bound) == (tokens, PRICE, "reported", 0)
    assert entry.cost == cost_of(tokens, PRICE)
    assert (entry.outcome, entry.error, entry.billed, entry.final) == ("ok", "", 1, 1)


def test_an_entry_says_who_asked_for_what_where_and_when() -> None:
    one = attempt(tokens=Tokens(1), first_byte=101.1, first_token=101.25)
    who = Principal("k1", tenant="acme", user="ann", tags=("own",))
    entry = only(run_of([one], who=who, wishes=Wishes(tags=frozenset(("z", "b")))))
    assert (entry.run, entry.attempt, entry.key, entry.tenant, entry.user) == ("req_1", 1, "k1", "acme", "ann")
    assert (entry.model, entry.answered, entry.target, entry.upstream, entry.provider_model, entry.route) == (
        *("small", "small", "u/m", "u", "m", "chat"),
    )
    assert (entry.component, orjson.loads(entry.tags)) == ("passthrough", ["b", "own", "z"])
    assert (entry.queued, entry.first_byte, entry.first_token, entry.total) == (1000, 99, 250, 500)
    assert entry.started_at == SETTLED_AT - 1500


def test_every_attempt_has_its_entry() -> None:
    tried = [
        failed(UpstreamUnreachable("no"), 1),
        failed(UpstreamRateLimited("no"), 2, first_byte=102.1),
        attempt(3, tokens=Tokens(9, 9)),
    ]
    found = entries(run_of(tried))
    assert [(one.attempt, one.final, one.outcome, one.error) for one in found] == [
        (1, 0, "error", "upstream_unreachable"),
        (2, 0, "error", "upstream_rate_limited"),
        (3, 1, "ok", ""),
    ]
    assert [one.cost for one in found[:2]] == [0, 0]


def test_a_run_that_called_nobody_has_no_entry() -> None:
    assert entries(run_of([])) == []


@pytest.mark.parametrize("error", [UpstreamUnreachable("no"), UpstreamRejected("no"), UpstreamRateLimited("no")])
def test_a_refusal_is_known_to_cost_nothing(error: HeadgateError) -> None:
    run = run_of([failed(error, first_byte=101.1, price=None)], fields=ASKED)
    entry = only(run)
    assert (entry.tokens, entry.cost, entry.measure, entry.bound) == (Tokens(), 0, "reported", 0)


@pytest.mark.parametrize("error", [UpstreamTimeout("no"), UpstreamGarbled("no"), UpstreamBroke("no")])
def test_a_provider_that_may_have_worked_costs_nothing_but_the_bound_tells_of_it(error: HeadgateError) -> None:
    entry = only(run_of([failed(error)], fields=ASKED))
    assert (entry.tokens, entry.cost, entry.measure, entry.bound) == (Tokens(), 0, "estimated", 16 + 50)


@pytest.mark.parametrize("error", [UpstreamBroke("no"), UpstreamTimeout("no"), None])
def test_a_stream_cut_short_is_charged_by_what_was_seen(error: HeadgateError | None) -> None:
    run = run_of(
        [attempt(chunks=10, text_bytes=80, first_token=101.1, error=error)],
        fields=ASKED,
        bytes_out=2500,
        outcome="error" if error else "disconnected",
    )
    entry = only(run)
    assert (entry.tokens, entry.measure, entry.bound) == (Tokens(6, 20), "estimated", 10 + 30)
    assert entry.cost == cost_of(Tokens(6, 20), PRICE)
    assert entry.outcome == ("error" if error else "disconnected")


def test_usage_that_came_before_the_caller_left_is_not_guessed() -> None:
    entry = only(run_of([attempt(chunks=3, tokens=Tokens(8, 3))], outcome="disconnected"))
    assert (entry.measure, entry.outcome, entry.completion) == ("reported", "disconnected", 3)


def test_a_caller_that_left_before_the_answer_is_charged_the_prompt() -> None:
    entry = only(run_of([attempt()], outcome="disconnected", fields=ASKED))
    assert (entry.tokens, entry.measure, entry.outcome) == (Tokens(6), "estimated", "disconnected")


def test_an_answer_without_usage_is_charged_by_its_size() -> None:
    entry = only(run_of([attempt(first_token=101.1)], bytes_in=400, bytes_out=200))
    assert (entry.tokens, entry.measure, entry.bound) == (Tokens(100, 50), "estimated", 300 + 150)


def test_an_answer_that_is_still_to_be_sent_is_measured_by_what_the_attempt_saw() -> None:
    assert only(run_of([attempt(first_token=101.1, text_bytes=200)], bytes_in=400)).completion == 50


def test_without_a_price_the_cost_is_unknown_and_not_zero() -> None:
    entry = only(run_of([attempt(tokens=Tokens(5, 5), price=None)]))
    assert (entry.cost, entry.price) == (None, None)


def test_the_size_of_a_recording_says_nothing_of_its_cost() -> None:
    entry = only(run_of([attempt(first_token=101.1)], route="transcriptions", bytes_in=5_000_000))
    assert (entry.tokens, entry.cost, entry.measure) == (Tokens(), None, "estimated")


def test_a_mirrored_copy_is_not_billed_and_names_its_run() -> None:
    run = run_of([attempt(tokens=Tokens(5, 5))], id="req_1-mirror", mirror_of="req_1", route="mirror")
    entry = only(run)
    assert (entry.billed, entry.parent, entry.run) == (0, "req_1", "req_1-mirror")
    assert entry.cost == cost_of(Tokens(5, 5), PRICE)


def test_a_fault_of_ours_after_the_answer_still_charges_the_answer() -> None:
    run = run_of([attempt(tokens=Tokens(5, 5))])
    run.fail(InternalError("A fault"))
    entry = only(run)
    assert (entry.outcome, entry.error) == ("error", "internal_error")
    assert entry.cost == cost_of(Tokens(5, 5), PRICE)


def test_runs_of_one_id_chosen_by_the_caller_have_entries_of_different_ids() -> None:
    found = {only(run_of([attempt(tokens=Tokens(1))], id="mine")).id for _ in range(100)}
    assert len(found) == 100


def test_a_copy_shares_its_runs_trace_but_not_its_ids() -> None:
    run = run_of([attempt(tokens=Tokens(1))])
    copy = run_of([attempt(tokens=Tokens(1))], mirror_of=run.id)
    copy.trace = run.trace
    assert only(copy).id != only(run).id


def test_what_a_caller_sends_is_kept_within_bounds() -> None:
    tags = frozenset(f"{number:03}" + "x" * 1000 for number in range(100))
    entry = only(run_of([attempt()], wishes=Wishes(tags=tags), model="m" * 5000, who=Principal("k", user="u" * 5000)))
    assert len(entry.tags) < 20 * 132
    assert len(entry.model) == len(entry.user) == 512


@given(runs())
def test_an_entry_is_never_negative_and_its_cost_follows_from_its_price(run: Run) -> None:
    found = entries(run)
    assert len({one.id for one in found}) == len(run.attempts)
    for one in found:
        assert min(*one.tokens, one.bound, one.queued, one.total) >= 0
        assert one.cost is None or one.cost >= 0
        if one.cost and one.price:
            assert one.cost == cost_of(one.tokens, one.price)
        assert (one.bound == 0) if one.measure == "reported" else one.bound >= 0


@pytest.mark.parametrize("route", ["images", "image_edits", "image_variations"])
def test_an_answer_of_pictures_alone_is_charged_as_pictures(route: str) -> None:
    price = Price(1_000_000, 1_000_000, image_output=9_000_000)
    entry = only(run_of([attempt(tokens=Tokens(5, 10), price=price)], route=route))
    assert (entry.completion_image, entry.cost, entry.price) == (10, 5 + 90, price)
    told = only(run_of([attempt(tokens=Tokens(5, 10, completion_image=4), price=price)], route=route))
    assert (told.completion_image, told.cost) == (4, 5 + 6 + 36)
    assert only(run_of([attempt(tokens=Tokens(5, 10), price=price)])).cost == 15
