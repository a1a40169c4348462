"""Compaction of a conversation, as `POST /responses/compact` has it: the model sums it up, and the summary stands for
it from then on.

Nothing is stored: the caller sends the item back as the beginning of what goes on. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from headgate.core.chat import ChatEvent, Ended, Text
from headgate.core.chat_request import ChatRequest, Choice, Message, TextPart
from headgate.core.errors import UpstreamGarbled
from headgate.core.tokens import Tokens
from headgate.dialects import responses_request
from headgate.dialects.responses_items import COMPACTED
from headgate.dialects.responses_resource import response_id, usage_of
from headgate.dialects.responses_writer import broken
from headgate.dialects.types import Occasion

_TASK = """\
The conversation above becomes too long. Write a summary of it from which it can be continued by somebody who sees \
nothing else. Keep what was asked and decided, facts, names, numbers, code and paths that may still matter, what tools \
gave back as far as it is still needed, and what remains to be done. Answer with the summary alone."""


def parse(fields: Mapping[str, Any]) -> ChatRequest:
    """A chat at whose end the model is asked to sum it up, without calling any tool."""
    request = responses_request.parse(fields)
    task = Message("user", (TextPart(_TASK),))
    choice = Choice("none") if request.tools else None
    return replace(request, items=(*request.items, task), choice=choice, stream=False)


class SummaryWriter:
    """The summary as a compaction."""

    def __init__(self, occasion: Occasion) -> None:
        self._id = response_id(occasion.run_id)
        self._created = occasion.created
        self._pieces: list[str] = []
        self._tokens = Tokens()

    def feed(self, event: ChatEvent) -> bytes:
        if isinstance(event, Text):
            self._pieces.append(event.text)
        elif isinstance(event, Ended) and event.tokens is not None:
            self._tokens = event.tokens
        return b""

    def end(self) -> bytes:
        """Raises UpstreamGarbled where there is no summary, for it would stand for all that was said."""
        summary = "".join(self._pieces).strip()
        if not summary:
            raise UpstreamGarbled("The model wrote no summary.")
        item = {
            "id": f"cmp_{self._id.removeprefix('resp_')}",
            "type": "compaction",
            "encrypted_content": COMPACTED + summary,
            "created_by": "headgate",
        }
        told = {"id": self._id, "object": "response.compaction", "created_at": self._created, "output": [item]}
        return orjson.dumps({**told, "usage": usage_of(self._tokens)})

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)
