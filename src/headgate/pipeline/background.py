"""Stored runs that go on without their callers, and those that were left by a process that ended.

Whoever works on a run holds a lease on it. When the lease is given back or runs out, another worker goes on from the
last step that was completed: what the gateway's tools did is not done again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import monotonic
from typing import Any

import orjson

from headgate.conversations.items import retold_of
from headgate.conversations.types import StoredEvent, StoredRun, milliseconds, new_id
from headgate.core.errors import DatabaseUnavailable, HeadgateError, InternalError, InvalidAuthorization
from headgate.core.events import Event, Opened, Whole
from headgate.core.ids import child_of
from headgate.core.principal import Principal
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Continues, Run
from headgate.core.state_errors import ConversationBusy
from headgate.core.surfaces import RESPONSES
from headgate.dialects.table import CALLERS
from headgate.dialects.types import EVENT_STREAM
from headgate.pipeline.context import Deps
from headgate.pipeline.following import INTERRUPTED, dialect_of, followed
from headgate.pipeline.remember import LEASE_SECONDS, Story, Tell
from headgate.pipeline.resolve import resolve
from headgate.pipeline.responding import ResponseTurn, not_pushed, responded
from headgate.pipeline.settle import settle
from headgate.pipeline.takeover import again, finish
from headgate.pipeline.telling import data_in

log = logging.getLogger(__name__)
PrincipalOf = Callable[[str, str, str], Principal | None]
"""By the key's id, the tenant and the user; None for one that is not in force any more."""
_AT_ONCE = 500
_FORGETS_EVERY = 600.0
_FORGETTING = "events of stored runs"
_SIGNALS_STAY = 3_600_000
_BEGAN = "response.output_item.added"
_DONE = "response.output_item.done"


async def stored_response(tell: Tell, request: ModelRequest, run: Run, deps: Deps) -> Story:
    """The events of a call that goes on from what is kept, or is to be kept; see responding."""
    turn = await ResponseTurn.begin(request, run, deps)
    async with aclosing((in_background if turn.background else responded)(turn, tell, run, deps)) as story:
        async for event in story:
            yield event


async def in_background(turn: ResponseTurn, tell: Tell, run: Run, deps: Deps) -> AsyncGenerator[Event]:
    """Begin to work; the caller gets the queued response, or follows the run for as long as it likes."""
    try:
        if deps.agents is None or deps.agents.find(turn.request.model) is None:
            await resolve(turn.request, run, deps)
        handed = replace(run.hand_over(), stream=True)
        turn.run, turn.request = handed, json_request(RESPONSES, {**turn.request.fields, "stream": True})
        await turn.open("queued")
    except BaseException:
        await asyncio.shield(turn.leave())
        raise
    run.conversation = handed.conversation
    begin(turn, tell, handed, deps)
    assert turn.stored is not None
    if not run.stream:
        yield Whole(orjson.dumps(turn.resource))
        return
    yield Opened(EVENT_STREAM, True, not_pushed)
    async for frames in followed(turn.stored, -1, deps):
        yield frames


def begin(turn: ResponseTurn, tell: Tell, run: Run, deps: Deps) -> None:
    """Work on a run in a task of its own."""
    task = asyncio.get_running_loop().create_task(_work(turn, tell, run, deps))
    deps.background[task] = run
    if deps.watch is not None:
        deps.watch.attend(turn.id, run, task)
    task.add_done_callback(deps.background.pop)


async def _work(turn: ResponseTurn, tell: Tell, run: Run, deps: Deps) -> None:
    turn.worker = asyncio.current_task()
    run.status = 200
    try:
        async with aclosing(turn.follow(tell, run, deps)) as story:
            async for _ in story:
                pass
    except HeadgateError as error:
        run.fail(error)
    except asyncio.CancelledError:
        run.cut_off()
    except Exception:
        log.exception("run %s failed in the background", turn.id)
        fault = InternalError("A fault of the gateway itself.")
        run.fail(fault)
        await turn.fail(fault, run)
    finally:
        await asyncio.shield(turn.leave())
        settle(run, deps)


class Caretaker:
    """Looks after runs that nobody works on."""

    def __init__(self, deps: Deps, tell: Tell, principal_of: PrincipalOf, events_kept: float) -> None:
        self._deps = deps
        self._tell = tell
        self._principal_of = principal_of
        self._events_kept = events_kept
        self._name = new_id("hold")
        self._forgets_at = 0.0

    async def keep_looking(self, seconds: float) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
                await self.forget()
            except HeadgateError as error:
                log.warning("stored runs could not be looked after: %s", error.message)
            except Exception:
                log.exception("stored runs could not be looked after")
            await asyncio.sleep(seconds)

    async def forget(self) -> None:
        """Take events away that nobody comes back for; now and then, and of all workers one does it."""
        if monotonic() < self._forgets_at:
            return
        state, now = self._deps.state, milliseconds()
        assert state is not None
        found = 0
        if await state.duties.take(_FORGETTING, self._name, _FORGETS_EVERY):
            found = await state.runs.forget_events(now - int(self._events_kept * 1000))
            await state.signals.sweep(now - _SIGNALS_STAY)
        if not found:
            self._forgets_at = monotonic() + min(_FORGETS_EVERY, self._events_kept)

    async def look(self) -> None:
        """Take over all that were left."""
        state = self._deps.state
        assert state is not None
        for left in await state.runs.orphans():
            holder = new_id("hold")
            if not await state.runs.take(left.id, holder, LEASE_SECONDS):
                continue
            try:
                await self._go_on(left, holder)
            except (ConversationBusy, DatabaseUnavailable):
                await state.runs.give_back(left.id, holder)
            except HeadgateError as error:
                log.warning("run %s could not be taken over: %s", left.id, error.message)
                await self._give_up(left, "failed", error.code, error.message)

    async def _go_on(self, left: StoredRun, holder: str) -> None:
        events = await self._events(left)
        if not left.background or dialect_of(left) != RESPONSES.dialect:
            await self._give_up(left, "incomplete", INTERRUPTED, "The process that made it has ended.", events)
            return
        who = self._principal_of(str(left.request["headgate"]["key"]), *left.owner)
        if who is None:
            raise InvalidAuthorization("The key that asked is not in force any more.")
        steps = Steps(events)
        run = _run_again(left, who)
        turn = await again(left, run, holder, self._deps)
        if turn.was_kept:
            await finish(turn)
            return
        turn.telling.number = left.events if not events else events[-1].number + 1
        turn.shift, turn.earlier = steps.places, steps.completed
        turn.request = _with_steps(turn.request.fields, steps.completed)
        doubtful = [item for item in steps.broken if not await self._may_repeat(item, run, left)]
        for place, item in zip(steps.broken_places, steps.broken, strict=True):
            item["status"] = "incomplete"
            turn.telling.tell(orjson.dumps({"type": _DONE, "sequence_number": 0, "output_index": place, "item": item}))
        if doubtful:
            log.warning("run %s was cut off while the tool %s was at work", left.id, doubtful[0].get("name"))
            await turn.give_up("interrupted_tool_call", [*steps.completed, *doubtful])
            return
        log.info("run %s goes on after %d completed steps", left.id, len(steps.completed))
        begin(turn, self._tell, run, self._deps)

    async def _may_repeat(self, item: dict[str, Any], run: Run, left: StoredRun) -> bool:
        """Whether a call whose end is not known may be made once more, as far as the tool says so itself."""
        if item.get("type") != "mcp_call":
            return True
        agent = self._deps.agents.find(str(left.request.get("model"))) if self._deps.agents is not None else None
        if agent is None:
            return False
        for tool in await self._deps.toolbox(agent, run):
            if tool.info.name == item.get("name"):
                return bool(tool.info.hints.read_only or tool.info.hints.idempotent)
        return False

    async def _events(self, left: StoredRun) -> list[StoredEvent]:
        assert self._deps.state is not None
        found: list[StoredEvent] = []
        while True:
            page = await self._deps.state.runs.events(left.id, found[-1].number if found else -1, _AT_ONCE)
            found += page
            if len(page) < _AT_ONCE:
                return found

    async def _give_up(
        self, left: StoredRun, status: Any, code: str, message: str, events: Sequence[StoredEvent] = ()
    ) -> None:
        """End a run with what there is of it."""
        assert self._deps.state is not None
        response = {**(left.response or {}), "status": status}
        if status == "failed":
            response["error"] = {"code": code, "message": message}
        else:
            response["incomplete_details"] = {"reason": code}
        number = events[-1].number + 1 if events else left.events
        fields = {"type": f"response.{status}", "sequence_number": number, "response": response}
        told = [StoredEvent(number, orjson.dumps(fields))]
        if dialect_of(left) != RESPONSES.dialect:
            told = _last_words(left, number, code, message)
        await self._deps.state.runs.change(left, status, response=response, told=told)


class Steps:
    """What the events of a run tell of its steps. A step is complete once a tool of the gateway's has given its result;
    what the model said behind the last one is said anew.
    """

    def __init__(self, events: Sequence[StoredEvent]) -> None:
        done: dict[int, dict[str, Any]] = {}
        begun: dict[int, dict[str, Any]] = {}
        self.places = 0
        for _, data in events:
            if b'"response.output_item.' not in data:
                continue
            told = orjson.loads(data)
            if told["type"] in (_BEGAN, _DONE):
                (done if told["type"] == _DONE else begun)[told["output_index"]] = told["item"]
                self.places = max(self.places, told["output_index"] + 1)
        last = max((at for at, item in done.items() if item.get("type") == "mcp_call"), default=-1)
        self.completed = [done[at] for at in sorted(done) if at <= last and done[at].get("status") != "incomplete"]
        self.broken_places = sorted(begun.keys() - done.keys())
        self.broken = [begun[at] for at in self.broken_places]


def _last_words(left: StoredRun, number: int, code: str, message: str) -> list[StoredEvent]:
    """What tells a caller of chat completions or messages that the stream broke off."""
    error = {"message": message, "type": "server_error", "param": None, "code": code, "request_id": left.request_id}
    frames = CALLERS[dialect_of(left)].broken(InternalError.status, error)
    events = [data for _, data in data_in(frames) if data is not None]
    return [StoredEvent(at, data) for at, data in enumerate(events, number)]


def _run_again(left: StoredRun, who: Principal) -> Run:
    fields = {name: value for name, value in left.request.items() if name != "headgate"}
    run = Run(left.request_id, child_of(None), RESPONSES.name)
    run.who, run.dialect, run.asked, run.stream = who, RESPONSES.dialect, fields, True
    run.model, run.conversation, run.tells_more = str(fields.get("model")), left.conversation, False
    run.mode = str(left.request.get("headgate", {}).get("mode") or "")
    run.stored_as = new_id("resp")  # so that its items have other ids than those that were told before
    given = fields.get("conversation")
    run.continues = Continues(left.conversation if given else "", "", left.previous, True, True)
    return run


def _with_steps(fields: dict[str, Any], completed: Sequence[dict[str, Any]]) -> Any:
    return json_request(RESPONSES, {**fields, "input": [*fields["input"], *retold_of(completed)], "stream": True})


async def cancelled(stored: StoredRun, deps: Deps) -> None:
    """Note that a run is cancelled, if it has not ended meanwhile."""
    state, scribe = deps.state, deps.scribe
    assert state is not None
    assert scribe is not None
    events = await state.runs.events(stored.id, -1, 100_000)
    number = events[-1].number + 1 if events else 0
    response = {**(stored.response or {}), "status": "cancelled", "output": Steps(events).completed}
    fields = {"type": "response.incomplete", "sequence_number": number, "response": response}
    told = [StoredEvent(number, orjson.dumps(fields))]
    await state.runs.change(stored, "cancelled", response=response, told=told)
    scribe.wake(stored.id)
