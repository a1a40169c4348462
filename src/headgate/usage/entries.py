"""A settled run as entries of the ledger, one per attempt. Pure: knows no clock, no file and no database."""

from collections.abc import Callable, Iterable

import orjson

from headgate.core.errors import HeadgateError, UpstreamBroke, UpstreamGarbled, UpstreamTimeout
from headgate.core.money import Price
from headgate.core.run import Attempt, Run
from headgate.core.tokens import Tokens
from headgate.usage.cost import (
    NOTHING,
    Measured,
    Size,
    cost_of,
    estimated,
    most_completion,
    size_of,
    size_of_stream,
    size_of_text,
)
from headgate.usage.types import Entry, Outcome

PriceOf = Callable[[Attempt, Tokens], Price | None]
"""What an attempt's tokens cost; None where nobody knows."""
_ESTIMABLE = frozenset(
    ("chat", "delegated", "completions", "embeddings", "moderations", "rerank", "responses", "compaction", "messages")
)
"""Routes that take text. Of the others, the size says nothing of the tokens."""
_DRAWING = frozenset(("images", "image_edits", "image_variations"))
_MAY_HAVE_WORKED = (UpstreamTimeout, UpstreamBroke, UpstreamGarbled)
"""The provider had the request and may charge for it; what nobody saw is not charged, but the bound tells of it."""
_UNKNOWN = Measured(Tokens(), "estimated")
_Amount = int | None
_Prices = tuple[_Amount, _Amount, _Amount, _Amount, _Amount, _Amount, _Amount, _Amount, _Amount]
_UNPRICED: _Prices = (None, None, None, None, None, None, None, None, None)
_MOST_TAGS = 20
_LONGEST = 512
_LONGEST_TAG = 128


def entries_of(run: Run, settled_at: int, price_of: PriceOf) -> list[Entry]:
    """Entries of the attempts that are in the ledger not yet. `settled_at` is now, in milliseconds since the epoch."""
    first, last = run.accounted, len(run.attempts)
    if first == last and run.entry is not None:
        return [] if run.goes_on else [_closed(run.entry, run)]
    tags = _tags(run)
    return [
        _entry(run, number, settled_at, tags, price_of, final=number == last and not run.goes_on)
        for number in range(first + 1, last + 1)
    ]


def _entry(run: Run, number: int, settled_at: int, tags: str, price_of: PriceOf, *, final: bool) -> Entry:
    attempt, who = run.attempts[number - 1], run.who
    start, ended = attempt.started, attempt.ended or run.ended
    error = attempt.error or (run.error if final else None)
    known = _measured(run, attempt)
    tokens = known.tokens
    price = price_of(attempt, tokens)
    prices: _Prices = _UNPRICED if price is None else price
    started_at = settled_at - int((run.ended - start) * 1000)
    values = (
        f"{started_at:012x}{run.trace.span_id}{'m' if run.mirror_of else '-'}{number}",
        run.id,
        run.parent or run.mirror_of or "",
        number,
        1 if final else 0,
        who.key_id,
        who.tenant,
        who.user[:_LONGEST],
        (run.model or "")[:_LONGEST],
        attempt.model_name,
        attempt.target,
        attempt.upstream,
        attempt.model,
        attempt.component or run.component,
        run.route,
        tags,
        started_at,
        int((start - run.started) * 1000),
        int((attempt.first_byte - start) * 1000) if attempt.first_byte else None,
        int((attempt.first_token - start) * 1000) if attempt.first_token else None,
        int((ended - start) * 1000),
        *tokens,
        _cost(known, price),
        *prices[:5],
        known.measure,
        known.bound,
        "ok" if error is None and run.outcome == "ok" else _outcome(run, error, final=final),
        error.code if error else "",
        0 if run.mirror_of else 1,
        run.decision if final else "",
        *prices[5:],
    )
    return Entry._make(values)  # the constructor takes twice as long, for it names each of them


def _closed(entry: Entry, run: Run) -> Entry:
    """The last attempt's once more, of a run that ended after it by something else than an answer of a model."""
    error = run.error
    outcome: Outcome = "ok" if error is None and run.outcome == "ok" else _outcome(run, error, final=True)
    return entry._replace(final=1, outcome=outcome, error=error.code if error else "", decision=run.decision)


def _outcome(run: Run, error: HeadgateError | None, *, final: bool) -> Outcome:
    if final and run.outcome == "cancelled":
        return "cancelled"
    if error is not None:
        return "error"
    return "disconnected" if final and run.outcome == "disconnected" else "ok"


def _cost(known: Measured, price: Price | None) -> int | None:
    if known.measure == "estimated":
        if known is _UNKNOWN:
            return price.request if price and not (price.input or price.output) else None
        if not any(known.tokens):
            return 0
    elif known is NOTHING:
        return 0
    return None if price is None else cost_of(known.tokens, price)


def _measured(run: Run, attempt: Attempt) -> Measured:
    """The tokens of an attempt: as reported; none if it failed before anything came; else by what was seen."""
    if attempt.tokens is not None:
        return Measured._make((_drawn(attempt.tokens) if run.route in _DRAWING else attempt.tokens, "reported", 0))
    began = bool(attempt.chunks or attempt.first_token)
    error = attempt.error
    if error is not None and not began and not isinstance(error, _MAY_HAVE_WORKED):
        return NOTHING
    if run.route not in _ESTIMABLE and (run.mirror_of is None or run.fields is None):
        return _UNKNOWN
    fields = run.fields
    prompt = size_of_text(run.bytes_in) if fields is None else size_of(fields)
    most = None if fields is None else most_completion(fields)
    if error is not None and not began:
        return Measured(Tokens(), "estimated", prompt.most + (most or 0))
    return estimated(prompt, _answer(run, attempt, began), most)


def _drawn(tokens: Tokens) -> Tokens:
    """What answers with pictures alone does not always say so."""
    return tokens if tokens.completion_image else tokens._replace(completion_image=tokens.completion)


def _answer(run: Run, attempt: Attempt, began: bool) -> Size:
    if not began or run.route in ("embeddings", "moderations", "rerank"):
        return Size(0, 0)
    if attempt.chunks:
        return size_of_stream(attempt.chunks, attempt.text_bytes, run.bytes_out)
    return size_of_text(attempt.text_bytes or run.bytes_out)


def _tags(run: Run) -> str:
    given: Iterable[str] = run.wishes.tags
    own = run.who.tags + run.who.terms.tags
    if not given and not own:
        return "[]"
    shortened = sorted({tag[:_LONGEST_TAG].replace("\0", "?") for tag in (*own, *given)})
    return orjson.dumps(shortened[:_MOST_TAGS]).decode()
