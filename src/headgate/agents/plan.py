"""Who does what in a request that several agents share: a plan of nodes, and which of them may begin when.

Pure: knows no model, no run and no clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from headgate.agents.written import json_in

State = Literal["waiting", "running", "completed", "failed", "skipped"]
_LONGEST_ID = 64
_LONGEST_OBJECTIVE = 8_000
_MOST_PROBLEMS = 20
_MOST_SHOWN = 80
"""Characters of what a model wrote in place of a name, where it is told back."""


class Node(NamedTuple):
    """A piece of the work. `agent` is the agent's own name; it begins when all nodes of `depends_on` are completed."""

    id: str
    agent: str
    objective: str
    depends_on: tuple[str, ...] = ()


class AgentPlan(NamedTuple):
    """Nodes in the order in which the model wrote them; every dependency is one of them, and none leads back."""

    nodes: tuple[Node, ...]
    reason: str = ""


class PlanFaulty(ValueError):
    """What was written is no plan that can be carried out; `problems` has a sentence for each fault."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)[:_MOST_PROBLEMS]
        super().__init__(" ".join(self.problems))


def read_plan(text: str, agents: Iterable[str], most: int) -> AgentPlan:
    """The plan that a model wrote for these agents, `most` nodes at the utmost; raises PlanFaulty with all faults."""
    try:
        told = json_in(text)
    except ValueError as error:
        raise PlanFaulty([f"It is not one JSON object: {error}."]) from None
    listed = told.get("nodes") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise PlanFaulty(["There is no list 'nodes'."])
    if not listed:
        raise PlanFaulty(["The list 'nodes' is empty; there must be one node at least."])
    problems: list[str] = []
    if len(listed) > most:
        problems.append(f"There are {len(listed)} nodes; {most} are allowed.")
    called = _by_any_name(agents)
    nodes = [node for at, one in enumerate(listed) if (node := _node(at, one, called, problems)) is not None]
    problems += _misled(nodes)
    if not problems and (ring := _ring(nodes)):
        problems.append(f"Nodes wait for each other: {' -> '.join(ring)}.")
    if problems:
        raise PlanFaulty(problems)
    return AgentPlan(tuple(nodes), _text(told.get("reason")))


def plan_schema(agents: Iterable[str]) -> dict[str, Any]:
    """The form of a plan for these agents, as a `response_format`."""
    text = {"type": "string"}
    node = _object(
        {
            "id": text,
            "agent": {"type": "string", "enum": list(agents)},
            "objective": text,
            "depends_on": {"type": "array", "items": text},
        }
    )
    schema = _object({"reason": text, "nodes": {"type": "array", "items": node}})
    return {"type": "json_schema", "json_schema": {"name": "plan", "strict": True, "schema": schema}}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _by_any_name(agents: Iterable[str]) -> dict[str, str]:
    """Each agent by its own name and, where that means no other, by the name with or without `augmented/`."""
    own = {name: name for name in agents}
    short = {name.removeprefix("augmented/"): name for name in own}
    long = {f"augmented/{name}": name for name in own if not name.startswith("augmented/")}
    return {**long, **short, **own}


def _node(at: int, told: Any, called: Mapping[str, str], problems: list[str]) -> Node | None:
    """One node; what is wrong with it is added to the problems."""
    if not isinstance(told, dict):
        problems.append(f"Node number {at + 1} is no object.")
        return None
    id_, objective = _name(told.get("id")), _text(told.get("objective"))
    here = f"node '{_short(id_)}'" if id_ else f"node number {at + 1}"
    if not id_:
        problems.append(f"The {here} has no id.")
    elif len(id_) > _LONGEST_ID:
        problems.append(f"The id of {here} is longer than {_LONGEST_ID} characters.")
    if not objective:
        problems.append(f"The {here} has no objective.")
    elif len(objective) > _LONGEST_OBJECTIVE:
        problems.append(f"The objective of {here} is longer than {_LONGEST_OBJECTIVE} characters.")
    wanted = _text(told.get("agent"))
    if wanted not in called:
        known = ", ".join(sorted(set(called.values())))
        problems.append(f"The {here} has the unknown agent '{_short(wanted)}'; there are {known}.")
    listed = told.get("depends_on")
    if listed is not None and not isinstance(listed, list):
        problems.append(f"In {here}, 'depends_on' is no list.")
        listed = []
    depends_on = tuple(dict.fromkeys(_name(one) for one in listed or ()))
    return Node(id_, called.get(wanted, wanted), objective, depends_on)


def _misled(nodes: list[Node]) -> list[str]:
    """Ids that are taken twice, and dependencies that lead nowhere or to the node itself."""
    known = Counter(node.id for node in nodes)
    twice = [(id_, count) for id_, count in known.items() if count > 1 and id_]
    problems = [f"The id '{_short(id_)}' is given to {count} nodes." for id_, count in twice]
    for node in nodes:
        for one in node.depends_on:
            if one == node.id:
                problems.append(f"The node '{_short(node.id)}' depends on itself.")
            elif one not in known or not one:
                problems.append(f"The node '{_short(node.id)}' depends on '{_short(one)}', which is no node.")
    return problems


def _ring(nodes: list[Node]) -> list[str]:
    """The ids of a ring of dependencies, its first one again at the end; empty if there is none."""
    left = {node.id: node.depends_on for node in nodes}
    while free := [id_ for id_, depends_on in left.items() if not any(one in left for one in depends_on)]:
        for id_ in free:
            del left[id_]
    if not left:
        return []
    way = [next(iter(left))]
    while True:
        following = next(one for one in left[way[-1]] if one in left)
        if following in way:
            return [*way[way.index(following) :], following]
        way.append(following)


def _name(value: Any) -> str:
    """Models number their nodes, too."""
    return str(value) if type(value) is int else _text(value)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


@dataclass(slots=True)
class Schedule:
    """Which nodes of a plan are where. `at_once` may run side by side."""

    plan: AgentPlan
    at_once: int
    states: dict[str, State]

    @classmethod
    def of(cls, plan: AgentPlan, at_once: int) -> "Schedule":
        return cls(plan, at_once, {node.id: "waiting" for node in plan.nodes})

    def begin(self) -> list[Node]:
        """Nodes that begin now, in the plan's order."""
        room = self.at_once - sum(state == "running" for state in self.states.values())
        ready = [
            node
            for node in self.plan.nodes
            if self.states[node.id] == "waiting" and all(self.states[one] == "completed" for one in node.depends_on)
        ][: max(room, 0)]
        for node in ready:
            self.states[node.id] = "running"
        return ready

    def end(self, id_: str, *, well: bool) -> list[Node]:
        """A node ended. Gives those that are skipped for that: all that build on it, in the plan's order."""
        self.states[id_] = "completed" if well else "failed"
        skipped: list[Node] = []
        while found := [node for node in self.plan.nodes if self.states[node.id] == "waiting" and self.missing(node)]:
            for node in found:
                self.states[node.id] = "skipped"
            skipped += found
        return [node for node in self.plan.nodes if node in skipped]

    def stop(self) -> list[Node]:
        """Nothing begins any more. Gives those that are skipped for that, in the plan's order."""
        waiting = self.being("waiting")
        for node in waiting:
            self.states[node.id] = "skipped"
        return waiting

    def missing(self, node: Node) -> tuple[str, ...]:
        """Those that it builds on and that gave nothing."""
        return tuple(one for one in node.depends_on if self.states[one] in ("failed", "skipped"))

    def being(self, state: State) -> list[Node]:
        return [node for node in self.plan.nodes if self.states[node.id] == state]
