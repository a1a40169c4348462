"""A run on a stored conversation: what is kept is told to the model, and what is said is kept.

The turn is kept before the caller gets the end of the answer, so that whoever saw a whole answer finds it again. Of an
answer that was broken off, what was said is kept and marked as incomplete. A turn of which nothing was said leaves
nothing behind: the caller may ask again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from headgate.conversations.items import kept_of, news, told_of, with_id
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, New, Owner
from headgate.core.chat import ChatEvent, Ended
from headgate.core.chat_request import ChatRequest, Item
from headgate.core.errors import InvalidHeader
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Continues, Run
from headgate.core.state_errors import ConversationBusy, ConversationMoved, StateUnavailable
from headgate.core.surfaces import CHAT
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import Occasion, Reader, Writer
from headgate.pipeline.answering import catch_up, concerns_actions
from headgate.pipeline.context import Deps

LEASE_SECONDS = 60.0
_RENEWED_AFTER = LEASE_SECONDS / 3
_TRIES = 5
_MARKS = {"chat": b"[DONE]", "messages": b"message_stop", "responses": b'"response.'}
"""What stands in the last piece of a stream, and perhaps in others: those are held back until the next one comes."""
Story = AsyncGenerator[Event | ChatEvent]
Tell = Callable[[ModelRequest, Run, Deps], Story]


async def remembered(tell: Tell, request: ModelRequest, run: Run, deps: Deps) -> Story:
    """The events of the run, as `tell` tells them of a call with the whole conversation.

    Raises ConversationNotFound, ConversationBusy, StateUnavailable.
    """
    if deps.state is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    if request.surface.dialect != CHAT.dialect:
        message = "A stored conversation goes on by chat completions: leave out X-Conversation-ID here."
        raise InvalidHeader(message, param="x-conversation-id")
    turn = await Turn.begin(request, run, deps.state, deps)
    try:
        async with aclosing(turn.follow(tell, request, run, deps)) as story:
            async for event in story:
                yield event
    finally:
        await asyncio.shield(turn.leave())


@dataclass(slots=True)
class Turn:
    """One turn of a conversation, whose lease it holds."""

    state: State
    head: Conversation
    history: tuple[Item, ...]
    added: list[dict[str, Any]]
    holder: str
    record: "Record"
    is_kept: bool = False
    renewing: "asyncio.Task[None] | None" = None

    @classmethod
    async def begin(cls, request: ModelRequest, run: Run, state: State, deps: Deps) -> "Turn":
        """Hold the conversation and read what is told of it."""
        owner = Owner(run.who.tenant, run.who.user)
        asked = run.continues or Continues()
        if asked.conversation:
            head = await state.heads.get(asked.conversation, owner)
        else:
            head = await state.heads.create(owner, agent=asked.agent, model=request.model)
        run.conversation = head.id
        await state.runs.hold(head, run.id, LEASE_SECONDS)
        try:
            head = await state.heads.get(head.id, owner)
            stored = await state.heads.told(head)
            if concerns_actions(request, stored):
                request, head = await catch_up(request, head, run, deps)
                stored = await state.heads.told(head)
            history = told_of([item.data for item in stored])
            chat = DIALECTS[CHAT.dialect].parse(request.fields)
            added = kept_of(news(chat.items, history))
        except BaseException:
            await asyncio.shield(state.runs.release(head, run.id))
            raise
        turn = cls(state, head, history, added, run.id, Record(run, request))
        turn.renewing = asyncio.get_running_loop().create_task(turn.keep_holding())
        return turn

    def request(self, request: ModelRequest) -> ModelRequest:
        """The call with the whole conversation. Messages come first, so that each turn's call begins like the last."""
        items = (*self.history, *told_of(self.added))
        rendered = DIALECTS[CHAT.dialect].render(ChatRequest(CHAT.dialect, request.model, items)).fields
        fields = {"model": request.model, "messages": rendered["messages"]}
        others = {name: value for name, value in request.fields.items() if name not in fields}
        made = json_request(CHAT, {**fields, **others})
        return replace(made, wants_usage=request.wants_usage)

    async def follow(self, tell: Tell, request: ModelRequest, run: Run, deps: Deps) -> Story:
        """The story itself, kept before its end is told."""
        held: bytes = b""
        async with aclosing(tell(self.request(request), run, deps)) as story:
            async for event in story:
                if held:
                    yield held
                    held = b""
                self.record.hear(event)
                if isinstance(event, Opened):
                    yield event._replace(pour=_not_pushed)
                elif isinstance(event, bytes) and self.record.mark in event:
                    held = event
                elif isinstance(event, Whole | Ended):
                    await self.keep()
                    yield event
                else:
                    yield event
        if held:
            await self.keep()
            yield held

    async def keep(self, *, whole: bool = True) -> None:
        """Add the turn to the conversation; where somebody else added to it meanwhile, behind that."""
        self.is_kept = True
        output = self.record.output(whole=whole)
        if not output and not whole:
            return
        said = [New(fields, self.holder) for fields in (*self.added, *output)]
        for _ in range(_TRIES):
            try:
                self.head, _ = await self.state.heads.append(self.head, said)
            except ConversationMoved:
                self.head = await self.state.heads.get(self.head.id, self.head.owner)
            else:
                return
        raise ConversationBusy(f"The conversation {self.head.id} does not come to rest.")

    async def keep_holding(self) -> None:
        """Prolong the lease for as long as the turn takes."""
        while True:
            await asyncio.sleep(_RENEWED_AFTER)
            await self.state.runs.hold(self.head, self.holder, LEASE_SECONDS)

    async def leave(self) -> None:
        """Keep what was said of an answer that was broken off, and let others go on."""
        if self.renewing is not None:
            self.renewing.cancel()
        try:
            if not self.is_kept:
                await self.keep(whole=False)
        finally:
            await self.state.runs.release(self.head, self.holder)


async def _not_pushed(_sink: Sink, _room: Room) -> None:
    """All pieces have to come by here."""


@dataclass(slots=True)
class Record:
    """What is said in a run, heard in whatever form it passes."""

    run: Run
    request: ModelRequest
    reader: Reader = field(init=False)
    writer: Writer = field(init=False)
    mark: bytes = field(init=False)
    has_begun: bool = False
    has_ended: bool = False

    def __post_init__(self) -> None:
        run, dialect = self.run, self.request.surface.dialect
        self.mark = _MARKS[dialect]
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
