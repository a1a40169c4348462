"""Tells reasoning from answer where a model writes both into one text, as `<think>…</think>` before the answer."""

from collections.abc import Iterator

from headgate.core.chat import Text, Thought

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Fed with pieces of text however they were cut. Only a tag that opens the answer counts; later ones are text."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def passes(self, piece: str) -> bool:
        """Whether a piece that is not empty is text as it is. Then it need not be fed."""
        if self._state == "start" and not self._held and piece[:1] != "<" and piece[:1].strip():
            self._state = "answer"
        return self._state == "answer"

    def feed(self, piece: str) -> Iterator[Text | Thought]:
        if self._state == "answer":
            yield Text(piece)
            return
        self._held += piece
        if self._state == "start":
            yield from self._begin()
        if self._state == "thinking":
            yield from self._think()
        if self._state == "thought" and (answer := self._held.lstrip()):
            yield from self._answer(answer)

    def end(self) -> Iterator[Text | Thought]:
        """What was held back because a tag might have followed."""
        held, self._held = self._held, ""
        if held and (self._state != "thought" or held.strip()):
            yield Thought(held) if self._state == "thinking" else Text(held)

    def _begin(self) -> Iterator[Text]:
        begun = self._held.lstrip()
        if begun.startswith(_OPEN):
            self._state, self._held = "thinking", begun[len(_OPEN) :]
        elif not _OPEN.startswith(begun):
            yield from self._answer(self._held)

    def _think(self) -> Iterator[Thought]:
        thought, closed, rest = self._held.partition(_CLOSE)
        if closed:
            self._state, self._held = "thought", rest
        else:
            safe = len(thought) - _overlap(thought, _CLOSE)
            thought, self._held = thought[:safe], thought[safe:]
        if thought:
            yield Thought(thought)

    def _answer(self, text: str) -> Iterator[Text]:
        self._state, self._held = "answer", ""
        yield Text(text)


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)
