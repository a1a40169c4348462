"""A run on a stored conversation: what is kept is told to the model, and what is said is kept.

The turn is kept before the caller gets the end of the answer, so that whoever saw a whole answer finds it again. Of an
answer that was broken off, what was said is kept and marked as incomplete. A turn of which nothing was said leaves
nothing behind: the caller may ask again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from headgate.conversations.compaction import weight
from headgate.conversations.items import kept_of, news, seen_of, told_of, with_id, with_results
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, New, Owner
from headgate.conversations.types import Item as StoredItem
from headgate.core.chat import ChatEvent, Ended
from headgate.core.chat_request import ChatRequest, Item
from headgate.core.errors import HeadgateError, InvalidHeader
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Continues, Run
from headgate.core.state_errors import ConversationBusy, ConversationMoved, ConversationNotFound, StateUnavailable
from headgate.core.surfaces import CHAT, MESSAGES
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import Occasion, Reader, Writer
from headgate.pipeline.answering import answers_in, catch_up, concerns_actions
from headgate.pipeline.asking import note_calls
from headgate.pipeline.compact import Asking, counted_in, is_compacted, tokens_of
from headgate.pipeline.context import Deps
from headgate.pipeline.numbered import numbered
from headgate.pipeline.second_turn import holder_of

LEASE_SECONDS = 60.0
_RENEWED_AFTER = LEASE_SECONDS / 3
_TRIES = 5
_SENT = 200
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
    if request.surface.dialect not in _MARKS:
        message = "A stored conversation goes on by a chat with a model: leave out X-Conversation-ID here."
        raise InvalidHeader(message, param="x-conversation-id")
    turn = await Turn.begin(request, run, deps.state, deps)
    asking = Asking(request.model, request, run, deps)
    try:
        equipped = await turn.make_room(asking)
        async with aclosing(numbered(turn.follow(tell, request, run, equipped), turn, run, deps)) as story:
            async for event in story:
                yield event
    finally:
        await asyncio.shield(turn.leave())
        if deps.compactor is not None and turn.is_kept:
            deps.compactor.after(turn.head, turn.weight, asking)


@dataclass(slots=True)
class Turn:
    """One turn of a conversation, whose lease it holds."""

    state: State
    head: Conversation
    told: Sequence[StoredItem]
    history: tuple[Item, ...]
    added: list[dict[str, Any]]
    holder: str
    record: "Record"
    deps: Deps
    said: list[dict[str, Any]] = field(default_factory=list)
    """The answer's items, once they are kept."""
    is_kept: bool = False
    """It holds the conversation no more."""
    renewing: "asyncio.Task[None] | None" = None
    weight: int = 0
    """Tokens of the conversation, as far as they are known."""
    is_new: bool = False
    """It began with this turn."""

    @classmethod
    async def begin(cls, request: ModelRequest, run: Run, state: State, deps: Deps) -> "Turn":
        """Hold the conversation and read what is told of it."""
        owner = Owner(run.who.tenant, run.who.user)
        bare, _ = answers_in(request)
        chat = DIALECTS[request.surface.dialect].parse(bare.fields)
        asked = run.continues or Continues()
        if asked.conversation:
            head = await state.heads.get(asked.conversation, owner)
            if asked.agent and head.agent != asked.agent:
                raise ConversationNotFound(f"The agent '{asked.agent}' has no session '{head.id}'.")
        else:
            head = await state.heads.create(owner, agent=asked.agent, model=request.model)
        run.conversation = head.id
        holder = holder_of(run)
        try:
            await deps.second_turn.take(state.runs, head, run, LEASE_SECONDS)
            if asked.conversation:
                head = await state.heads.get(head.id, owner)
            told = await state.heads.told(head) if head.depth else []
            if concerns_actions(request, told):
                head = await catch_up(request, head, holder, run, deps)
                told = await state.heads.told(head)
            history = told_of([item.data for item in told])
            known = await _as_known(chat.items, told, history, head, state)
        except ConversationBusy:
            raise
        except BaseException:
            await asyncio.shield(state.runs.release(head, holder))
            raise
        added = with_results([item.data for item in told], kept_of(news(chat.items, known)))
        turn = cls(state, head, told, history, added, holder, Record(run, bare), deps)
        turn.is_new = not asked.conversation
        turn.renewing = asyncio.get_running_loop().create_task(turn.keep_holding())
        return turn

    async def make_room(self, asking: Asking) -> Deps:
        """Compact the conversation if the call would overflow; gives the means of a run on it."""
        compactor, run = asking.deps.compactor, asking.run
        if compactor is None:
            return asking.deps
        added = sum(map(weight, self.added))
        before = self.head.segment
        self.head, self.told = await compactor.make_room(self.head, self.told, added, asking)
        if self.head.segment != before:
            self.history = told_of([item.data for item in self.told])
        self.weight = tokens_of(self.head, self.told) + added
        run.segment = self.head.segment if is_compacted(self.told) else ""
        return compactor.equipped(self.head, self.told, asking)

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
                    await self.release()
                    yield event
                else:
                    yield event
        if held:
            await self.keep()
            await self.release()
            yield held

    async def keep(self, *, whole: bool = True) -> None:
        """Add the turn to the conversation; where somebody else added to it meanwhile, behind that."""
        self.is_kept = True
        output = self.record.output(whole=whole)
        if not output and not whole:
            return
        said = [New(fields, self.record.run.id) for fields in (*self.added, *output)]
        tokens = counted_in(self.record.run)
        self.weight = tokens or self.weight + sum(map(weight, output))
        for _ in range(_TRIES):
            try:
                self.head, _ = await self.state.heads.append(self.head, said, tokens)
            except ConversationMoved:
                segment = self.head.segment
                self.head = await self.state.heads.get(self.head.id, self.head.owner)
                if self.head.segment != segment:  # another one than was told, which nobody has counted
                    tokens = 0
                    self.weight = self.head.tokens + sum(weight(one.data) for one in said)
            else:
                self.said = output
                await note_calls(self.head, self.added, output, self.record.run, self.deps)
                return
        raise ConversationBusy(f"The conversation {self.head.id} does not come to rest.")

    async def keep_holding(self) -> None:
        """Prolong the lease for as long as the turn takes."""
        while True:
            await asyncio.sleep(_RENEWED_AFTER)
            await self.state.runs.hold(self.head, self.holder, LEASE_SECONDS)

    async def leave(self) -> None:
        """Keep what was said of an answer that was broken off, and let others go on."""
        try:
            if not self.is_kept:
                await self.keep(whole=False)
        finally:
            await self.release()
        run = self.record.run
        if self.is_new and not self.head.depth and run.status != _SENT:  # its caller was not told of it either
            self.is_kept, run.conversation = False, ""
            await self.state.heads.delete(self.head)

    async def release(self) -> None:
        """Let others go on, once: before the end is told, for whoever has seen it may begin the next turn. Where that
        fails, the lease runs out by itself.
        """
        if self.renewing is None:
            return
        renewing, self.renewing = self.renewing, None
        renewing.cancel()
        with suppress(HeadgateError):
            await self.state.runs.release(self.head, self.holder)


async def _as_known(
    said: Sequence[Item], told: Sequence[StoredItem], history: tuple[Item, ...], head: Conversation, state: State
) -> tuple[Item, ...]:
    """What a caller may send along of the conversation: what is told of it, or all of it if that is more."""
    if len(said) < 2:
        return history
    whole: Sequence[StoredItem] = told
    if is_compacted(told):
        whole = []
        while page := await state.heads.items(head, whole[-1].position if whole else 0):
            whole = [*whole, *page]
    everything = [one.data for one in whole if one.data.get("type") != "compaction"]
    known = (history, told_of(everything), seen_of(everything))
    return min(known, key=lambda one: len(news(said, one)))


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
