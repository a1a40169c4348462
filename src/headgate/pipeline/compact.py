"""Compaction of stored conversations: before a call that would overflow, after a turn that came near, or when asked.

A summary, or what takes its place, opens a segment of the conversation; nothing is changed or taken away. What fails
does not stop the conversation: a digest stands in for a summary that no model would write.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from headgate.agents.types import AgentSettings
from headgate.conversations.compaction import (
    Plan,
    is_worth,
    plan_of,
    summary_item,
    trimmed,
    weight,
    weights,
    with_place,
)
from headgate.conversations.digest import digest_of
from headgate.conversations.policy import CompactionSettings, Policy, narrowed, policy_of
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, Item, Segment, Summary
from headgate.core.errors import HeadgateError
from headgate.core.principal import Principal
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Run, now
from headgate.core.state_errors import ConversationMoved, StateUnavailable
from headgate.core.surfaces import RESPONSES
from headgate.pipeline.context import Deps
from headgate.pipeline.history import with_history
from headgate.pipeline.summarise import Asked, Relay, Said, summarise
from headgate.pipeline.translate import as_chat
from headgate.routing.types import Model
from headgate.tools.types import Caller

Trigger = Literal["manual", "automatic", "overflow"]
_TRIES = 5
_STORED = frozenset(("input", "previous_response_id", "conversation", "store", "background"))
"""Fields of Responses that refer to what is stored."""
_ANSWERS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_LEAST_SUMMARY = 60
log = logging.getLogger(__name__)


class Room(NamedTuple):
    """Tokens: of the model's context window, and what a prompt may have of it; 0 if nobody knows."""

    window: int = 0
    prompt: int = 0


class Outcome(NamedTuple):
    """The conversation then, and the segment that it lies in; `changed` is False where there was nothing to cover."""

    head: Conversation
    segment: Segment
    changed: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One compaction."""

    head: Conversation
    asking: "Asking"
    policy: Policy
    trigger: Trigger
    room: Room
    added: int = 0
    """Tokens that are to be told behind the conversation."""


@dataclass(slots=True)
class Compactor:
    """`relay` is a call of a plain model. `tasks` are the compactions under way here, by conversation."""

    relay: Relay
    settings: CompactionSettings
    tasks: "dict[str, asyncio.Task[Outcome | None]]" = field(default_factory=dict)
    overflown: set[str] = field(default_factory=set)
    """Conversations that are compacted because a provider found them too long: their next turns wait."""
    is_closed: bool = False
    _usual: Policy = field(init=False)

    def __post_init__(self) -> None:
        self._usual = self.settings.policy()

    async def make_room(
        self, head: Conversation, told: Sequence[Item], added: int, asking: "Asking"
    ) -> tuple[Conversation, Sequence[Item]]:
        """The conversation as it is to be told: compacted, if it would overflow with so many tokens more."""
        if head.id in self.overflown and (running := self.tasks.get(head.id)) is not None:
            await asyncio.wait([running])
            head = await _state(asking.deps).heads.get(head.id, head.owner)
            told = await _state(asking.deps).heads.told(head)
        policy, room = self._terms(head, asking)
        if policy.mode == "none" or not room.prompt or tokens_of(head, told) + added <= room.prompt:
            return head, told
        state = _state(asking.deps)
        if (running := self.tasks.get(head.id)) is not None:
            await asyncio.wait([running])
            head = await state.heads.get(head.id, head.owner)
            told = await state.heads.told(head)
            if tokens_of(head, told) + added <= room.prompt:
                return head, told
        outcome = await self._quietly(Job(head, asking, policy, "overflow", room, added))
        if outcome is None or not outcome.changed:
            return head, told
        return outcome.head, await state.heads.told(outcome.head)

    def after(self, head: Conversation, tokens: int, asking: "Asking") -> None:
        """Compact in the background if the conversation, which has so many tokens now, comes near the end."""
        if self.is_closed or head.id in self.tasks:
            return
        policy, room = self._terms(head, asking)
        if policy.mode == "none" or not room.prompt or tokens < policy.at * room.prompt:
            return
        self._begin(Job(head, asking, policy, "automatic", room))

    def overflowed(self, head: Conversation, told: Sequence[Item], asking: "Asking") -> bool:
        """Compact in the background, to half of what it is, because a provider found the conversation too long,
        whatever is known of its window. False if there is nothing to cover.
        """
        policy, room = self._terms(head, asking)
        size = tokens_of(head, told)
        smaller = Room(room.window, max(1, min(room.prompt or size, size) // 2))
        if self.is_closed or policy.mode == "none" or plan_of(told, policy, smaller.prompt) is None:
            return False
        if head.id not in self.tasks:
            self.overflown.add(head.id)
            self._begin(Job(head, asking, policy, "overflow", smaller))
        return True

    def _begin(self, job: Job) -> None:
        id_ = job.head.id
        log.debug("the conversation %s is compacted", id_)
        task = asyncio.get_running_loop().create_task(self._quietly(job))
        self.tasks[id_] = task

        def ended(_: object) -> None:
            self.tasks.pop(id_, None)
            self.overflown.discard(id_)

        task.add_done_callback(ended)

    async def compact_now(self, head: Conversation, asking: "Asking", wishes: Mapping[str, Any]) -> Outcome:
        """Because somebody asked for it, whatever room there is. Raises ConversationMoved where others are quicker."""
        if (running := self.tasks.get(head.id)) is not None:
            await asyncio.wait([running])
        policy, room = self._terms(head, asking, {"mode": "compact", **wishes})
        return await self._compact(Job(head, asking, policy, "manual", room))

    def equipped(self, head: Conversation, told: Sequence[Item], asking: "Asking") -> Deps:
        """The means of a run on the conversation: with `read_history`, where a part of it is covered."""
        deps = asking.deps
        if deps.state is None or not is_compacted(told):
            return deps
        policy, _ = self._terms(head, asking)
        is_wanted = asking.agent is not None if policy.read_history is None else policy.read_history
        return with_history(head, deps.state.heads, deps) if is_wanted else deps

    async def close(self) -> None:
        """Give up what is under way: nothing is written before it is whole."""
        self.is_closed = True
        for task in list(self.tasks.values()):
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    def _terms(
        self, head: Conversation, asking: "Asking", further: Mapping[str, Any] | None = None
    ) -> tuple[Policy, Room]:
        model, agent = asking.model, asking.agent
        wishes = [] if model is None or model.settings is None else [vars(model.settings.compaction)]
        wishes += [] if agent is None else [vars(agent.compaction)]
        policy = policy_of(self._usual, *wishes, head.compaction, further or {})
        values = asking.who.terms.values
        policy = narrowed(policy, values.get("compaction.mode"), values.get("compaction.at"))
        fields = asking.request.fields if asking.request is not None else {}
        return policy, room_of(model, fields, asking.deps)

    async def _quietly(self, job: Job) -> Outcome | None:
        try:
            return await self._compact(job)
        except ConversationMoved:
            log.info("the conversation %s was changed while it was compacted", job.head.id)
        except HeadgateError as error:
            log.warning("the conversation %s was not compacted: %s", job.head.id, error.message)
        except Exception:
            log.exception("the conversation %s was not compacted", job.head.id)
        return None

    async def _compact(self, job: Job) -> Outcome:
        state, begun = _state(job.asking.deps), now()
        head = await state.heads.get(job.head.id, job.head.owner)
        told = await state.heads.told(head)
        room = max(job.room.prompt - job.added, 1) if job.room.prompt else 0
        plan = plan_of(told, job.policy, room, strict=job.trigger == "manual")
        if plan is None or job.policy.mode == "none" or (job.trigger == "automatic" and not is_worth(plan, room)):
            return Outcome(head, await state.heads.segment(head.segment, head.owner), False)
        before = tokens_of(head, told)
        text, made = await self._in_its_place(plan, job, self.equipped(head, told, job.asking))
        item = summary_item(with_place(text, plan))
        after = max(before - plan.gain, 0) + weight(item)
        about = {
            **made,
            "trigger": job.trigger,
            "tokens_before": before,
            "tokens_after": after,
            "covered": len(plan.dropped),
            "seconds": round(now() - begun, 3),
        }
        summary = Summary(item, plan.covers, plan.keeps, about)
        head = await _opened(state, head, summary, after)
        return Outcome(head, await state.heads.segment(head.segment, head.owner), True)

    async def _in_its_place(self, plan: Plan, job: Job, deps: Deps) -> tuple[str, dict[str, Any]]:
        """The text that takes the place of what is covered, and how it was made."""
        if job.policy.mode == "trim":
            return trimmed(plan), {"kind": "trim"}
        tokens = min(job.policy.summary_tokens, max(_LEAST_SUMMARY, plan.gain * 2 // 3))
        window = job.room.window
        why = "context_length_exceeded" if window and weights(plan.sent) + tokens > window else ""
        said: Said | None = None
        if not why:
            try:
                policy = replace(job.policy, summary_tokens=tokens)
                said = await summarise(plan.sent, job.asking.asked(job.head), policy, self.relay, deps)
            except HeadgateError as error:
                why = error.code
                log.warning("no summary of the conversation %s was written: %s", job.head.id, error.message)
        made: dict[str, Any] = {}
        if said is not None:
            made = {"model": said.model, "run": said.run, "nano_usd": said.cost, "prompt_hash": said.prompt_hash}
            if weight({"text": said.text}) < plan.gain or job.trigger == "manual":
                return said.text, {"kind": "summary", **made}
            why = "summary_too_long"
        return digest_of(plan, tokens), {"kind": "digest", "error": why, **made}


@dataclass(frozen=True, slots=True)
class Asking:
    """The call that a conversation goes on by, or would. `name` is what it is made of: a model or an agent."""

    name: str
    request: ModelRequest | None
    """None where nobody calls a model, but somebody asks for a compaction."""
    run: Run
    deps: Deps

    @property
    def who(self) -> Principal:
        return self.run.who

    @property
    def agent(self) -> AgentSettings | None:
        return self.deps.agents.find(self.name) if self.deps.agents is not None else None

    @property
    def model(self) -> Model | None:
        """The model that answers; None for one that is not configured, of which nothing is known."""
        agent = self.agent
        if agent is None:
            return self.deps.catalog.configured(self.name)
        name = self.run.inherits if agent.model == "inherit" else agent.model or agent.name
        return self.deps.catalog.configured(name)

    def asked(self, head: Conversation) -> Asked:
        run = self.run
        caller = Caller(run.who, run.id, depth=run.depth, traceparent=run.trace.traceparent)
        request = self.request
        if request is None:
            return Asked(self.name, {}, caller, head.id, run.inherits)
        if request.surface is not RESPONSES:
            return Asked(self.name, as_chat(request)[0].fields, caller, head.id, run.inherits)
        bare = {name: value for name, value in request.fields.items() if name not in _STORED}
        fields = as_chat(json_request(RESPONSES, {**bare, "input": []}))[0].fields
        return Asked(self.name, fields, caller, head.id, run.inherits, fields["messages"])


def is_compacted(told: Sequence[Item]) -> bool:
    return any(one.data.get("type") == "compaction" for one in told)


def counted_in(run: Run) -> int:
    """Tokens of a run's last call and its answer, as the provider counted; 0 if it did not."""
    counts = [one.tokens for one in run.attempts if one.tokens is not None and one.error is None]
    return counts[-1].prompt + counts[-1].completion if counts else 0


def tokens_of(head: Conversation, told: Sequence[Item]) -> int:
    """As its provider counted, with an estimate of what was added; all estimated where nobody counted."""
    if not head.tokens:
        return weights(told)
    return head.tokens + weights(one for one in told if one.position > head.counted)


def room_of(model: Model | None, fields: Mapping[str, Any], deps: Deps) -> Room:
    """How much of its smallest context window a model's prompts may fill, with room for the answer."""
    windows = [target.context for target in model.targets if target.context] if model is not None else []
    if model is None or not windows:
        return Room()
    window = min(windows)
    asked = next((fields[name] for name in _ANSWERS if fields.get(name)), None)
    if isinstance(asked, int):
        return Room(window, window - min(asked, window // 2))
    usual = min((target.longest for target in model.targets if target.longest), default=deps.typical_answer)
    return Room(window, window - min(usual, window // 4))


async def _opened(state: State, head: Conversation, summary: Summary, tokens: int) -> Conversation:
    """What others add meanwhile stays behind it; raises ConversationMoved where they did more than that."""
    before = head
    for _ in range(_TRIES):
        try:
            return await state.heads.compact(head, summary, tokens)
        except ConversationMoved:
            head = await state.heads.get(head.id, head.owner)
            if head.segment != before.segment or head.depth < before.depth:
                raise
            tokens += max(head.tokens - before.tokens, 0) if before.tokens else 0
            before = head
    raise ConversationMoved(f"The conversation {head.id} does not come to rest.")


def _state(deps: Deps) -> State:
    if deps.state is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    return deps.state
