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
from headgate.conversations.items import kept_of, retold_of, told_of, with_id, with_results
from headgate.conversations.types import Status, StoredEvent, StoredRun, new_id
from headgate.core.chat import Ended
from headgate.core.errors import HeadgateError, InvalidField, RunCancelled
from headgate.core.events import Opened, Room, Sink, Whole
from headgate.core.request import JsonRequest, ModelRequest
from headgate.core.run import Run
from headgate.core.surfaces import RESPONSES
from headgate.dialects.responses_items import parse_items
from headgate.dialects.responses_resource import resource
from headgate.dialects.table import DIALECTS
from headgate.dialects.types import EVENT_STREAM, Occasion, Writer
from headgate.pipeline.answering import answers_in
from headgate.pipeline.claim import LEASE_SECONDS, Claim, Start
from headgate.pipeline.context import Deps
from headgate.pipeline.placing import place, request_of
from headgate.pipeline.record import Record
from headgate.pipeline.referring import with_referred
from headgate.pipeline.remember import Story, Tell
from headgate.pipeline.scribe import Scribe
from headgate.pipeline.telling import Telling, data_in
from headgate.pipeline.translate import writer_for

log = logging.getLogger(__name__)
_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"))
_ENDED: dict[str, Status] = {"completed": "completed", "incomplete": "incomplete", "cancelled": "cancelled"}


async def responded(turn: "ResponseTurn", tell: Tell, run: Run, deps: Deps) -> Story:
    """The events of a turn whose caller waits for them."""
    try:
        async with aclosing(turn.follow(tell, run, deps)) as story:
            async for event in story:
                yield event
    finally:
        if turn.is_done:
            turn.claim.compact_after()
        else:
            await asyncio.shield(turn.leave())


async def not_pushed(_sink: Sink, _room: Room) -> None:
    """All pieces have to come by here."""


@dataclass(slots=True)
class ResponseTurn:
    """One response. `asked` are the caller's fields; `request` is what the model is asked."""

    id: str
    claim: Claim
    scribe: Scribe
    asked: Mapping[str, Any]
    request: JsonRequest
    added: list[dict[str, Any]]
    keeps: bool
    background: bool
    means: Deps | None = None
    """What the run has, where that is more than usual."""
    resource: dict[str, Any] = field(default_factory=dict)
    telling: Telling = field(init=False)
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """Output of the same response that was made before a fault cut it off."""
    shift: int = 0
    """How many places of the output were told of before."""
    frames: list[bytes] = field(default_factory=list)
    is_over: bool = False
    writer: Writer | None = None
    was_kept: bool = False
    """Its items are kept already: it was cut off between them and its end."""
    worker: "asyncio.Task[None] | None" = None
    """The task that works on it in the background."""

    def __post_init__(self) -> None:
        self.telling = Telling(self.id, RESPONSES.dialect, self.scribe)

    @property
    def run(self) -> Run:
        return self.claim.run

    @run.setter
    def run(self, run: Run) -> None:
        self.claim.run = run

    @property
    def is_done(self) -> bool:
        """Whether everything is kept and given back."""
        return self.is_over and not self.claim.is_held

    @property
    def stored(self) -> StoredRun | None:
        return self.claim.stored

    @classmethod
    async def begin(cls, request: ModelRequest, run: Run, deps: Deps) -> "ResponseTurn":
        """Find the place to go on from, hold the conversation, and put the whole call together.

        Raises PreviousResponseNotFound, ResponseUnfinished, ConversationNotFound, ConversationBusy.
        """
        state, scribe, asked = deps.state, deps.scribe, run.continues
        assert state is not None
        assert scribe is not None
        assert asked is not None
        claim, means = Claim.of(run, deps), None
        await place(claim, deps.second_turn)
        try:
            bare, answers = answers_in(request)
            if answers and not claim.is_held:
                raise InvalidField(
                    "An answer to an action goes on from a stored response or conversation.", param="input"
                )
            if claim.is_held:
                await claim.catch_up(request, deps)
                means = await claim.make_room(request, weight(bare.fields), deps)
            history = [one.data for one in claim.told]
            given = await with_referred(bare.fields.get("input"), history, claim.owner, state)
            added = with_results(history, kept_of(parse_items(given, told_of(history))))
        except BaseException:
            await asyncio.shield(claim.release())
            raise
        claim.weight += sum(map(weight, added))
        made = request_of(request.surface, bare.fields, [*retold_of(history), *retold_of(added)], stream=request.stream)
        run.stored_as = new_id("resp") if asked.keeps else ""
        turn = cls(run.stored_as, claim, scribe, bare.fields, made, added, asked.keeps, asked.background, means)
        if claim.is_held:
            turn.renew()
        return turn

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
            self.claim.note_overflow(error)
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
        claim = self.claim
        if claim.stored is not None and claim.stored.status == "queued":
            claim.stored = replace(claim.stored, status=status)
            self.resource["status"] = status
            await claim.state.runs.change(claim.stored, status, response=self.resource)
        if not self.keeps or claim.stored is not None:
            return
        self.resource = self.patched(self.begun(status))
        if at_its_end:
            if not claim.is_placed:
                claim.plan(self.request.model)
            claim.stored = claim.new_run(self._start(status), claim.head)
        else:
            if not claim.is_placed:
                await claim.create(self.request.model, run=self._start(status))
            await claim.begin_run(self._start(status))
        if not at_its_end:
            self.renew()

    def _start(self, status: Status) -> Start:
        return Start(self.id, RESPONSES.dialect, status, self.asked, self.resource)

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
        """Keep the turn's items and what became of the run. What failed leaves only what was said until then."""
        claim = self.claim
        self.is_over = True
        self.resource = response
        status = _ENDED.get(str(response.get("status")), "failed")
        output = [with_id(one) for one in response.get("output") or [] if isinstance(one, dict)]
        is_said = bool(output) or status in ("completed", "incomplete")
        events = [*await self.scribe.take(self.id), *told] if claim.is_begun else []
        claim.end_run(status, response)
        await claim.keep(self.added if is_said else (), output, self.id, events)
        self.scribe.wake(self.id)

    def partial(self) -> list[dict[str, Any]]:
        """What was said of an answer that is not whole."""
        record = Record(self.run, self.request)
        with suppress(HeadgateError):
            for frame in self.frames:
                record.hear(frame)
        return [*self.earlier, *record.output(whole=False)]

    async def fail(self, error: HeadgateError, run: Run) -> None:
        """Tell and keep that the run broke off, if anybody knows of it. The caller is sent the events that are kept."""
        if self.claim.stored is None or self.is_over:
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
        claim = self.claim
        claim.rest()
        try:
            if claim.stored is not None and not self.is_over:
                await self.cut_off()
        finally:
            await claim.release()
            if self.is_over:
                claim.compact_after()

    async def cut_off(self) -> None:
        """Nobody waits any more: the run is cancelled. One in the background that nobody stopped goes on elsewhere."""
        if self.background and self.run.stopped_by is None:
            await self.scribe.flush()
            await self.claim.release()
            await self.claim.state.runs.give_back(self.id, self.claim.holder)
            return
        response = {**self.resource, "status": "cancelled", "output": self.partial()}
        event = self.telling.next(
            orjson.dumps({"type": "response.incomplete", "sequence_number": self.telling.number, "response": response})
        )
        last = self.telling.frame(event)
        self.run.breaks_off = lambda _status, _error: last
        await self.keep(response, (event,))

    def renew(self) -> None:
        """Prolong the leases for as long as the turn takes. A run that ended elsewhere is stopped here."""
        self.claim.renew(LEASE_SECONDS / 30 if self.background else LEASE_SECONDS / 3, self._is_lost)

    def _is_lost(self) -> bool:
        if self.worker is None:
            return False
        self.is_over = True  # whoever ended it, or works on it now, has the say
        self.run.stopped_by = RunCancelled("The response was cancelled.")
        self.worker.cancel()
        return True
