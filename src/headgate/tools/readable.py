"""A page of HTML as Markdown or text, for a model to read. Linear in the page, however hostile.

Our own because the standard parser, on which the common converters stand, takes quadratic time for pages such as a
million `<!--`, and a parser in C could take the process down. It reads words, links, lists and headings, not layout.
"""

import html
import re
from collections.abc import Iterator
from itertools import islice
from urllib.parse import urljoin

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})((?:[^<>\"']|\"[^\"<]{0,8192}\"|'[^'<]{0,8192}'){0,2000}+)>")
_ATTRIBUTE = re.compile(r"([a-zA-Z][\w:-]{0,40})\s{0,20}=\s{0,20}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_SILENT = frozenset(
    (
        *("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "head", "select", "textarea"),
        "canvas",
    )
)
_BLOCKS = frozenset(
    (
        *("p", "div", "section", "article", "main", "header", "footer", "nav", "aside", "ul", "ol", "dl", "dt", "dd"),
        *("table", "tr", "blockquote", "figure", "figcaption", "form", "fieldset", "address", "hr", "br", "pre"),
        *("details", "summary"),
    )
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_RAW = frozenset(("script", "style", "textarea", "title"))
"""Within these, only their own end tag counts."""
_MOST_PIECES = 200_000
"""Tags and texts; what follows is left out. Few pages have a tenth of it."""
_LONG_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{9,};?")
"""More digits than any character has; Python refuses to read them."""
_SPACE = re.compile(r"[ \t\r\f\v\n\u00a0]+")
_INLINE = {"b": "**", "strong": "**", "i": "*", "em": "*", "code": "`"}


def title_of(page: str) -> str:
    found = re.search(r"<title[^<>]{0,200}>([^<]{0,500})", page, re.IGNORECASE)
    return _SPACE.sub(" ", _unescaped(found[1])).strip() if found else ""


def readable(page: str, base: str, *, markdown: bool) -> str:
    """The words of a page; as Markdown with headings, lists, emphasis and links, which are made absolute."""
    writer = _Writer(base, markdown)
    for kind, text, attributes in islice(_pieces(page), _MOST_PIECES):
        if kind == "text":
            writer.words(text)
        elif kind == "open":
            writer.opened(text, attributes)
        else:
            writer.closed(text)
    return writer.text()


def _pieces(page: str) -> Iterator[tuple[str, str, str]]:
    """("text", words, ""), ("open", tag, attributes) or ("close", tag, "")."""
    at, size = 0, len(page)
    while at < size:
        start = page.find("<", at)
        if start < 0:
            yield "text", page[at:], ""
            return
        if start > at:
            yield "text", page[at:start], ""
        if page.startswith("<!--", start):
            end = page.find("-->", start + 4)
            at = end + 3 if end >= 0 else size
            continue
        if page.startswith(("<!", "<?"), start):
            end = page.find(">", start)
            at = end + 1 if end >= 0 else size
            continue
        found = _TAG.match(page, start)
        if found is None:
            yield "text", "<", ""
            at = start + 1
            continue
        name = found[2].lower()
        at = found.end()
        if found[1]:
            yield "close", name, ""
            continue
        yield "open", name, found[3]
        if name in _RAW:
            at = _end_of(name, page, at)
            yield "close", name, ""


def _end_of(name: str, page: str, at: int) -> int:
    """Behind the end tag; the end of the page if there is none."""
    found = re.compile(rf"</{name}[^<>]{{0,200}}>", re.IGNORECASE).search(page, at)
    return found.end() if found else len(page)


class _Writer:
    """Puts pieces together. Blocks stand on lines of their own."""

    def __init__(self, base: str, markdown: bool) -> None:
        self._base = base
        self._markdown = markdown
        self._parts: list[str] = []
        self._silent = 0
        self._silent_in = ""
        self._pre = 0
        self._lists: list[int] = []
        self._links: list[str] = []

    def words(self, text: str) -> None:
        if self._silent:
            return
        text = _unescaped(text)
        self._parts.append(text if self._pre else _SPACE.sub(" ", text))

    def opened(self, name: str, attributes: str) -> None:
        if self._silent:
            self._silent += name == self._silent_in
            return
        if name in _SILENT:
            self._silent, self._silent_in = 1, name
        elif name in _HEADINGS:
            self._parts.append("\n\n" + (_HEADINGS[name] if self._markdown else ""))
        elif name == "li":
            self._item()
        elif name in _BLOCKS:
            self._block(name)
        elif name in ("td", "th"):
            self._parts.append(" | ")
        elif name == "a" and self._markdown:
            self._links.append(self._address(attributes, "href"))
            self._parts.append("[" if self._links[-1] else "")
        elif name == "img" and self._markdown:
            self._parts.append(f"![{_attribute(attributes, 'alt')}]" if _attribute(attributes, "alt") else "")
        elif name in _INLINE and self._markdown and not self._pre:
            self._parts.append(_INLINE[name])

    def _item(self) -> None:
        depth = max(0, min(len(self._lists), 8) - 1)
        mark = "- "
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            mark = f"{self._lists[-1]}. "
        self._parts.append("\n" + "  " * depth + mark)

    def _block(self, name: str) -> None:
        if name in ("ul", "ol"):
            self._lists.append(0 if name == "ol" else -1)
        if name == "pre":
            self._pre += 1
            self._parts.append("\n\n```\n" if self._markdown else "\n\n")
        elif name in ("br", "tr", "dd", "dt"):
            self._parts.append("\n")
        else:
            self._parts.append("\n\n> " if name == "blockquote" and self._markdown else "\n\n")

    def closed(self, name: str) -> None:
        if self._silent:
            self._silent -= name == self._silent_in
            return
        if name in _HEADINGS:
            self._parts.append("\n\n")
        elif name in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._parts.append("\n\n")
        elif name == "pre" and self._pre:
            self._pre -= 1
            self._parts.append("\n```\n\n" if self._markdown else "\n\n")
        elif name in _BLOCKS and name not in ("br", "hr", "tr"):
            self._parts.append("\n\n")
        elif name == "a" and self._links:
            address = self._links.pop()
            self._parts.append(f"]({address})" if address else "")
        elif name in _INLINE and self._markdown and not self._pre:
            self._parts.append(_INLINE[name])

    def _address(self, attributes: str, name: str) -> str:
        """An absolute http address, or nothing."""
        found = _attribute(attributes, name)
        if not found or len(found) > 2000 or found.startswith("#"):
            return ""
        try:
            address = urljoin(self._base, found)
        except ValueError:
            return ""
        return address.replace(")", "%29").replace(" ", "%20") if address.startswith(("http://", "https://")) else ""

    def text(self) -> str:
        lines = "".join(self._parts).split("\n")
        text = "\n".join(line.rstrip() if line.startswith("  ") else line.strip() for line in lines)
        return re.sub(r"\n{3,}", "\n\n", text).strip()


def _attribute(attributes: str, name: str) -> str:
    for found in _ATTRIBUTE.finditer(attributes):
        if found[1].lower() == name:
            return _unescaped(found[2] or found[3] or found[4] or "").strip()
    return ""


def _unescaped(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text)) if "&" in text else text
