"""Texts cut into pieces where their own structure allows it: at headings, paragraphs, sentences, words. Pure.

Without the extra `knowledge` the cuts fall at blanks, which is enough to find words.
"""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec

from headgate.knowledge.types import Span

_SPLITTER = "semantic_text_splitter"
_SOLID = re.compile(r"\S")
_SECTION = 1 << 15
"""Characters that are looked at together: the time it takes grows with their square where a paragraph is that long."""
_BORDERS = ("\n#", "\n\n", "\n", " ")


def split(text: str, *, size: int, overlap: int, markdown: bool) -> list[Span]:
    """Pieces of at most `size` characters, in order, that hold all of the text but blanks between them.

    Each repeats at most `overlap` characters of the one before it; that is less than `size`.
    """
    overlap = min(overlap, size - 1)
    if find_spec(_SPLITTER) is None:
        return _rising(_at_blanks(text, size, overlap))
    splitter = import_module(_SPLITTER)  # large, and needed only now
    kind = splitter.MarkdownSplitter if markdown else splitter.TextSplitter
    cut = kind(size, overlap=overlap)
    sections = _sections(text, max(_SECTION, 4 * size), overlap)
    return _rising((start + at, piece) for start, section in sections for at, piece in cut.chunk_indices(section))


def _sections(text: str, longest: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Parts that are split on their own, each begun so much earlier as pieces overlap."""
    start = 0
    while len(text) - start > longest:
        end = _border(text, start + longest // 2, start + longest)
        yield start, text[start:end]
        start = end - overlap
    yield start, text[start:]


def _border(text: str, least: int, most: int) -> int:
    for mark in _BORDERS:
        if (found := text.rfind(mark, least, most)) != -1:
            return found + 1
    return most


def _rising(pieces: Iterable[tuple[int, str]]) -> list[Span]:
    """Without blank pieces, and those that a neighbour holds whole."""
    spans: list[Span] = []
    for start, text in pieces:
        span = Span(start, start + len(text), text)
        if not _SOLID.search(text) or (spans and span.end <= spans[-1].end):
            continue
        if spans and start <= spans[-1].start:
            spans.pop()
        spans.append(span)
    return spans


def _at_blanks(text: str, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    start = 0
    while first := _SOLID.search(text, start):
        start = first.start()
        end = start + size
        if end < len(text):
            blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = blank if blank - start > overlap else end
        yield start, text[start:end].rstrip()
        if end >= len(text):
            return
        start = end - overlap
