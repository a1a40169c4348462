"""Texts cut into pieces."""

from headgate.knowledge.types import Span


def split(text: str, *, size: int, overlap: int, markdown: bool) -> list[Span]:
    """Pieces of at most `size` characters, in order, that hold all of the text but blanks between them."""
    step = size - overlap
    spans = (text[start : start + size] for start in range(0, max(1, len(text) - overlap), step))
    return [Span(n * step, n * step + len(one), one) for n, one in enumerate(spans) if one.strip()]
