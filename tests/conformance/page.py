"""The page docs/conformance.md, from the tables of this suite and what its recorded answers come to just now."""

from collections.abc import Iterator

from tests.conformance.golden import CHECK_STREAM, CHECK_WHOLE, Case, cases
from tests.conformance.said import ANSWER_ROWS, Violation, in_words_of, of_events
from tests.conformance.table import rows_of
from tests.conformance.through import NAMES, SPOKEN, told, told_whole

TITLES = {"chat": "Chat Completions", "messages": "Messages", "responses": "Responses", "ollama": "Ollama's own"}
INTRODUCTION = """# Conformance
<!-- Written by scripts/conformance.py from tests/conformance; change it there. -->

Headgate speaks OpenAI's Chat Completions, Anthropic's Messages and OpenAI's Responses to its callers, and to its
providers; Ollama's own words to callers only. Where both speak the same, bytes are relayed as they are, but for the
model's name. Where they do not, the request and its answer are translated. This page is what the suite
`tests/conformance` says of that:

- The rules of each dialect's streams (who may follow whom, ids that stay the same, indexes that rise, usage once where
  it is due, one end and nothing behind it) are checkers of their own, which share no code with the gateway. For each
  rule there is a planted violation that it must report.
- Recorded answers, after real streams of many providers, go from each dialect into each: by the rules, saying the same
  streamed and whole, and to the letter as committed.
- The official clients of OpenAI and Anthropic put every translated stream together as it was said.
- Every recorded stream is cut at every byte; what the caller gets stays the same.
- Generated requests come out of their own dialect as they went in, and lose in another one what is declared below, and
  nothing else. What every dialect can carry comes out equal on all ways.
- Recorded streams are damaged: events left out, doubled, swapped and cut, values of wrong types, bytes flipped. What
  the caller gets keeps to the rules: it ends well, or with an error.

`python -m pytest tests/conformance` runs it; with `--long`, far more is generated and damaged.
"""


def page() -> str:
    return "\n".join([INTRODUCTION, *_scores(), "", *_answers(), "", *_requests()]) + "\n"


def score(case: Case, caller: str) -> bool:
    """Whether a recorded answer comes out by the rules, streamed and whole, saying what it said."""
    heard = case.heard()
    try:
        stream = CHECK_STREAM[caller](told(heard, caller))
        if heard.error is not None:
            return stream.is_broken
        whole = CHECK_WHOLE[caller](told_whole(heard, caller))
    except Violation:
        return False
    said = of_events(heard.events)
    return stream == in_words_of(caller, said) and whole == in_words_of(caller, said, whole=True)


def _scores() -> Iterator[str]:
    yield "## Recorded answers that come out right"
    yield ""
    yield f"| provider speaks | {' | '.join(f'caller speaks {TITLES[name]}' for name in SPOKEN)} |"
    yield f"| --- | {' | '.join('---' for _ in SPOKEN)} |"
    for provider in NAMES:
        recorded = [case for case in cases() if case.dialect == provider]
        cells = [f"{sum(score(case, caller) for case in recorded)} of {len(recorded)}" for caller in SPOKEN]
        yield f"| {TITLES[provider]} | {' | '.join(cells)} |"


def _answers() -> Iterator[str]:
    yield "## What answers lose"
    yield ""
    yield "| caller speaks | what the provider said | becomes |"
    yield "| --- | --- | --- |"
    for caller, what, instead in ANSWER_ROWS:
        yield f"| {TITLES[caller]} | {what} | {instead} |"


def _requests() -> Iterator[str]:
    yield "## What requests lose"
    yield ""
    yield "What is left out is named in the header `x-headgate-dropped-params` and in the log, by its path in the words"
    yield "of the caller. What is not named means the same as before, said otherwise. Fields that only one dialect has"
    yield "are left out and named, but for those that both have under one name."
    for upstream in NAMES:
        yield ""
        yield f"### Into {TITLES[upstream]}"
        yield ""
        yield "| what | becomes | named | from |"
        yield "| --- | --- | --- | --- |"
        callers = [caller for caller in NAMES if caller != upstream]
        for row in dict.fromkeys(row for caller in callers for row in rows_of(caller, upstream)):
            of = ", ".join(TITLES[caller] for caller in callers if caller in row.of)
            yield f"| {row.what} | {row.instead} | {'yes' if row.told else ''} | {of} |"
