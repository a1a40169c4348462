"""A turn's claim on a stored conversation: held with what was said before, given back with what is kept of the turn.

Either end is one transaction. Knows no dialect and no stream.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from headgate.conversations.compaction import weight
from headgate.conversations.store import Ending, Lease, State
from headgate.conversations.types import (
    Conversation,
    Item,
    New,
    Owner,
    Status,
    StoredEvent,
    StoredRun,
    milliseconds,
    new_id,
)
from headgate.core.errors import HeadgateError, UpstreamContextWindow
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.core.state_errors import ConversationBusy, ConversationMoved
from headgate.pipeline.answering import catch_up, concerns_actions
from headgate.pipeline.asking import note_calls, standing
from headgate.pipeline.compact import Asking, counted_in, is_compacted, tokens_of
from headgate.pipeline.context import Deps
from headgate.pipeline.second_turn import SecondTurn, holder_of

LEASE_SECONDS = 60.0
_TRIES = 5


class Start(NamedTuple):
    """What a stored run begins with, which tells its events in a dialect. `request` is in the words of Responses, as
    far as they are known.
    """

    id: str
    dialect: str
    status: Status
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Claim:
    """What a turn has of a conversation. `owner` is whose it is, `holder` who holds it for the turn."""

    deps: Deps
    run: Run
    owner: Owner
    holder: str
    _head: Conversation | None = None
    told: Sequence[Item] = ()
    """What a model is told of it."""
    is_held: bool = False
    is_stored: bool = False
    """The conversation is there: others can be told of it."""
    stored: StoredRun | None = None
    """The run that others can follow."""
    is_begun: bool = False
    """It was written."""
    ahead: StoredRun | None = None
    """One that was written, and of which nothing was told yet."""
    weight: int = 0
    """Tokens of the conversation, as far as they are known."""
    asking: Asking | None = None
    _timer: asyncio.TimerHandle | None = None
    _renewing: "asyncio.Task[None] | None" = None

    @classmethod
    def of(cls, run: Run, deps: Deps) -> "Claim":
        """For a call."""
        return cls(deps, run, Owner(run.who.tenant, run.who.user), holder_of(run))

    @property
    def state(self) -> State:
        assert self.deps.state is not None
        return self.deps.state

    @property
    def head(self) -> Conversation:
        assert self._head is not None
        return self._head

    @property
    def is_placed(self) -> bool:
        """Whether there is a conversation yet."""
        return self._head is not None

    @property
    def lease(self) -> Lease:
        return Lease(self.holder, LEASE_SECONDS)

    async def take(self, id_: str, second: SecondTurn, agent: str = "", run: "Start | None" = None) -> None:
        """Hold a conversation, with a run if one begins with it.

        Raises ConversationNotFound, also for another agent's, and ConversationBusy.
        """
        begin_run = None if run is None else partial(self.new_run, run)
        if second.policy != "reject":  # strangers do not line up
            found = await self.state.heads.get(id_, self.owner)
            id_ = found.id
        try:
            held = await second.hold(
                self.state.runs,
                id_,
                self.run,
                lambda: self.state.turns.begin(id_, self.owner, self.lease, agent, begin_run),
            )
        except HeadgateError as error:
            if isinstance(error, ConversationBusy):
                self.run.conversation = id_
            raise
        except BaseException:
            await asyncio.shield(self.state.turns.release(id_, self.holder, run.id if run is not None else ""))
            raise
        self.have(held.head, held.told, is_held=True)
        self.ahead = held.run

    def have(self, head: Conversation, told: Sequence[Item], *, is_held: bool) -> None:
        """Go on in a conversation as it was read."""
        self._head, self.told, self.is_held, self.is_stored = head, told, is_held, True
        self.run.conversation = head.id

    async def create(self, model: str, agent: str = "", run: "Start | None" = None) -> None:
        """Begin a conversation, with a run if one begins with it."""
        self.plan(model, agent)
        ahead = None if run is None else self.new_run(run, self.head)
        await self.state.turns.create(self.head, self.lease, ahead)
        self.is_held = self.is_stored = True
        self.ahead = ahead

    def plan(self, model: str, agent: str = "") -> None:
        """Begin a conversation that is stored with what is said in it."""
        now = milliseconds()
        self._head = Conversation(new_id("conv"), self.owner, agent, model, "", now, now, new_id("seg"), 0, 0)
        self.run.conversation = self._head.id

    async def catch_up(self, request: ModelRequest, deps: Deps) -> None:
        """Do what the answers to actions in the request ask for, if there are any."""
        if concerns_actions(request, self.told):
            self._head = await catch_up(request, self.head, self.holder, self.run, deps)
            self.told = await self.state.heads.told(self.head)

    async def make_room(self, request: ModelRequest, added: int, deps: Deps) -> Deps:
        """Compact the conversation if the call would overflow; gives the means of a run on it."""
        if deps.compactor is None:
            return deps
        self.asking = asking = Asking(request.model, request, self.run, deps)
        self._head, self.told = await deps.compactor.make_room(self.head, self.told, added, asking)
        self.weight = tokens_of(self.head, self.told)
        self.run.segment = self.head.segment if is_compacted(self.told) else ""
        return deps.compactor.equipped(self.head, self.told, asking)

    def new_run(self, start: "Start", head: Conversation) -> StoredRun:
        """A run on the conversation as it is."""
        run, now = self.run, milliseconds()
        asked = run.continues
        return StoredRun(
            start.id,
            run.id,
            head.id,
            self.owner,
            start.status,
            asked.background if asked is not None else False,
            now,
            0,
            {**start.request, "headgate": {"dialect": start.dialect, "key": run.who.key_id, "mode": run.mode}},
            start.response,
            asked.previous if asked is not None else "",
            head.segment,
            head.depth,
            0,
            self.holder,
            self.lease.until,
        )

    async def begin_run(self, start: "Start") -> None:
        """See to it that there is a run, before anything of it is told."""
        run = self.ahead
        if run is None:
            run = self.new_run(start, self.head)
            await self.state.runs.begin(run)
        self.stored, self.is_begun, self.ahead = run, True, None
        if self.run.stream:
            self.run.resumable = run.id

    @property
    def untold(self) -> str:
        """The id of a run that is stored though nothing was told of it."""
        return "" if self.ahead is None else self.ahead.id

    def end_run(self, status: Status, response: Mapping[str, Any]) -> None:
        """What `keep` is to write down of the run."""
        assert self.stored is not None
        status = standing(status, response.get("output") or ())
        self.stored = replace(
            self.stored, status=status, response=response, ended=milliseconds(), holder="", held_until=0
        )

    async def keep(
        self,
        added: Sequence[Mapping[str, Any]],
        output: Sequence[Mapping[str, Any]],
        name: str,
        told: Sequence[StoredEvent] = (),
    ) -> None:
        """Keep what was `added` to the conversation and answered in the run of this name, note what became of the
        stored run if there is one, with the last events that it `told`, and let others go on. Where somebody else added
        to the conversation meanwhile, it comes behind that.
        """
        said = [New(fields, name) for fields in (*added, *output)]
        tokens = counted_in(self.run) if said else 0
        self.weight = tokens or self.weight + sum(map(weight, output))
        for _ in range(_TRIES):
            head, run = self.head, self.stored
            if run is not None:
                base = head.depth + len(added) if said else run.base
                run = replace(run, segment=head.segment, base=base)
            holder = self.holder if self.is_held else ""
            ending = Ending(head, said, holder, tokens, run, told, self.is_begun, not self.is_stored, self.untold)
            try:
                self._head = await self.state.turns.end(ending)
            except ConversationMoved:
                self._head = await self.state.heads.get(head.id, head.owner)
                if self._head.segment != head.segment:  # another one than was told, which nobody has counted
                    tokens = 0
                    self.weight = self._head.tokens + sum(weight(one.data) for one in said)
            else:
                self.is_stored, self.is_held, self.ahead = True, False, None
                self.rest()
                if said:
                    await note_calls(self.head, added, output, self.run, self.deps)
                return
        raise ConversationBusy(f"The conversation {self.head.id} does not come to rest.")

    async def release(self) -> None:
        """Let others go on, if they cannot yet. Where that fails, the lease runs out by itself."""
        self.rest()
        if self.is_held:
            self.is_held = False
            with suppress(HeadgateError):
                await self.state.turns.release(self.head.id, self.holder, self.untold)
                self.ahead = None

    def note_overflow(self, error: HeadgateError) -> None:
        """Where the provider found the prompt too long, compact the conversation: then the turn can be sent again."""
        asking = self.asking
        if not isinstance(error, UpstreamContextWindow) or asking is None or asking.deps.compactor is None:
            return
        if asking.deps.compactor.overflowed(self.head, self.told, asking):
            error.message += " The conversation is summed up now: send the turn again."

    def compact_after(self) -> None:
        """Compact the conversation in the background if it came near its end."""
        if self.asking is not None and self.asking.deps.compactor is not None:
            self.asking.deps.compactor.after(self.head, self.weight, self.asking)

    def renew(self, seconds: float = LEASE_SECONDS / 3, is_lost: Callable[[], bool] = lambda: False) -> None:
        """Prolong the leases every so often until `rest`. `is_lost` is asked where somebody else has the run by now."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._begin_renewing, seconds, is_lost)

    def rest(self) -> None:
        """Prolong nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._renewing is not None and self._renewing is not asyncio.current_task():
            self._renewing.cancel()

    def _begin_renewing(self, seconds: float, is_lost: Callable[[], bool]) -> None:
        self._renewing = asyncio.get_running_loop().create_task(self._keep_holding(seconds, is_lost))

    async def _keep_holding(self, seconds: float, is_lost: Callable[[], bool]) -> None:
        while True:
            with suppress(HeadgateError):
                if self.is_held:
                    await self.state.runs.hold(self.head, self.holder, LEASE_SECONDS)
                if (run := self.stored if self.is_begun else self.ahead) is not None:
                    has_it = await self.state.runs.take(run.id, self.holder, LEASE_SECONDS)
                    if not has_it and is_lost():
                        return
            await asyncio.sleep(seconds)
