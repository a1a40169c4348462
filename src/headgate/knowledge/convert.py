"""Files as text: plain ones decoded here, the rest by a child process that is bounded and knows nothing of us.

What a file holds is never run or followed; nothing is fetched. Headings and tables come out as Markdown.
"""

import asyncio
import codecs
import contextlib
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import NamedTuple

from headgate.core.document_errors import DocumentTooLong, DocumentUnreadable

_OFFICE = "application/vnd.openxmlformats-officedocument"
_KINDS = {
    ".pdf": "application/pdf",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".epub": "application/epub+zip",
    ".rtf": "application/rtf",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".eml": "message/rfc822",
}
_MARKDOWN = frozenset((".md", ".markdown"))
_MARKDOWN_TYPES = frozenset(("text/markdown", "text/x-markdown"))
_BEGINNINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LONGEST_NAME = 200


class Converted(NamedTuple):
    """`title` is what the document calls itself, or else the file's name; `markdown`: the text is Markdown."""

    text: str
    title: str
    markdown: bool


class Converter:
    """`seconds` and `characters` bound one file, `at_once` the processes that work side by side."""

    def __init__(self, *, seconds: float = 30.0, characters: int = 10_000_000, at_once: int = 2) -> None:
        self._seconds = seconds
        self._characters = characters
        self._places = asyncio.Semaphore(at_once)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def convert(self, data: bytes, name: str, content_type: str = "") -> Converted:
        """Raises DocumentUnreadable, DocumentTooLong."""
        name = PurePosixPath(name.replace("\\", "/")).name[:_LONGEST_NAME] or "file"
        ending = PurePosixPath(name).suffix.lower()
        told = content_type.partition(";")[0].strip().lower()
        kind = _kind(data, ending, told)
        if kind:
            text, title = await self._read_apart(data, name, kind)
        else:
            text, title = decoded(data, name), ""
        if len(text) > self._characters:
            raise DocumentTooLong(f"'{name}' has {len(text)} characters; a document has at most {self._characters}.")
        if not text.strip():
            raise DocumentUnreadable(f"'{name}' holds no text; pictures of text are not read.", param="file")
        return Converted(text, title or name, bool(kind) or ending in _MARKDOWN or told in _MARKDOWN_TYPES)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _read_apart(self, data: bytes, name: str, kind: str) -> tuple[str, str]:
        if find_spec("kreuzberg") is None:
            message = f"'{name}' can only be read with the extra `knowledge`: pip install 'headgate[knowledge]'."
            raise DocumentUnreadable(message, param="file")
        order = {"kind": kind, "characters": self._characters, "seconds": self._seconds}
        async with self._places:
            status, answer = await self._run(json.dumps(order).encode() + b"\n" + data, name)
        try:
            told = json.loads(answer)
        except ValueError:
            raise DocumentUnreadable(f"Reading '{name}' ended with status {status}.", param="file") from None
        if "length" in told:
            message = f"'{name}' has {told['length']} characters; a document has at most {self._characters}."
            raise DocumentTooLong(message, param="file")
        if "error" in told:
            raise DocumentUnreadable(f"'{name}' could not be read: {told['error']}", param="file")
        return told["text"], told["title"]

    async def _run(self, given: bytes, name: str) -> tuple[int | None, bytes]:
        """Status and answer of the child, which is ended when its time is over or nobody waits any more."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="headgate-", ignore_cleanup_errors=True)
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "headgate.knowledge.convert_child"),
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            env=None if sys.platform == "win32" else {"TMPDIR": self._folder.name},  # no keys of ours
        )
        try:
            async with asyncio.timeout(self._seconds):
                answer, _ = await child.communicate(given)
        except TimeoutError:
            raise DocumentUnreadable(f"'{name}' was not read within {self._seconds:g} seconds.", param="file") from None
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        return child.returncode, answer


def decoded(data: bytes, name: str) -> str:
    """Plain text in UTF-8, or in UTF-16 with its mark; raises DocumentUnreadable."""
    encoding = next((known for mark, known in _BEGINNINGS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        kinds = ", ".join(sorted(_KINDS))
        message = f"'{name}' is neither text in UTF-8 nor of a kind that is read ({kinds})."
        raise DocumentUnreadable(message, param="file")
    return text


def _kind(data: bytes, ending: str, told: str) -> str:
    """What the child is to read it as; empty for plain text."""
    if data.startswith(b"%PDF-"):
        return _KINDS[".pdf"]
    return _KINDS.get(ending) or (told if told in _KINDS.values() else "")
