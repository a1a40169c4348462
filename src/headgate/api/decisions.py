"""Response headers that explain a routing decision: which target answered, after how many tries, and why not others."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

from headgate.api.limits import Headers, ticket_headers
from headgate.core.run import Run, StrategyChoice, now
from headgate.core.version import __version__

_MOST_TOLD = 20
_MOST_REMEMBERED = 1000
_NANO = 1_000_000_000


def decision_headers(run: Run, *, litellm: bool) -> Headers:
    """What was decided so far. With `litellm`, the headers of LiteLLM's proxy besides."""
    headers = [] if run.ticket is None else ticket_headers(run.ticket, run.dialect)
    if run.added or run.absent or run.strategy is not None or run.conversation:
        headers += _steered(run)
    attempts = run.attempts
    if not attempts:
        if run.passed_over:
            headers.append((b"x-headgate-passed-over", _told(run.passed_over.items())))
        return headers
    last = attempts[-1]
    headers += _answered(last.target, len(attempts))
    if len(attempts) > 1:
        failed = [(one.target, one.error.code) for one in attempts if one.error is not None]
        headers.append((b"x-headgate-failed", _told(failed)))
        if last.model_name != run.answering[0].model_name:
            headers.append((b"x-headgate-fallback", _plain(last.model_name)))
    if run.passed_over:
        headers.append((b"x-headgate-passed-over", _told(run.passed_over.items())))
    if last.dropped:
        headers.append((b"x-headgate-dropped", _plain(", ".join(last.dropped))))
    if last.applied or run.applied:
        headers.append((b"x-headgate-applied", _plain(", ".join((*run.applied, *last.applied)))))
    if litellm:
        headers += _litellm(run)
    return headers


@lru_cache(_MOST_REMEMBERED)
def _answered(target: str, attempts: int) -> tuple[tuple[bytes, bytes], ...]:
    return (b"x-headgate-target", _plain(target)), (b"x-headgate-attempts", b"%d" % attempts)


def _steered(run: Run) -> Headers:
    """What the gateway did to a request beyond choosing a target."""
    headers = [] if run.strategy is None else _strategy(run.strategy)
    if run.conversation:
        headers.append((b"x-conversation-id", run.conversation.encode()))
        if run.stream and (stored := run.resumable or run.stored_as):
            headers.append((b"x-headgate-run", stored.encode()))
    if run.segment:
        headers.append((b"x-headgate-segment", run.segment.encode()))
    if run.added:
        headers.append((b"x-headgate-tools-added", _plain(", ".join(run.added))))
    if run.absent:
        headers.append((b"x-headgate-tools-absent", _plain(", ".join(islice(run.absent, _MOST_TOLD)))))
    return headers


def _strategy(choice: StrategyChoice) -> Headers:
    headers = [
        (b"x-headgate-strategy", choice.name.encode()),
        (b"x-headgate-strategy-source", choice.source.encode()),
    ]
    reason = ": ".join(filter(None, (choice.reason, choice.said)))
    return [*headers, (b"x-headgate-strategy-reason", _plain(reason))] if reason else headers


def _litellm(run: Run) -> Headers:
    """As there, the group is the name asked for, or the fallback that answered; the retries are those of the group."""
    last = run.attempts[-1]
    own = run.answering
    models = list(dict.fromkeys(one.model_name for one in own))
    return [
        (b"x-litellm-call-id", run.id.encode()),
        (b"x-litellm-model-id", _plain(last.target)),
        (b"x-litellm-model-group", _plain((len(models) == 1 and run.model) or last.model_name)),
        (b"x-litellm-version", f"headgate/{__version__}".encode()),
        (b"x-litellm-attempted-retries", b"%d" % (sum(one.model_name == last.model_name for one in own) - 1)),
        (b"x-litellm-attempted-fallbacks", b"%d" % (len(models) - 1)),
        (b"x-litellm-response-duration-ms", b"%.3f" % ((now() - run.started) * 1000)),
        *_money(run, None if last.error else last.cost),
    ]


def _money(run: Run, cost: int | None) -> Headers:
    """What the answer cost, where it is known before it is sent, and what the key may spend and has spent."""
    headers = [] if cost is None else [(b"x-litellm-response-cost", _usd(cost))]
    own = next((bound for bound in run.who.bounds if bound.subject.startswith("key:")), None)
    if own is None:
        return headers
    rate, budgets, ticket = own.rate, own.budgets, run.ticket
    if hard := next((one for one in budgets if one.hard), None):
        headers.append((b"x-litellm-key-max-budget", _usd(hard.nano_usd)))
    if ticket is not None and ticket.spent is not None and ticket.bounds[0] is own:
        headers.append((b"x-litellm-key-spend", _usd(ticket.spent + (cost or 0))))
    limits = ((b"tpm", rate.tokens_per_minute), (b"rpm", rate.requests_per_minute))
    headers += [(b"x-litellm-key-%b-limit" % name, b"%d" % limit) for name, limit in limits if limit]
    return headers


def _usd(amount: int) -> bytes:
    return str(amount / _NANO).encode()


def _told(pairs: Iterable[tuple[str, str]]) -> bytes:
    return _plain(", ".join(f"{name}={why}" for name, why in islice(pairs, _MOST_TOLD)))


def _plain(text: str) -> bytes:
    """Names may hold any letter; a header holds ASCII."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text.encode("ascii", "replace")
