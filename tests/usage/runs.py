"""Settled runs as they come out of the pipeline, made by hand and by chance."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from headgate.core.errors import (
    HeadgateError,
    UpstreamBroke,
    UpstreamFault,
    UpstreamGarbled,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from headgate.core.ids import child_of
from headgate.core.money import Price
from headgate.core.principal import Principal
from headgate.core.run import Attempt, Run
from headgate.core.tokens import Tokens
from headgate.core.wishes import NOTHING, Wishes

PRICE = Price(input=2_500_000_000, output=10_000_000_000, cached_input=1_250_000_000, request=1000)
SETTLED_AT = 1_800_000_000_000
_DAY = 86_400_000


def attempt(number: int = 1, **more: Any) -> Attempt:
    """A call of `u/m`, begun `number` seconds into the run and ended half a second later."""
    values: dict[str, Any] = {"started": 100.0 + number, "ended": 100.5 + number, "price": PRICE, **more}
    return Attempt("u", "m", "u/m", "u/m", "small", **values)


def run_of(attempts: Sequence[Attempt], **more: Any) -> Run:
    """A run that began at 100 and was settled a second after its last attempt."""
    values: dict[str, Any] = {"id": "req_1", "who": Principal("k1", user="ann"), "model": "small", **more}
    run = Run(values.pop("id"), child_of(None), values.pop("route", "chat"), started=100.0, **values)
    run.attempts = list(attempts)
    run.ended = max((one.ended for one in attempts), default=100.0) + 1.0
    return run


def failed(error: HeadgateError, number: int = 1, **more: Any) -> Attempt:
    return attempt(number, error=error, **more)


def price_of(attempt: Attempt, tokens: Tokens) -> Price | None:
    return attempt.price


COUNTS = st.integers(0, 5000)
_AMOUNTS = st.integers(0, 10**11)
_MAYBE = st.one_of(st.none(), _AMOUNTS)
PRICES = st.one_of(
    st.none(),
    st.builds(Price, _AMOUNTS, _AMOUNTS, _MAYBE, _MAYBE, st.integers(0, 10**6), *(st.just(None) for _ in range(4))),
)
_ERRORS = (UpstreamBroke, UpstreamFault, UpstreamGarbled, UpstreamRateLimited, UpstreamTimeout, UpstreamUnreachable)


@st.composite
def token_counts(draw: st.DrawFn) -> Tokens:
    prompt, completion = draw(COUNTS), draw(COUNTS)
    cached = draw(st.integers(0, prompt))
    return Tokens(prompt, completion, cached, draw(st.integers(0, completion)), draw(st.integers(0, prompt - cached)))


@st.composite
def attempts(draw: st.DrawFn, number: int, is_last: bool) -> Attempt:
    """A failure before anything came, a stream that broke off or was left, or an answer with or without usage."""
    chunks = draw(st.integers(0, 20))
    values: dict[str, Any] = {"price": draw(PRICES), "chunks": chunks, "text_bytes": draw(st.integers(0, 9)) * chunks}
    if not is_last or draw(st.booleans()):
        values["error"] = draw(st.sampled_from(_ERRORS))("failed")
    elif draw(st.booleans()):
        values["tokens"] = draw(token_counts())
    if chunks or values.get("tokens"):
        values |= {"first_byte": 100.1 + number, "first_token": 100.2 + number}
    name = draw(st.sampled_from(("a", "b", "c")))
    one = attempt(number, **values)
    one.target, one.upstream, one.model_name = f"{name}/m", name, f"model-{name}"
    return one


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A run of one to four attempts, by one of a few keys, users and tenants."""
    count = draw(st.integers(1, 4))
    tried = [draw(attempts(number, number == count)) for number in range(1, count + 1)]
    key = draw(st.sampled_from(("k1", "k2", "k3")))
    tenant = draw(st.sampled_from(("default", "acme")))
    user = draw(st.sampled_from(("", "ann", "bob")))
    tags = draw(st.frozensets(st.sampled_from(("red", "green")), max_size=1))
    run = run_of(
        tried,
        id=draw(st.sampled_from(("req_1", "req_2", "mine"))),
        who=Principal(f"{tenant}-{key}", tenant=tenant, user=user),
        wishes=Wishes(tags=tags) if tags else NOTHING,
        mirror_of=draw(st.sampled_from((None, None, None, "req_0"))),
        fields=draw(st.sampled_from((None, {"messages": [{"role": "user", "content": "hello"}]}))),
        bytes_in=draw(COUNTS),
        bytes_out=draw(COUNTS),
    )
    last = tried[-1]
    if last.error is not None:
        run.fail(last.error)
    elif draw(st.booleans()):
        run.outcome = "disconnected"
    return run


MOMENTS = st.integers(0, 5).map(lambda days: SETTLED_AT + days * _DAY)
SCHEDULES = st.lists(st.tuples(runs(), MOMENTS), min_size=1, max_size=12)
