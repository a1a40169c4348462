"""A provider that both chats as it is told to and embeds, so that neither takes the other's answers."""

from collections import deque
from typing import Any

from tests.harness.embeddings import Embedder
from tests.harness.stub import Answer, Recorded, Stub, usual


class Knowing:
    """Stands in for what a stub does otherwise."""

    def __init__(self, stub: Stub) -> None:
        self.embedder = Embedder()
        self.embeds = True
        self.chats: list[Any] = []
        self._answers: deque[Answer] = deque()
        stub.otherwise = self._answer

    def answer(self, *answers: Answer) -> None:
        """To the next chats, in this order."""
        self._answers.extend(answers)

    @property
    def told(self) -> str:
        """The content of the last message that the model was sent."""
        content: str = self.chats[-1]["messages"][-1]["content"]
        return content

    def _answer(self, request: Recorded) -> Answer:
        if request.path.endswith("/embeddings"):
            return self.embedder.answer(request) if self.embeds else Answer(500)
        if request.method == "POST":
            self.chats.append(request.json)
            if self._answers:
                return self._answers.popleft()
        return usual(request)
