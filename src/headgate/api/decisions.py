"""Response headers that explain a routing decision: which target answered, after how many tries, and why not others."""

from collections.abc import Iterable
from itertools import islice

from headgate.api.limits import Headers, ticket_headers
from headgate.core.run import Run, now
from headgate.core.version import __version__

_MOST_TOLD = 20


def decision_headers(run: Run, *, litellm: bool) -> Headers:
    """What was decided so far. With `litellm`, the headers of LiteLLM's proxy besides."""
    headers = ticket_headers(run.ticket) if run.ticket is not None else []
    if run.added:
        headers.append((b"x-headgate-tools-added", _plain(", ".join(run.added))))
    if not run.attempts:
        if run.passed_over:
            headers.append((b"x-headgate-passed-over", _told(run.passed_over.items())))
        return headers
    last = run.attempts[-1]
    headers += (
        (b"x-headgate-target", _plain(last.target)),
        (b"x-headgate-attempts", b"%d" % len(run.attempts)),
    )
    if len(run.attempts) > 1:
        failed = [(one.target, one.error.code) for one in run.attempts if one.error is not None]
        headers.append((b"x-headgate-failed", _told(failed)))
        if last.model_name != run.attempts[0].model_name:
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


def _litellm(run: Run) -> Headers:
    """As there, the group is the name asked for, or the fallback that answered; the retries are those of the group."""
    last = run.attempts[-1]
    models = list(dict.fromkeys(one.model_name for one in run.attempts))
    return [
        (b"x-litellm-call-id", run.id.encode()),
        (b"x-litellm-model-id", _plain(last.target)),
        (b"x-litellm-model-group", _plain((len(models) == 1 and run.model) or last.model_name)),
        (b"x-litellm-version", f"headgate/{__version__}".encode()),
        (b"x-litellm-attempted-retries", b"%d" % (sum(one.model_name == last.model_name for one in run.attempts) - 1)),
        (b"x-litellm-attempted-fallbacks", b"%d" % (len(models) - 1)),
        (b"x-litellm-response-duration-ms", b"%.3f" % ((now() - run.started) * 1000)),
    ]


def _told(pairs: Iterable[tuple[str, str]]) -> bytes:
    return _plain(", ".join(f"{name}={why}" for name, why in islice(pairs, _MOST_TOLD)))


def _plain(text: str) -> bytes:
    """Names may hold any letter; a header holds ASCII."""
    return text.encode("ascii", "replace")
