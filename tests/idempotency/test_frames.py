"""The form of a recorded answer: read as written, however the bytes come, and never read wrong."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.idempotency.frames import Damaged, Frame, Reader, ended_frame, head_frame, piece_frame, started_frame
from headgate.idempotency.types import Ended, Head, Started
from tests.requirements import covers

pytestmark = covers("154")
HEAD = Head("req_1", "ab12")
STARTED = Started(200, [(b"content-type", b"text/plain"), (b"x-odd", bytes(range(161, 256)))], "small")
ENDED = Ended("kept", "error", is_whole=False)


def recorded(pieces: list[bytes]) -> bytes:
    from zlib import crc32

    data = head_frame(HEAD) + started_frame(STARTED) + b"".join(map(piece_frame, pieces))
    return data + ended_frame(ENDED, crc32(data))


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 400)))
def test_frames_are_read_as_written_however_the_bytes_are_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = recorded(pieces)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = Reader()
    read: list[Frame] = []
    for start, end in itertools.pairwise(places):
        read += reader.feed(data[start:end])
    assert read == [HEAD, STARTED, *pieces, ENDED]


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1), st.data())
def test_a_changed_byte_never_makes_another_complete_answer(pieces: list[bytes], chance: st.DataObject) -> None:
    good = recorded(pieces)
    data = bytearray(good)
    data[chance.draw(st.integers(0, len(data) - 1))] ^= chance.draw(st.integers(1, 255))
    read: list[Frame] = []
    try:
        read += Reader().feed(bytes(data))
    except Damaged:
        return
    endings = [one for one in read if type(one) is Ended]
    assert not endings or read[:-1] == [HEAD, STARTED, *pieces]


@pytest.mark.parametrize("data", [b"X\0\0\0\x02[]", b"S\0\0\0\x01{", b"H\xff\xff\xff\xff", b"E\0\0\0\x01\x31"])
def test_what_nobody_wrote_is_told(data: bytes) -> None:
    with pytest.raises(Damaged):
        list(Reader().feed(data))
