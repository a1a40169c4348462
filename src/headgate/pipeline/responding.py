"""A stored turn of the Responses API: it goes on from what is kept, tells numbered events that are kept, and its items
are kept before its end is told.

Providers are never told to keep anything, and never see an id of what is kept here: they get the whole conversation.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from headgate.conversations.compaction import weight
from headgate.conversations.items import kept_of, retold_of, told_of, with_id
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, New, Owner, Status, StoredEvent, StoredRun, milliseconds, new_id
from headgate.conversations.types import Item as Kept
from headgate.core.chat import Ended
from headgate.core.errors import HeadgateError, InvalidField, RunCancelled
from headgate.core.events import Opened, Room, Sink, Whole
from headgate.core.request import JsonRequest, ModelRequest
from headgate.core.run import Run
from headgate.core.state_errors import (
    ConversationBusy,
    ConversationMoved,
)
from headgate.core.surfaces import RESPONSES
from headgate.dialects.responses_items import parse_items
from headgate.dialects.responses_resource import resource
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import EVENT_STREAM, Occasion, Writer
from headgate.pipeline.answering import answers_in, catch_up, concerns_actions
from headgate.pipeline.compact import Asking, counted_in, is_compacted, tokens_of
from headgate.pipeline.context import Deps
from headgate.pipeline.placing import place, request_of
from headgate.pipeline.remember import LEASE_SECONDS, Record, Story, Tell
from headgate.pipeline.scribe import Scribe
from headgate.pipeline.second_turn import holder_of
from headgate.pipeline.telling import Telling, data_in
from headgate.pipeline.translate import writer_for

log = logging.getLogger(__name__)
_TRIES = 5
_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"))
_ENDED: dict[str, Status] = {"completed": "completed", "incomplete": "incomplete", "cancelled": "cancelled"}


async def responded(turn: "ResponseTurn", tell: Tell, run: Run, deps: Deps) -> Story:
    """The events of a turn whose caller waits for them."""
    try:
        async with aclosing(turn.follow(tell, run, deps)) as story:
            async for event in story:
                yield event
    finally:
        await asyncio.shield(turn.leave())


async def not_pushed(_sink: Sink, _room: Room) -> None:
    """All pieces have to come by here."""


@dataclass(slots=True)
class ResponseTurn:
    """One response. `asked` are the caller's fields; `request` is what the model is asked."""

    id: str
    run: Run
    state: State
    scribe: Scribe
    owner: Owner
    asked: Mapping[str, Any]
    request: JsonRequest
    added: list[dict[str, Any]]
    head: Conversation | None
    keeps: bool
    background: bool
    holder: str
    """Who holds the leases."""
    telling: Telling = field(init=False)
    stored: StoredRun | None = None
    resource: dict[str, Any] = field(default_factory=dict)
    asking: Asking | None = None
    means: Deps | None = None
    """What the run has, where that is more than usual."""
    weight: int = 0
    """Tokens of the conversation, as far as they are known."""
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """Output of the same response that was made before a fault cut it off."""
    shift: int = 0
    """How many places of the output were told of before."""
    frames: list[bytes] = field(default_factory=list)
    is_held: bool = False
    is_begun: bool = False
    """Whether the stored run was written."""
    is_over: bool = False
    writer: Writer | None = None
    renewing: "asyncio.Task[None] | None" = None
    was_kept: bool = False
    """Its items are kept already: it was cut off between them and its end."""
    worker: "asyncio.Task[None] | None" = None
    """The task that works on it in the background."""

    def __post_init__(self) -> None:
        self.telling = Telling(self.id, RESPONSES.dialect, self.scribe)

    @classmethod
    async def begin(cls, request: ModelRequest, run: Run, deps: Deps) -> "ResponseTurn":
        """Find the place to go on from, hold the conversation, and put the whole call together.

        Raises PreviousResponseNotFound, ResponseUnfinished, ConversationNotFound, ConversationBusy.
        """
        state, scribe, asked = deps.state, deps.scribe, run.continues
        assert state is not None
        assert scribe is not None
        assert asked is not None
        owner = Owner(run.who.tenant, run.who.user)
        head, is_held = await place(state, owner, run, deps.second_turn)
        asking = Asking(request.model, request, run, deps)
        try:
            kept: Sequence[Kept] = await state.heads.told(head) if head is not None else []
            bare, answers = answers_in(request)
            if answers and not is_held:
                raise InvalidField(
                    "An answer to an action goes on from a stored response or conversation.", param="input"
                )
            if head is not None and is_held and concerns_actions(request, kept):
                head = await catch_up(request, head, holder_of(run), run, deps)
                kept = await state.heads.told(head)
            if head is not None and is_held and deps.compactor is not None:
                head, kept = await deps.compactor.make_room(head, kept, weight(bare.fields), asking)
            history = [one.data for one in kept]
            added = kept_of(parse_items(bare.fields.get("input"), told_of(history)))
        except BaseException:
            if head is not None and is_held:
                await asyncio.shield(state.runs.release(head, holder_of(run)))
            raise
        items = [*retold_of(history), *retold_of(added)]
        made = request_of(request.surface, bare.fields, items, stream=request.stream)
        id_ = new_id("resp") if asked.keeps else ""
        turn = cls(
            id_,
            run,
            state,
            scribe,
            owner,
            bare.fields,
            made,
            added,
            head,
            asked.keeps,
            asked.background,
            holder_of(run),
        )
        if head is not None and is_held and deps.compactor is not None:
            turn.means = deps.compactor.equipped(head, kept, asking)
            turn.weight = tokens_of(head, kept) + sum(map(weight, added))
            turn.asking = asking
            run.segment = head.segment if is_compacted(kept) else ""
        run.stored_as = id_
        turn.is_held = is_held
        if head is not None:
            run.conversation = head.id
        if is_held:
            turn.renewing = asyncio.get_running_loop().create_task(turn.keep_holding())
        return turn

    @classmethod
    async def again(cls, left: StoredRun, run: Run, holder: str, deps: Deps) -> "ResponseTurn":
        """A turn that another process left, from what is stored of it."""
        state, scribe = deps.state, deps.scribe
        assert state is not None
        assert scribe is not None
        head = await state.heads.get(left.conversation, left.owner)
        await state.runs.release(head, left.holder)
        await state.runs.hold(head, holder, LEASE_SECONDS)
        fields = run.asked or {}
        before = [one.data for one in await state.heads.told(replace(head, segment=left.segment, depth=left.base))]
        added = kept_of(parse_items(fields.get("input"), told_of(before)))
        made = request_of(RESPONSES, fields, [*retold_of(before), *retold_of(added)], stream=True)
        turn = cls(left.id, run, state, scribe, left.owner, fields, made, added, head, True, True, holder)
        turn.stored, turn.is_held, turn.is_begun = left, True, True
        turn.resource = dict(left.response or {})
        kept = [one for one in await state.heads.latest(head) if one.run == left.id]
        if kept:
            turn.was_kept = True
            turn.earlier = [dict(one.data) for one in reversed(kept)][len(added) :]
        turn.renewing = asyncio.get_running_loop().create_task(turn.keep_holding())
        return turn

    async def finish(self) -> None:
        """Say that a turn is complete whose items are kept."""
        assert self.stored is not None
        assert self.head is not None
        response = {**self.resource, "status": "completed", "output": self.earlier}
        self.telling.number = self.stored.events
        told = {"type": "response.completed", "sequence_number": self.stored.events, "response": response}
        event, base = self.telling.next(orjson.dumps(told)), self.head.depth - len(self.earlier)
        change, segment = self.state.runs.change, self.head.segment
        await change(self.stored, "completed", response=response, told=[event], segment=segment, base=base)
        self.is_over = True
        await self.leave()

    async def give_up(self, reason: str, output: list[dict[str, Any]]) -> None:
        """End it with what there is."""
        response = {**self.resource, "status": "incomplete", "output": output}
        response["incomplete_details"] = {"reason": reason}
        event = self.telling.next(
            orjson.dumps({"type": "response.incomplete", "sequence_number": 0, "response": response})
        )
        await self.keep(response, (event,))
        await self.leave()

    async def follow(self, tell: Tell, run: Run, deps: Deps) -> Story:
        """The story itself, in the words of the API."""
        self.run = run
        try:
            async with aclosing(tell(self.request, run, self.means or deps)) as story:
                async for event in story:
                    if isinstance(event, Opened):
                        await self.open()
                        yield event._replace(pour=not_pushed)
                    elif isinstance(event, Whole):
                        yield await self.whole(event.body)
                    elif isinstance(event, bytes):
                        yield await self.told(event)
                    else:
                        is_first = self.writer is None
                        said = self._say(event)
                        if is_first:
                            await self.open()
                        if run.stream and is_first:
                            yield Opened(EVENT_STREAM, True, not_pushed)
                        if said:
                            yield await self.told(said) if run.stream else await self.whole(said)
        except HeadgateError as error:
            await self.fail(error, run)
            raise

    def _say(self, event: Any) -> bytes:
        """An event of a run that the gateway steers, in the API's words."""
        run = self.run
        if self.writer is None:
            self.writer = writer_for(RESPONSES.dialect, run.asked or {}, run, usage=True)
            run.breaks_off = self.writer.broken
        return self.writer.feed(event) + (self.writer.end() if type(event) is Ended else b"")

    async def open(self, status: Status = "in_progress", *, at_its_end: bool = False) -> None:
        """Begin the stored run, before anything of it is told. An answer in one piece is written `at_its_end`."""
        if self.stored is not None and self.stored.status == "queued":
            self.stored = replace(self.stored, status=status)
            self.resource["status"] = status
            await self.state.runs.change(self.stored, status, response=self.resource)
        if not self.keeps or self.stored is not None:
            return
        if self.head is None:
            self.head = await self.state.heads.create(self.owner, model=self.request.model)
            self.run.conversation = self.head.id
            if self.background or self.run.stream:
                await self.hold()
        self.resource = self.patched(self.begun(status))
        until = milliseconds() + int(LEASE_SECONDS * 1000)
        self.stored = StoredRun(
            self.id,
            self.run.id,
            self.head.id,
            self.owner,
            status,
            self.background,
            milliseconds(),
            0,
            {**self.asked, "headgate": {"dialect": RESPONSES.dialect, "key": self.run.who.key_id}},
            self.resource,
            (self.run.continues.previous if self.run.continues else "") or "",
            self.head.segment,
            self.head.depth,
            0,
            self.holder,
            until,
        )
        if not at_its_end:
            await self.state.runs.begin(self.stored)
            self.is_begun = True
            self.run.resumable = self.id if self.run.stream else ""
        if self.renewing is None:
            self.renewing = asyncio.get_running_loop().create_task(self.keep_holding())

    async def hold(self) -> None:
        assert self.head is not None
        await self.state.runs.hold(self.head, self.holder, LEASE_SECONDS)
        self.is_held = True

    def begun(self, status: str) -> dict[str, Any]:
        """The response before anything was said of it."""
        occasion = Occasion(self.id or self.run.id, self.request.model, int(time.time()), self.asked, True, False)
        return {**resource(occasion), "status": status}

    def patched(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """A response as it is told: what concerns stored state is ours to say."""
        asked = self.run.continues
        told = {**response, "previous_response_id": (asked.previous or None) if asked else None}
        if asked is not None and self.asked.get("conversation") is not None:
            told["conversation"] = {"id": asked.conversation}
        if self.keeps:
            told |= {"id": self.id, "store": True, "background": self.background}
        else:
            told["store"] = False
        if self.earlier:
            told["output"] = [*self.earlier, *(told.get("output") or ())]
        return told

    async def told(self, frames: bytes) -> bytes:
        """A piece of the stream, numbered and kept; the end of the response is kept before it is told."""
        said = []
        for event, data in data_in(frames):
            if data is None or data == b"[DONE]":
                if not self.keeps or data is None:
                    said.append(event)
                continue
            if self.keeps:
                self.frames.append(event)
            if (fields := self._changed(data)) is not None:
                kind = fields.get("type")
                if self.shift and kind in ("response.created", "response.in_progress", "response.queued"):
                    continue
                data = orjson.dumps(fields)
                if kind in _ENDS:
                    said.append(await self.end(data, fields))
                    continue
                event = b"event: %b\ndata: %b\n\n" % (str(kind).encode(), data)
            said.append(self.telling.tell(data) if self.keeps else event)
        return b"".join(said)

    def _changed(self, data: bytes) -> dict[str, Any] | None:
        """The fields of an event that is told otherwise than it came; None for one that stays."""
        if b'"response"' not in data and b'"error"' not in data and not self.shift:
            return None
        fields: dict[str, Any] = orjson.loads(data)
        response = fields.get("response")
        if isinstance(response, dict):
            self.resource = fields["response"] = self.patched(response)
        elif type(fields.get("output_index")) is int and self.shift:
            fields["output_index"] += self.shift
        elif fields.get("type") != "error":
            return None
        return fields

    async def end(self, data: bytes, fields: Mapping[str, Any]) -> bytes:
        """The last event: the items and what became of the run are kept first."""
        if not self.keeps:
            self.is_over = True
            return b"event: %b\ndata: %b\n\n" % (str(fields.get("type")).encode(), data)
        response = fields.get("response")
        if not isinstance(response, dict):
            inner = fields.get("error")
            error = inner if isinstance(inner, dict) else fields
            response = {**self.resource, "status": "failed", "output": self.partial()}
            response["error"] = {"code": error.get("code") or "server_error", "message": error.get("message")}
        event = self.telling.next(data)
        await self.keep(response, (event,))
        return self.telling.frame(event)

    async def whole(self, body: bytes) -> Whole:
        """An answer in one piece."""
        response = orjson.loads(body)
        if response.get("object") == "response.compaction":
            return Whole(body)
        response = self.patched(response)
        if self.keeps:
            await self.open(at_its_end=True)
            await self.keep(response)
        self.is_over = True
        return Whole(orjson.dumps(response))

    async def keep(self, response: dict[str, Any], told: Sequence[StoredEvent] = ()) -> None:
        """Keep the turn's items, then what became of the run. What failed leaves only what was said until then."""
        assert self.stored is not None
        self.is_over = True
        self.resource = response
        status = _ENDED.get(str(response.get("status")), "failed")
        items = response.get("output") or []
        output = [with_id(one) for one in items if isinstance(one, dict)]
        base = None
        if output or status in ("completed", "incomplete"):
            base = await self.append(output)
        segment = self.head.segment if self.head is not None else ""
        if not self.is_begun:
            where = self.stored.base if base is None else base
            ended = replace(self.stored, status=status, response=response, segment=segment, base=where)
            await self.state.runs.begin(replace(ended, ended=milliseconds(), holder="", held_until=0))
            await self.release()
            return
        events = [*await self.scribe.take(self.id), *told]
        await self.state.runs.change(self.stored, status, response=response, told=events, segment=segment, base=base)
        await self.release()
        self.scribe.wake(self.id)

    async def append(self, output: Sequence[Mapping[str, Any]]) -> int:
        """Add the turn; where somebody else added to the conversation meanwhile, behind that. Gives the position of the
        last item that the model was told.
        """
        assert self.head is not None
        said = [New(fields, self.id) for fields in (*self.added, *output)]
        tokens = counted_in(self.run)
        self.weight = tokens or self.weight + sum(map(weight, output))
        for _ in range(_TRIES):
            try:
                self.head, _ = await self.state.heads.append(self.head, said, tokens)
            except ConversationMoved:
                tokens = 0
                self.head = await self.state.heads.get(self.head.id, self.owner)
            else:
                return self.head.depth - len(output)
        raise ConversationBusy(f"The conversation {self.head.id} does not come to rest.")

    def partial(self) -> list[dict[str, Any]]:
        """What was said of an answer that is not whole."""
        record = Record(self.run, self.request)
        with suppress(HeadgateError):
            for frame in self.frames:
                record.hear(frame)
        return [*self.earlier, *record.output(whole=False)]

    async def fail(self, error: HeadgateError, run: Run) -> None:
        """Tell and keep that the run broke off, if anybody knows of it. The caller is sent the events that are kept."""
        if self.stored is None or self.is_over:
            return
        told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
        breaks_off = run.breaks_off or DIALECTS[RESPONSES.dialect].broken
        last = breaks_off(error.status, told) or DIALECTS[RESPONSES.dialect].broken(error.status, told)
        try:
            frames = await self.told(last)
        except HeadgateError as fault:
            log.warning("the end of run %s could not be kept: %s", self.id, fault.message)
            frames = last
        run.breaks_off = lambda _status, _error: frames

    async def leave(self) -> None:
        """Keep what was said of an answer whose caller left, or that was stopped, and let others go on."""
        if self.renewing is not None:
            self.renewing.cancel()
        try:
            if self.stored is not None and not self.is_over:
                await self.cut_off()
        finally:
            await self.release()
            if self.asking is not None and self.head is not None and self.is_over:
                compactor = self.asking.deps.compactor
                assert compactor is not None
                compactor.after(self.head, self.weight, self.asking)

    async def release(self) -> None:
        """Let others go on with the conversation, before the caller knows that the turn is over, for its next one may
        come at once. Where that fails, the lease runs out by itself.
        """
        if self.head is not None and self.is_held:
            self.is_held = False
            if self.renewing is not None:
                self.renewing.cancel()
            with suppress(HeadgateError):
                await self.state.runs.release(self.head, self.holder)

    async def cut_off(self) -> None:
        """Nobody waits any more: the run is cancelled. One in the background that nobody stopped goes on elsewhere."""
        assert self.stored is not None
        if self.background and self.run.stopped_by is None:
            await self.scribe.flush()
            await self.release()
            await self.state.runs.give_back(self.id, self.holder)
            return
        response = {**self.resource, "status": "cancelled", "output": self.partial()}
        event = self.telling.next(
            orjson.dumps({"type": "response.incomplete", "sequence_number": self.telling.number, "response": response})
        )
        last = self.telling.frame(event)
        self.run.breaks_off = lambda _status, _error: last
        await self.keep(response, (event,))

    async def keep_holding(self) -> None:
        """Prolong the leases for as long as the turn takes. A run that ended elsewhere is stopped here."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 30 if self.background else LEASE_SECONDS / 3)
            with suppress(HeadgateError):
                if self.head is not None and self.is_held:
                    await self.state.runs.hold(self.head, self.holder, LEASE_SECONDS)
                if self.stored is None:
                    continue
                if not await self.state.runs.take(self.id, self.holder, LEASE_SECONDS) and self.worker is not None:
                    self.is_over = True  # whoever ended it, or works on it now, has the say
                    self.run.stopped_by = RunCancelled("The response was cancelled.")
                    self.worker.cancel()
                    return
