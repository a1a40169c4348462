"""Multipart forms, read in place."""

import os

import pytest

from headgate.core import form
from headgate.core.errors import InvalidForm
from headgate.core.request import parse_form
from headgate.core.surfaces import TRANSCRIPTIONS
from tests.requirements import covers

pytestmark = covers("surfaces", "fuzz")

TYPE = "multipart/form-data; boundary=b0"


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--b0\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


def closed(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b0--\r\n"


def test_texts_are_read_and_files_are_not() -> None:
    body = closed(
        part("model", b"m"), part("file", b"\x00\xff\r\n--b\r\n", '; filename="a.wav"'), part("x", "é".encode())
    )
    parsed = form.parse(body, TYPE)
    assert parsed.texts == {"model": "m", "x": "é"}
    assert {name: body[slice(*span)] for name, span in parsed.spans.items()} == {"model": b"m", "x": "é".encode()}


def test_only_the_model_is_replaced() -> None:
    audio = os.urandom(100_000)
    parts = (part("file", audio, '; filename="m.wav"\r\nContent-Type: audio/wav'), part("model", b"m"), part("n", b"1"))
    body = closed(*parts)
    content_type, changed = parse_form(TRANSCRIPTIONS, body, TYPE).body_for("provider-model")
    assert content_type == TYPE.encode()
    assert changed == closed(parts[0], part("model", b"provider-model"), parts[2])


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="b0"',
        "Multipart/Form-Data; Boundary=b0",
        "multipart/form-data; charset=utf-8; boundary=b0; x=y",
        "multipart/form-data;boundary=b0",
    ],
)
def test_the_boundary_is_found_in(content_type: str) -> None:
    assert form.parse(closed(part("model", b"m")), content_type).texts == {"model": "m"}


def test_a_preamble_an_epilogue_and_empty_values_are_no_matter() -> None:
    body = b"preamble\r\n" + closed(part("model", b"m"), part("empty", b"")) + b"epilogue"
    assert form.parse(body, TYPE).texts == {"model": "m", "empty": ""}


def test_repeated_names_are_refused_unless_they_are_lists() -> None:
    with pytest.raises(InvalidForm) as caught:
        form.parse(closed(part("model", b"a"), part("model", b"b")), TYPE)
    assert caught.value.param == "model"
    assert form.parse(closed(part("t[]", b"a"), part("t[]", b"b")), TYPE).texts == {"t[]": "b"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", TYPE),
        (b"--b0", TYPE),
        (b"--b0--", "multipart/form-data"),
        (b"--b1--", TYPE),
        (b"--b0\r\n", TYPE),
        (b"--b0\r\n\r\n", TYPE),
        (part("model", b"m"), TYPE),
        (closed(b"--b0\r\nContent-Type: x\r\n\r\ny\r\n"), TYPE),
        (closed(part("model", b"\xff")), TYPE),
        (closed(part("x" * 5000, b"m")), TYPE),
        (closed(*(part(f"f{number}", b"") for number in range(101))), TYPE),
        (closed(part("model", b"m")), "multipart/form-data; boundary="),
    ],
)
def test_a_broken_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidForm):
        form.parse(body, content_type)


def test_a_form_cut_anywhere_is_refused() -> None:
    body = closed(part("file", b"\x00\x01", '; filename="a"'), part("model", b"m"))
    for cut in range(len(body) - len(b"--\r\n")):
        with pytest.raises(InvalidForm):
            form.parse(body[:cut], TYPE)


def test_a_field_whose_name_only_ends_in_name_is_not_mistaken() -> None:
    body = closed(
        b'--b0\r\nContent-Disposition: form-data; filename="model"; name="file"\r\n\r\nx\r\n', part("model", b"m")
    )
    assert form.parse(body, TYPE).texts == {"model": "m"}


@pytest.mark.parametrize(
    "body",
    [
        b'--b; name="model"\r\n\r\nsmall\r\n--b--\r\n',
        b'--b-b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmall\r\n--b--\r\n',
    ],
)
def test_what_only_looks_like_the_boundary_is_a_preamble(body: bytes) -> None:
    assert form.parse(body, "multipart/form-data; boundary=b").texts == {}


@pytest.mark.parametrize(
    "body",
    [
        b'x--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmall\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n--b--\r\n',
    ],
)
def test_a_boundary_begins_a_line(body: bytes) -> None:
    with pytest.raises(InvalidForm):
        form.parse(body, "multipart/form-data; boundary=b")


def test_a_value_may_hold_what_looks_like_the_boundary() -> None:
    value = "small\r\n--bX\r\n--b-\r\n --b\r\n"
    body = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{value}\r\n--b--\r\n'.encode()
    assert form.parse(body, "multipart/form-data; boundary=b").texts == {"model": value}
