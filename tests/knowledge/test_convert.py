"""Files as text: every kind that is read, and what becomes of those that are broken or mean harm."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headgate.core.document_errors import DocumentTooLong, DocumentUnreadable
from headgate.knowledge import convert
from headgate.knowledge.convert import Converter
from tests.knowledge import files
from tests.requirements import covers

pytestmark = covers("93")


@pytest.fixture
async def converter() -> AsyncIterator[Converter]:
    made = Converter(seconds=20)
    yield made
    made.close()


@pytest.mark.parametrize("name", files.KINDS)
async def test_a_file_of_each_kind_gives_its_text(converter: Converter, name: str) -> None:
    found = await converter.convert(files.KINDS[name], name)
    assert files.WORDS in found.text
    called = files.TITLE if name.endswith((".pdf", ".html", ".epub")) else found.title
    assert found.title == called
    assert found.markdown is not name.endswith((".txt", ".json", ".csv", "unnamed"))


async def test_a_page_keeps_its_headings_and_neither_its_scripts_nor_its_head(converter: Converter) -> None:
    found = await converter.convert(files.html("Grüße", "iso-8859-1"), "no-ending", "text/html; charset=iso-8859-1")
    assert "## Night" in found.text
    assert "Grüße" in found.text
    assert files.TITLE not in found.text
    assert "secret" not in found.text


@pytest.mark.parametrize("charset", ["", "windows-1252", "shift_jis", "rot13", "no-such-thing"])
async def test_a_page_in_any_encoding_is_read_without_opening_a_file(converter: Converter, charset: str) -> None:
    said = f'<meta charset="{charset}">' if charset else ""
    page = f"<html><head>{said}</head><body><p>A train runs on rails.</p></body></html>".encode()
    assert "A train runs on rails." in (await converter.convert(page, "t.html", "text/html")).text


async def test_text_in_utf_16_and_with_marks_is_read(converter: Converter) -> None:
    for data in ("é text".encode("utf-16"), b"\xef\xbb\xbf" + "é text".encode()):
        assert (await converter.convert(data, "a.txt")).text == "é text"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("broken.pdf", b"%PDF-1.7\nthis is none"),
        ("broken.docx", files.docx()[:200]),
        ("empty.docx", files.docx("")),
        ("blank.txt", b" \n\t"),
        ("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0"),
        ("old.txt", "Grüße".encode("latin-1")),
        ("archive.zip", files.packed(a="b")),
    ],
)
async def test_what_gives_no_text_is_told_by_name(converter: Converter, name: str, data: bytes) -> None:
    with pytest.raises(DocumentUnreadable) as refused:
        await converter.convert(data, f"C:\\folder/{name}")
    assert f"'{name}'" in refused.value.message
    assert "folder" not in refused.value.message
    assert (refused.value.status, refused.value.param) == (400, "file")


async def test_what_is_too_long_is_told_with_the_bound() -> None:
    converter = Converter(characters=20)
    for name in ("log.txt", "log.html"):
        with pytest.raises(DocumentTooLong, match="at most 20") as refused:
            await converter.convert(files.KINDS[name], name)
        assert refused.value.status == 413
    converter.close()


async def test_a_document_that_unpacks_to_a_mountain_is_refused(converter: Converter) -> None:
    with pytest.raises(DocumentUnreadable, match=r"bomb\.docx"):
        await converter.convert(files.bomb(), "bomb.docx")


def children() -> set[int]:
    me = Path("/proc/self/task")
    return {int(one) for task in me.iterdir() for one in (task / "children").read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
async def test_a_file_that_takes_too_long_is_given_up_with_its_process() -> None:
    before = children()
    converter = Converter(seconds=0.01)
    with pytest.raises(DocumentUnreadable, match=r"not read within 0\.01 seconds"):
        await converter.convert(files.pdf(), "slow.pdf")
    assert children() == before
    converter.close()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
async def test_whoever_leaves_takes_the_process_along(
    converter: Converter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 50\n")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    before = children()
    call = asyncio.get_running_loop().create_task(converter.convert(files.pdf(), "left.pdf"))
    async with asyncio.timeout(10):
        while children() == before:
            await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(10):
        while children() != before:
            await asyncio.sleep(0.001)


@pytest.mark.skipif(sys.platform == "win32", reason="bounds of processes")
@pytest.mark.parametrize("deed", ["open('/etc/hostname')", "socket.socket()", "open('x', 'w')"])
def test_whatever_reads_a_file_can_reach_nothing(deed: str) -> None:
    program = (
        "import os, socket\nfrom headgate.knowledge.convert_child import give_up_rights\n"
        f"give_up_rights(5)\ntry:\n {deed}\nexcept OSError as error:\n print('refused')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stdout == "refused\n"


async def test_whatever_reads_a_file_knows_none_of_our_variables(
    converter: Converter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-ours")
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/sh\ncat >/dev/null\nset | tr -d \'"\\n\\t\\\\\' | sed \'s/.*/{"text": "&", "title": ""}/\'\n'
    )
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    told = (await converter.convert(files.pdf(), "a.pdf")).text
    assert "TMPDIR" in told
    assert "sk-of-ours" not in told


async def test_a_missing_library_is_told_with_what_to_install(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "find_spec", lambda _: None)
    with pytest.raises(DocumentUnreadable, match=r"headgate\[knowledge\]"):
        await converter.convert(files.pdf(), "a.pdf")


async def test_a_process_that_dies_is_told(
    converter: Converter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\ncat >/dev/null\nkill -SEGV $$\n")
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(DocumentUnreadable, match=r"'a\.pdf' ended with status -11"):
        await converter.convert(files.pdf(), "a.pdf")
