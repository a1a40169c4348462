"""What is said in a run, heard in whatever form it passes, as the items that are kept of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from headgate.conversations.items import with_id
from headgate.core.chat import ChatEvent, Ended, Text
from headgate.core.events import Event, Opened, Whole
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.dialects.responses_writer import WholeWriter
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import Occasion, Reader


@dataclass(slots=True)
class Record:
    """Hears all that is told of one run."""

    run: Run
    request: ModelRequest
    reader: Reader = field(init=False)
    writer: WholeWriter = field(init=False)
    has_begun: bool = False
    has_ended: bool = False
    texts: list[str] = field(default_factory=list)
    """Pieces of a text that goes on, not written yet: one by one they would take as long as all together."""

    def __post_init__(self) -> None:
        run, dialect = self.run, self.request.surface.dialect
        self.reader = DIALECTS[dialect].reader(True)
        self.writer = WholeWriter(Occasion(run.id, run.model or "", 0, {}, usage=True, extensions=True))

    def hear(self, event: Event | ChatEvent) -> None:
        if isinstance(event, bytes):
            self._say(self.reader.feed(event))
        elif isinstance(event, Whole):
            self._say(self.reader.whole(event.body))
        elif not isinstance(event, Opened):
            self._say((event,))

    def _say(self, events: Iterable[Any]) -> None:
        for event in events:
            self.has_begun = True
            if type(event) is Text and not event.beside:
                self.texts.append(event.text)
                continue
            self.has_ended = self.has_ended or type(event) is Ended
            self._write()
            self.writer.feed(event)

    def _write(self) -> None:
        if self.texts:
            self.writer.feed(Text("".join(self.texts)))
            self.texts.clear()

    def output(self, *, whole: bool) -> list[dict[str, Any]]:
        """The items that were said, as they are kept; the last is marked if the answer is not whole."""
        self._say(self.reader.finish())
        if not self.has_begun:
            return []
        if not self.has_ended:
            self._say((Ended(self.reader.answer.finish, "", None),))
        self._write()
        items = [with_id(item) for item in self.writer.output]
        if items and not whole:
            items[-1]["status"] = "incomplete"
        return items
