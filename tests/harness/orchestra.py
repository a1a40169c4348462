"""Several agents that share a request: settings for a gateway, and a provider that plays each part as scripted."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from tests.harness.gateway import Gateway
from tests.harness.stub import USAGE, Answer, Recorded, Stub, chat, chunk, stream

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/events.schema.json").read_text())
PRICE = {"input": "1.5", "output": "6"}
ORCHESTRATE = {"x-routing-mode": "orchestration"}
QUESTION = [
    {"role": "system", "content": "Answer in French."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Bonjour."},
    {"role": "user", "content": "Compare oats and rye."},
]


def settings(stub: Stub, orchestration: Mapping[str, Any] | None = None, **agents: dict[str, Any]) -> dict[str, Any]:
    """Agents by name, each with the model `small`; the provider is told which agent asks by its prompt."""
    targets = {"targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0, "price": PRICE}
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [
            {"name": "small", **targets, "groups": ["grains"]},
            {"name": "wise", **targets, "targets": [{"upstream": "stub", "model": "stub-wise"}]},
        ],
        "agents": [
            {"name": name, "model": "small", "system_prompt": f"You are {name}.", **fields}
            for name, fields in agents.items()
        ],
        "strategies": {"orchestration": dict(orchestration or {})},
    }


def node(id_: str, agent: str = "small", *depends_on: str, objective: str = "") -> dict[str, Any]:
    return {"id": id_, "agent": agent, "objective": objective or f"Do {id_}.", "depends_on": list(depends_on)}


def plan(*nodes: dict[str, Any], reason: str = "Two pieces.") -> Answer:
    return chat(json.dumps({"reason": reason, "nodes": nodes}))


def part_of(request: Recorded) -> str:
    """Whose call it is: `planner`, `answer`, a piece's id, or an agent that is asked in another way."""
    messages = request.json["messages"]
    first, last = str(messages[0]["content"]), str(messages[-1]["content"])
    if "You divide a request among agents" in first:
        return "planner"
    if "Several agents worked on pieces of it" in last:
        return "answer"
    told = next((str(one["content"]) for one in messages if "Your piece of the work:" in str(one["content"])), "")
    if told:
        return told.partition("Do ")[2].partition(".")[0]
    return first.removeprefix("You are ").partition(".")[0]


Script = Answer | list[Answer] | Callable[[Recorded], Answer]


def playing(**parts: Script) -> Callable[[Recorded], Answer]:
    """What the model says in each part: always, in order (the last again and again), or as a function says.

    Whoever has no script says its part's name, and the answer is `Whole answer.`, both with usage.
    """

    def play(request: Recorded) -> Answer:
        part = part_of(request)
        script = parts.get(part)
        if callable(script):
            return script(request)
        if isinstance(script, list):
            return script.pop(0) if len(script) > 1 else script[0]
        if script is not None:
            return script
        text = "Whole answer." if part == "answer" else f"Found by {part}."
        return spoken(text) if request.json.get("stream") else chat(text)

    return play


def spoken(text: str) -> Answer:
    """The text word by word, with usage at the end."""
    words = [chunk({"content": word}) for word in text.replace(" ", "| ").split("|")]
    return stream([*words, chunk({}, "stop"), chunk(usage=USAGE), b"data: [DONE]\n\n"])


def calls(stub: Stub, part: str) -> list[dict[str, Any]]:
    """The requests of one part."""
    return [one.json for one in stub.calls if part_of(one) == part]


def chunks_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]


def events_in(text: str) -> list[dict[str, Any]]:
    """The events of a stream; each has its published shape."""
    deltas = [one["choices"][0]["delta"] for one in chunks_of(text) if one.get("choices")]
    events = [delta["reasoning_event"] for delta in deltas if "reasoning_event" in delta]
    for one in events:
        check(one)
    return events


def check(event: Any) -> None:
    told = {"$ref": "#/$defs/reasoning_event", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(told).validate(event)


def text_in(text: str) -> str:
    choices = [one["choices"][0] for one in chunks_of(text) if one.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def shapes(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(type, node) of each."""
    return [(one["type"], one["metadata"].get("node", "")) for one in events]


async def ask(gateway: Gateway, *, streamed: bool = True, model: str = "small", **fields: Any) -> Any:
    """The response to the question."""
    body = {"model": model, "messages": QUESTION, "stream": streamed, **fields}
    headers = ORCHESTRATE if model == "small" else {}
    return await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
