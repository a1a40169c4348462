"""What is said in a run, heard in whatever form it passes, as the items that are kept of it."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from headgate.conversations.items import with_id
from headgate.core.chat import ChatEvent, Ended
from headgate.core.events import Event, Opened, Whole
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import Occasion, Reader, Writer


@dataclass(slots=True)
class Record:
    """Hears all that is told of one run."""

    run: Run
    request: ModelRequest
    reader: Reader = field(init=False)
    writer: Writer = field(init=False)
    has_begun: bool = False
    has_ended: bool = False

    def __post_init__(self) -> None:
        run, dialect = self.run, self.request.surface.dialect
        self.reader = DIALECTS[dialect].reader(True)
        occasion = Occasion(run.id, run.model or "", 0, {}, usage=True, extensions=True)
        self.writer = DIALECTS["responses"].whole(occasion)

    def hear(self, event: Event | ChatEvent) -> None:
        if isinstance(event, bytes):
            self._say(self.reader.feed(event))
        elif isinstance(event, Whole):
            self._say(self.reader.whole(event.body))
        elif not isinstance(event, Opened):
            self._say((event,))

    def _say(self, events: Any) -> None:
        for event in events:
            self.has_begun = True
            self.has_ended = self.has_ended or type(event) is Ended
            self.writer.feed(event)

    def output(self, *, whole: bool) -> list[dict[str, Any]]:
        """The items that were said, as they are kept; the last is marked if the answer is not whole."""
        self._say(self.reader.finish())
        if not self.has_begun:
            return []
        if not self.has_ended:
            self._say((Ended(self.reader.answer.finish, "", None),))
        items = [with_id(item) for item in orjson.loads(self.writer.end())["output"]]
        if items and not whole:
            items[-1]["status"] = "incomplete"
        return items
