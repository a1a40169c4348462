"""A run on a stored conversation: what is kept is told to the model, and what is said is kept.

The turn is kept before the caller gets the end of the answer, so that whoever saw a whole answer finds it again. Of an
answer that was broken off, what was said is kept and marked as incomplete. A turn of which nothing was said leaves
nothing behind: the caller may ask again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from headgate.conversations.compaction import weight
from headgate.conversations.items import is_hidden, kept_of, news, told_of, with_results
from headgate.conversations.types import Item as StoredItem
from headgate.conversations.types import Status, StoredEvent
from headgate.core.chat import ChatEvent, Ended
from headgate.core.chat_request import ChatRequest, Item
from headgate.core.errors import HeadgateError, InvalidHeader
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Continues, Run
from headgate.core.state_errors import StateUnavailable
from headgate.core.surfaces import CHAT, MESSAGES
from headgate.dialects.table import DIALECTS
from headgate.pipeline.answering import answers_in
from headgate.pipeline.claim import LEASE_SECONDS, Claim
from headgate.pipeline.compact import is_compacted
from headgate.pipeline.context import Deps
from headgate.pipeline.numbered import Numbered
from headgate.pipeline.record import Record

__all__ = ["LEASE_SECONDS", "Story", "Tell", "Turn", "remembered"]
log = logging.getLogger(__name__)
_SENT = 200
_DIALECTS = frozenset(("chat", "messages"))
Story = AsyncGenerator[Event | ChatEvent]
Tell = Callable[[ModelRequest, Run, Deps], Story]


async def remembered(tell: Tell, request: ModelRequest, run: Run, deps: Deps) -> Story:
    """The events of the run, as `tell` tells them of a call with the whole conversation.

    Raises ConversationNotFound, ConversationBusy, StateUnavailable.
    """
    if deps.state is None or deps.scribe is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    if request.surface.dialect not in _DIALECTS:
        message = "A stored conversation goes on by a chat with a model: leave out X-Conversation-ID here."
        raise InvalidHeader(message, param="x-conversation-id")
    turn = await Turn.begin(request, run, deps)
    try:
        async with aclosing(turn.follow(tell, request, run)) as story:
            async for event in story:
                yield event
    finally:
        if turn.is_done:
            turn.claim.compact_after()
        else:
            await asyncio.shield(turn.leave())


@dataclass(slots=True)
class Turn:
    """One turn of a conversation. `means` are those of a run on it."""

    claim: Claim
    history: tuple[Item, ...]
    added: list[dict[str, Any]]
    record: Record
    stream: Numbered
    means: Deps
    said: list[dict[str, Any]] = field(default_factory=list)
    """The answer's items, once it was tried to keep them."""
    is_kept: bool = False
    """That was tried."""
    is_over: bool = False
    """It is noted what became of the turn."""
    is_new: bool = False
    """The conversation began with this turn."""

    @property
    def is_done(self) -> bool:
        """Whether everything is kept and given back."""
        return self.is_over and not self.claim.is_held

    @classmethod
    async def begin(cls, request: ModelRequest, run: Run, deps: Deps) -> "Turn":
        """Hold the conversation and read what is told of it; compact it first if the call would overflow."""
        assert deps.state is not None
        assert deps.scribe is not None
        bare, _ = answers_in(request)
        chat = DIALECTS[request.surface.dialect].parse(bare.fields)
        asked = run.continues or Continues()
        claim, stream = Claim.of(run, deps), Numbered(run, deps.scribe)
        start = stream.start() if run.stream else None  # with the lease, for that is one transaction less
        if asked.conversation:
            await claim.take(asked.conversation, deps.second_turn, asked.agent, start)
        else:
            await claim.create(request.model, asked.agent, start)
        try:
            await claim.catch_up(request, deps)
            history = told_of([item.data for item in claim.told])
            known = await _as_known(chat.items, claim, history)
            added = kept_of(news(chat.items, known))
            new, before = sum(map(weight, added)), claim.head.segment
            means = await claim.make_room(request, new, deps)
            claim.weight += new
            if claim.head.segment != before:
                history = told_of([item.data for item in claim.told])
        except BaseException:
            await asyncio.shield(claim.release())
            raise
        added = with_results([item.data for item in claim.told], added)
        turn = cls(claim, history, added, Record(run, bare), stream, means)
        turn.is_new = not asked.conversation
        claim.renew()
        return turn

    def request(self, request: ModelRequest) -> ModelRequest:
        """The call with the whole conversation. Messages come first, so that each turn's call begins like the last."""
        items = (*self.history, *told_of(self.added))
        surface = MESSAGES if request.surface.dialect == MESSAGES.dialect else CHAT
        rendered = DIALECTS[surface.dialect].render(ChatRequest(surface.dialect, request.model, items)).fields
        told: dict[str, Any] = {name: rendered[name] for name in ("system", "messages") if name in rendered}
        fields = {"model": request.model, **told}
        others = {name: value for name, value in request.fields.items() if name not in fields}
        made = json_request(surface, {**fields, **others})
        return replace(made, wants_usage=request.wants_usage)

    async def follow(self, tell: Tell, request: ModelRequest, run: Run) -> Story:
        """The story itself, kept before its end is told; the events of a stream as bytes with an `id:` each."""
        try:
            async with aclosing(tell(self.request(request), run, self.means)) as story:
                async for event in story:
                    self.record.hear(event)
                    if isinstance(event, bytes):
                        yield await self.tell(event)
                    elif isinstance(event, Opened):
                        await self.open()
                        yield event._replace(pour=_not_pushed)
                    elif isinstance(event, Whole) or not run.stream:
                        if isinstance(event, Whole | Ended):
                            await self.keep("completed")
                        yield event
                    elif said := self.stream.say(event):
                        if await self.open():
                            yield Opened(self.stream.content_type, True, _not_pushed)
                        yield await self.tell(said)
        except HeadgateError as error:
            self.claim.note_overflow(error)
            await self.fail(error)
            raise

    async def open(self) -> bool:
        """Begin the stored run, before anything of it is told; False if it was begun before."""
        if self.claim.stored is not None:
            return False
        await self.claim.begin_run(self.stream.start())
        return True

    async def tell(self, piece: bytes) -> bytes:
        """A piece of the stream. The turn is kept before its last event is told."""
        said, last = self.stream.frames(piece)
        if last is not None:
            await self.keep("completed", last)
        return said

    async def keep(self, status: Status, last: StoredEvent | None = None) -> None:
        """Add the turn to the conversation, unless that was tried before; note what became of it; let others go on."""
        claim, is_first, self.is_kept = self.claim, not self.is_kept, True
        if is_first:
            self.said = self.record.output(whole=status == "completed")
        is_said = is_first and bool(self.said or status == "completed")
        events: list[StoredEvent] = []
        if claim.stored is not None:
            claim.end_run(status, self.stream.response(status, self.said))
            events = await self.stream.events(last)
        if not is_said and claim.stored is None:
            await claim.release()
        else:
            await claim.keep(self.added if is_said else (), self.said if is_said else (), claim.run.id, events)
        self.is_over = True
        if claim.stored is not None:
            self.stream.wake()

    async def fail(self, error: HeadgateError) -> None:
        """Keep what tells that the stream broke off, and what was said until then."""
        if self.claim.stored is None or self.is_over:
            return
        self.stream.break_off(error)
        try:
            await self.keep("failed")
        except HeadgateError as fault:
            log.warning("the end of run %s could not be kept: %s", self.stream.id, fault.message)

    async def leave(self) -> None:
        """Keep what was said of an answer that was broken off or left, and let others go on."""
        claim = self.claim
        try:
            if not self.is_over and not self.is_kept:
                await self.keep("cancelled")
        finally:
            await claim.release()
        if self.is_new and not claim.head.depth and claim.run.status != _SENT:  # its caller was not told of it either
            claim.run.conversation = ""
            await claim.state.heads.delete(claim.head)
        elif self.is_kept:
            claim.compact_after()


async def _as_known(said: Sequence[Item], claim: Claim, history: tuple[Item, ...]) -> tuple[Item, ...]:
    """What a caller may send along of the conversation: what is told of it, or all of it if that is more."""
    if len(said) < 2 or not any(is_hidden(one.data) for one in claim.told):
        return history
    whole: Sequence[StoredItem] = claim.told
    if is_compacted(claim.told):
        whole = []
        while page := await claim.state.heads.items(claim.head, whole[-1].position if whole else 0):
            whole = [*whole, *page]
    everything = [one.data for one in whole if one.data.get("type") != "compaction"]
    known = (history, told_of(everything), told_of(one for one in everything if not is_hidden(one)))
    return min(known, key=lambda one: len(news(said, one)))


async def _not_pushed(_sink: Sink, _room: Room) -> None:
    """All pieces have to come by here."""
