"""The orchestration strategy: a model divides the request among agents, their runs go side by side as far as they can,
and the answer is written from what they found.

A node that fails takes those with it that build on it; the others go on, and the answer says what is missing. When a
bound is met nothing begins any more, and the answer is written with what there is.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from headgate.agents.plan import AgentPlan, Node, Schedule
from headgate.core.chat import ChatEvent, Step, StopReason
from headgate.core.errors import HeadgateError, RunCancelled
from headgate.core.run import Run, now
from headgate.core.tokens import Tokens
from headgate.core.tool_errors import DelegationTooDeep
from headgate.pipeline.below import Below, Steer, deepest_below
from headgate.pipeline.context import Deps
from headgate.pipeline.delegation import shown
from headgate.pipeline.final_answer import final_answer
from headgate.pipeline.node_progress import progress_of
from headgate.pipeline.node_texts import Guard, Result, bounded, last_words, report_of, task_of
from headgate.pipeline.participants import Participant, participants
from headgate.pipeline.planning import planned
from headgate.pipeline.prepare import Prompt
from headgate.pipeline.reasoning import spent
from headgate.pipeline.tools import defuses
from headgate.pipeline.turns import Turn, Watch, total_tokens
from headgate.tools.marks import defused
from headgate.tools.types import Caller

log = logging.getLogger(__name__)
_TIME_IS_OVER = "It did not end within the time of the run above it. (time_limit)"


async def orchestrate(prompt: Prompt, run: Run, deps: Deps, steer: Steer) -> AsyncGenerator[ChatEvent]:
    """The whole of it; the last event is Ended. Raises PlanInvalid and DelegationTooDeep before anything is told."""
    watch = Watch(prompt, run)
    if prompt.messages and prompt.messages[-1].get("role") in ("tool", "function"):
        async for event in _answer(prompt, watch, deps, []):
            yield event
        return
    if run.depth + 1 > (deepest := deepest_below(prompt, run)):
        raise DelegationTooDeep(f"The agent '{prompt.agent.name}' has nobody to ask: {deepest} levels are allowed.")
    crew = participants(prompt, run.who, deps)
    before = total_tokens(run) or Tokens()
    plan = await planned(crew, prompt, watch, run, deps)
    nodes = [{**node._asdict(), "depends_on": list(node.depends_on)} for node in plan.nodes]
    yield Step("plan", 0, {"thought": plan.reason, "nodes": nodes}, tokens=spent(before, total_tokens(run)))
    work = Work(plan, crew, prompt, watch, deps, steer)
    async with aclosing(work.steps()) as steps:
        async for step in steps:
            yield step
    yield work.complete()
    closing = f"{deps.prompts['synthesis']}\n\n{report_of(work.results_in_order(), _guard(prompt.model, run, deps))}"
    async for event in _answer(prompt, watch, deps, [{"role": "user", "content": closing}], work.stop):
        yield event


async def _answer(
    prompt: Prompt, watch: Watch, deps: Deps, closing: list[dict[str, Any]], stop: StopReason = ""
) -> AsyncGenerator[ChatEvent]:
    """By the request's model, with the whole conversation and the caller's tools. What those give goes on from there:
    for a conversation that ends with it nothing is planned anew.
    """
    schemas = prompt.schemas[len(prompt.tools) :]
    offered = {str(function.get("name")) for one in schemas if isinstance(function := one.get("function"), dict)}
    final = replace(prompt, messages=[*prompt.messages, *closing], tools={}, schemas=schemas)
    watch.turns += 1
    watch.answering = bool(closing)
    async for event in final_answer(Turn(final.request(), watch), watch.run, deps, stop, offered):
        yield event


def _guard(model: str, run: Run, deps: Deps) -> Guard:
    return defused if defuses(model, run, deps) else str


@dataclass(frozen=True, slots=True)
class _End:
    """A node ended. `error` is why it gave nothing."""

    node: Node
    text: str
    error: str = ""


@dataclass(slots=True)
class _Task:
    """A node at work."""

    below: Below
    began: float
    doing: "asyncio.Task[None] | None" = None

    @property
    def milliseconds(self) -> int:
        return round((now() - self.began) * 1000)


@dataclass(slots=True)
class Work:
    """The nodes of one plan, carried out. `stop` is the bound that ended it."""

    plan: AgentPlan
    crew: Mapping[str, Participant]
    prompt: Prompt
    watch: Watch
    deps: Deps
    steer: Steer
    schedule: Schedule = field(init=False)
    results: dict[str, Result] = field(default_factory=dict)
    stop: StopReason = ""
    began: float = field(default_factory=now)
    _at_work: dict[str, _Task] = field(default_factory=dict)
    _told: "asyncio.Queue[Step | _End]" = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.schedule = Schedule.of(self.plan, self.deps.orchestrator.settings.at_once)

    async def steps(self) -> AsyncGenerator[Step]:
        """All that happens, as it happens. Closing it ends the nodes that are still at work."""
        try:
            while True:
                over = self.watch.exceeded()
                self.stop = self.stop or over
                for node in self.schedule.stop() if self.stop else ():
                    yield self._skipped(node, f"The bound '{self.stop}' was met before.")
                if over == "time_limit":
                    async for step in self._out_of_time():
                        yield step
                for node in self.schedule.begin():
                    yield self._begin(node)
                if not self._at_work:
                    return
                told = await self._next()
                if isinstance(told, Step):
                    yield told
                elif told is not None:
                    for step in self._ended(told):
                        yield step
        finally:
            await self._end_all()

    def results_in_order(self) -> Sequence[Result]:
        return [self.results[node.id] for node in self.plan.nodes]

    def complete(self) -> Step:
        ids = {state: [node.id for node in self.schedule.being(state)] for state in ("completed", "failed", "skipped")}
        took = round((now() - self.began) * 1000)
        return Step("orchestration_complete", 0, {"total_nodes": len(self.plan.nodes), **ids, "duration_ms": took})

    async def _next(self) -> Step | _End | None:
        """What a node tells; None if time is over before."""
        try:
            async with asyncio.timeout(self.watch.seconds_left):
                return await self._told.get()
        except TimeoutError:
            return None

    def _begin(self, node: Node) -> Step:
        run = self.watch.run
        caller = Caller(run.who, run.id, self.prompt.agent.name, run.depth, run.trace.traceparent)
        task = _Task(Below.begin(self.crew[node.agent].agent, self.prompt, run, caller), now())
        self._at_work[node.id] = task
        task.doing = asyncio.get_running_loop().create_task(self._carry_out(node, task.below))
        return self._step("node_started", node, {"objective": node.objective, "run": task.below.run.id})

    async def _carry_out(self, node: Node, below: Below) -> None:
        """One node, to its end; whatever goes wrong is its result."""
        end = _End(node, "", "A fault of the gateway itself. (internal_error)")
        try:
            async with aclosing(below.follow(self._messages(node, below), self.deps, self.steer)) as events:
                async for event in events:
                    for progress in progress_of(event):
                        self._told.put_nowait(self._step("node_progress", node, progress))
            result = below.result
            end = _End(node, "", result.text) if result.failed else _End(node, self._bounded(result.text))
        except HeadgateError as error:
            end = _End(node, "", f"{error.message} ({error.code})")
        except Exception:
            log.exception("node %s of run %s failed", node.id, self.watch.run.id)
        self._told.put_nowait(end)

    def _messages(self, node: Node, below: Below) -> list[dict[str, Any]]:
        one, messages = self.crew[node.agent], self.prompt.messages
        guard = _guard(one.agent.model or one.agent.name, below.run, self.deps)
        found = [self.results[id_] for id_ in node.depends_on]
        task = task_of(node, self._bounded(last_words(messages)), found, guard)
        return [*shown(messages, one.history), {"role": "user", "content": task}]

    def _bounded(self, text: str) -> str:
        return bounded(text, self.deps.orchestrator.settings.result_characters)

    def _ended(self, end: _End) -> list[Step]:
        """A node is over, and with it, if it failed, all that build on it."""
        node, task = end.node, self._at_work.pop(end.node.id)
        more = {"run": task.below.run.id, "duration_ms": task.milliseconds}
        skipped = self.schedule.end(node.id, well=not end.error)
        spent = total_tokens(task.below.run)
        if not end.error:
            self.results[node.id] = Result(node, "completed", end.text)
            return [self._step("node_completed", node, {**more, "result": end.text}, tokens=spent)]
        self.results[node.id] = Result(node, "failed", end.error)
        steps = [self._step("node_failed", node, more, end.error, spent)]
        for one in skipped:
            missing = ", ".join(f"'{id_}'" for id_ in self.schedule.missing(one))
            steps.append(self._skipped(one, f"It builds on {missing}, which gave nothing."))
        return steps

    def _skipped(self, node: Node, why: str) -> Step:
        self.results[node.id] = Result(node, "skipped", why)
        return self._step("node_skipped", node, {"duration_ms": 0}, why)

    async def _out_of_time(self) -> AsyncGenerator[Step]:
        """End what is at work, and tell what ended by itself meanwhile."""
        await self._end_all(RunCancelled("The time of the run above it is over."))
        while not self._told.empty():
            told = self._told.get_nowait()
            for step in [told] if isinstance(told, Step) else self._ended(told):
                yield step
        for id_ in list(self._at_work):
            node = next(one for one in self.plan.nodes if one.id == id_)
            for step in self._ended(_End(node, "", _TIME_IS_OVER)):
                yield step

    async def _end_all(self, why: HeadgateError | None = None) -> None:
        """Nothing is at work after this. `why` is kept with the runs that were; else they end as the one above them."""
        tasks = []
        for task in self._at_work.values():
            assert task.doing is not None
            task.below.run.stopped_by = why or self.watch.run.stopped_by
            task.doing.cancel()
            tasks.append(task.doing)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _step(
        self, type_: Any, node: Node, more: Mapping[str, Any], error: str | None = None, tokens: Tokens | None = None
    ) -> Step:
        """`iteration` is the node's place in the plan."""
        at = self.plan.nodes.index(node) + 1
        return Step(type_, at, {"node": node.id, "agent": node.agent, **more}, error, tokens)
