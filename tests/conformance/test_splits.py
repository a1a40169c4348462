"""However the bytes of a stream were cut on their way, the caller gets the same.

What a relay passes on is always whole events, so a cut can only change how they are bunched: each bunching that occurs
is read and written, all others are one of these.
"""

from collections.abc import Iterator

import pytest

from headgate.core.errors import HeadgateError
from tests.conformance.golden import Case, cases
from tests.conformance.through import NAMES, Heard, events_of, hear, relay_for, relayed, told
from tests.requirements import covers

pytestmark = covers("conformance")
STREAMS = [case for case in cases() if case.is_stream]
Passed = tuple[tuple[bytes, ...], type[HeadgateError] | None, object]


def passed_on(dialect: str, *pieces: bytes) -> Passed:
    """The frames a relay gives, the error it ends with, and the tokens it saw."""
    relay, attempt = relay_for(dialect)
    frames: list[bytes] = []
    try:
        frames.extend(relayed(relay, pieces))
    except HeadgateError as error:
        return tuple(frames), type(error), attempt.tokens
    return tuple(frames), None, attempt.tokens


def with_other_line_ends(stream: bytes) -> Iterator[bytes]:
    yield stream
    yield stream.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_every_cut_at_every_byte_gives_the_same(case: Case) -> None:
    whole = hear(case.dialect, [case.body])
    written = {dialect: told(whole, dialect) for dialect in NAMES}
    expected = passed_on(case.dialect, case.body)
    bunches = {expected[0]}
    for at in range(1, len(case.body)):
        frames, error, tokens = passed_on(case.dialect, case.body[:at], case.body[at:])
        assert (b"".join(frames), error, tokens) == (b"".join(expected[0]), *expected[1:]), at
        if frames not in bunches:
            bunches.add(frames)
            assert_same(hear(case.dialect, [case.body[:at], case.body[at:]]), whole, written)
    assert len(bunches) > 1


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_byte_by_byte_and_event_by_event_give_the_same(case: Case) -> None:
    for body in with_other_line_ends(case.body):
        whole = hear(case.dialect, [body])
        written = {dialect: told(whole, dialect) for dialect in NAMES}
        assert_same(hear(case.dialect, (body[at : at + 1] for at in range(len(body)))), whole, written)
        assert_same(hear(case.dialect, events_of(body)), whole, written)


def assert_same(heard: Heard, whole: Heard, written: dict[str, bytes]) -> None:
    assert heard.events == whole.events
    assert type(heard.error) is type(whole.error)
    assert {dialect: told(heard, dialect) for dialect in NAMES} == written
