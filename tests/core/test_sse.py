"""Where events end, whatever the line ends and however the network cut them."""

from itertools import accumulate, combinations

import pytest

from headgate.core import sse
from tests.requirements import covers

pytestmark = covers("sse")

PARTS = [
    b"data: {}|",
    b": ping|",
    b"event: a|data: one|data: two|",
    b"data:x|",
    b"id: 1|data:  \xc3\xa9\xf0\x9f\x98\x80|",
]
LINE_ENDS = {"lf": (b"\n",), "crlf": (b"\r\n",), "cr": (b"\r",), "mixed": (b"\n", b"\r\n", b"\r")}


def events_with(line_ends: tuple[bytes, ...]) -> list[bytes]:
    """Events whose lines end as told, event by event in turn."""
    return [(part + b"|").replace(b"|", line_ends[at % len(line_ends)]) for at, part in enumerate(PARTS)]


@pytest.fixture(params=LINE_ENDS)
def whole_events(request: pytest.FixtureRequest) -> list[bytes]:
    return events_with(LINE_ENDS[request.param])


def test_a_stream_cut_anywhere_twice_gives_each_event_as_soon_as_it_is_complete(whole_events: list[bytes]) -> None:
    text = b"".join(whole_events)
    ends = [0, *accumulate(map(len, whole_events))]
    for first, second in combinations(range(1, len(text)), 2):
        splitter = sse.Splitter()
        given = 0
        for start, stop in ((0, first), (first, second), (second, len(text))):
            given += len(splitter.feed(text[start:stop]))
            assert given == max(end for end in ends if end <= stop), (text[start:stop], first, second)
            assert splitter.rest == text[given:stop]


def test_a_stream_fed_byte_by_byte_gives_the_same_bytes(whole_events: list[bytes]) -> None:
    splitter = sse.Splitter()
    given = [splitter.feed(bytes([byte])) for byte in b"".join(whole_events)]
    assert [piece for piece in given if piece] == whole_events


def test_a_run_of_events_falls_into_its_events(whole_events: list[bytes]) -> None:
    assert list(sse.events(b"".join(whole_events))) == whole_events


def test_the_data_of_an_event_does_not_depend_on_line_ends(whole_events: list[bytes]) -> None:
    expected = [b"{}", None, b"one\ntwo", b"x", b" \xc3\xa9\xf0\x9f\x98\x80"]
    assert [sse.data_of(event) for event in whole_events] == expected


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: [DONE]\n\n", b"[DONE]"),
        (b"data:\n\n", b""),
        (b"data: \n\n", b""),
        (b"data: a\ndata:\ndata: b\n\n", b"a\n\nb"),
        (b"event: ping\ndata: {}\n\n", b"{}"),
        (b": comment\n\n", None),
        (b"\n\n", None),
        (b"retry: 10\n\n", None),
        (b"database: x\n\n", None),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert sse.data_of(event) == data


def test_an_event_made_is_an_event_read() -> None:
    made = sse.event(b'{"a":1}')
    assert sse.data_of(made) == b'{"a":1}'
    assert list(sse.events(made + sse.PING + sse.DONE)) == [made, sse.PING, sse.DONE]


def test_nothing_comes_of_nothing() -> None:
    splitter = sse.Splitter()
    assert splitter.feed(b"") == b""
    assert splitter.feed(b"data: x") == b""
    assert splitter.feed(b"") == b""
    assert splitter.rest == b"data: x"


def test_an_event_that_does_not_end_is_refused() -> None:
    splitter = sse.Splitter()
    piece = b"x" * (4 << 20)
    for _ in range(8):
        assert splitter.feed(piece) == b""
    with pytest.raises(sse.EventTooLong):
        splitter.feed(b"x")


def test_a_long_event_that_ends_is_given_whole() -> None:
    splitter = sse.Splitter()
    assert splitter.feed(b"data: " + b"x" * (31 << 20)) == b""
    assert len(splitter.feed(b"\n\ndata")) == (31 << 20) + 8
    assert splitter.rest == b"data"
