"""The program that reads one file and tells its text: an order and the file on standard input, JSON on standard output.

It reads what strangers made, so it gives up its rights first: before it looks at the file it can open neither files nor
sockets, start nothing, and use no more memory and time than it was given.
"""

import codecs
import contextlib
import html
import json
import math
import re
import sys
from typing import Any

import kreuzberg

_MEMORY = 2 << 30
_HTML = ("text/html", "application/xhtml+xml")
_PDF = "application/pdf"
_TITLE = re.compile(r"<title\b[^>]*>(.*?)</title\s*>", re.IGNORECASE | re.DOTALL)
_SAID_OF_IT = re.compile(r"<(?:meta|link|base)\b[^>]*>", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset=["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_LONGEST_ERROR = 300
_CONFIG = kreuzberg.ExtractionConfig(
    use_cache=False,  # it would be a folder in the working directory
    enable_quality_processing=False,
    output_format="markdown",
    postprocessor=kreuzberg.PostProcessorConfig(enabled=False),
)
_EMPTY_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
)


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    warm_up(order["kind"], data)
    give_up_rights(order["seconds"])
    sys.stdout.write(json.dumps(answer(data, order["kind"], order["characters"])))
    sys.stdout.flush()


def warm_up(kind: str, data: bytes) -> None:
    """What the libraries open for themselves, they open now: an encoding, too, lies in a file."""
    named = _CHARSET.search(data, 0, 4096)
    for encoding in ("utf-8-sig", named[1].decode() if named else "utf-8"):
        with contextlib.suppress(LookupError):
            codecs.lookup(encoding)
    if kind == _PDF:
        kreuzberg.extract_bytes_sync(_EMPTY_PDF, _PDF, _CONFIG)
    else:
        kreuzberg.extract_bytes_sync(b"<p>a</p>", _HTML[0], _CONFIG)


def give_up_rights(seconds: float) -> None:
    """For good; where the system has no such bounds, the parent's deadline remains."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not there on every system

    bounds = {
        resource.RLIMIT_CPU: math.ceil(seconds) + 1,
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,
    }
    for name, most in bounds.items():
        resource.setrlimit(name, (most, most))


def answer(data: bytes, kind: str, characters: int) -> dict[str, Any]:
    """The text and the title, or what is wrong."""
    title = ""
    if kind in _HTML:
        data, title = _without_head(data)
    try:
        found = kreuzberg.extract_bytes_sync(data, kind, _CONFIG)
    except (kreuzberg.KreuzbergError, ValueError, RuntimeError, OSError) as error:
        return {"error": " ".join(str(error).split())[:_LONGEST_ERROR]}
    if len(found.content) > characters:
        return {"length": len(found.content)}
    title = title or str(found.metadata.get("title") or "")
    return {"text": found.content.replace("\0", ""), "title": " ".join(title.replace("\0", "").split())[:500]}


def _without_head(data: bytes) -> tuple[bytes, str]:
    """The page without what it says of itself, which the library would put into the text; and its title."""
    named = _CHARSET.search(data, 0, 4096)
    try:
        text = data.decode(named[1].decode() if named else "utf-8-sig", "replace")
    except LookupError:
        text = data.decode("utf-8-sig", "replace")
    title = _TITLE.search(text)
    text = _SAID_OF_IT.sub("", _TITLE.sub("", text, count=1))
    return text.encode("utf-8", "replace"), html.unescape(title[1]) if title else ""


if __name__ == "__main__":
    main()
