"""Ollama's native API, for clients that speak no other: a facade over chats and embeddings, in Ollama's words.

Its calls go through the same pipeline as those of OpenAI's API. It keeps no models: nothing is pulled, made or deleted.
"""

import asyncio
import base64
import hashlib
import struct
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from headgate.agents.types import AgentSettings
from headgate.api.agents import agent_entry, agent_for, usable_agents
from headgate.api.answers import json_answer
from headgate.api.gate import Gate, Scope
from headgate.api.info import described
from headgate.api.lists import Lists
from headgate.api.models import entry_of, usable
from headgate.api.relay import ModelRoute
from headgate.core.chat import ChatEvent, Ended
from headgate.core.errors import InvalidField, MissingField, UpstreamGarbled
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.request import JsonRequest, ModelRequest, parse_json, read_object
from headgate.core.run import Run, now
from headgate.core.surfaces import CHAT, EMBEDDINGS
from headgate.core.version import __version__
from headgate.dialects import chat_reader, chat_request, ollama_writer
from headgate.dialects.ollama_request import streams
from headgate.dialects.table import FACADES
from headgate.dialects.types import Writer
from headgate.identity.access import refuse_model
from headgate.pipeline.context import Deps
from headgate.pipeline.run import execute
from headgate.pipeline.translate import writer_for
from headgate.routing.types import Model

SPOKEN = "0.13.0"
"""The version of Ollama whose API this is; clients ask for a least one."""
_JSON = b"application/json; charset=utf-8"
_LATEST = ":latest"
_KEPT = "Models are those of the configuration, which names and removes them"
REMEDIES = {
    "/api/pull": f"{_KEPT}: nothing has to be pulled. GET /api/tags lists what there is.",
    "/api/push": f"{_KEPT}: nothing can be pushed.",
    "/api/create": f"{_KEPT}. A model with a prompt of its own is an agent.",
    "/api/copy": f"{_KEPT}. Another name for a model is an alias.",
    "/api/delete": f"{_KEPT}.",
    "/api/blobs/{digest:path}": f"{_KEPT}: it keeps no files of them.",
}
"""What is not had here, and what to do instead, by the pattern of the path."""


class LoadRequest(JsonRequest):
    """A request without a prompt: it asks to load a model, or to let it go, and no model is called."""


class OllamaChat(ModelRoute):
    """A chat, or a prompt alone, in Ollama's words; the same as a chat completion."""

    def __init__(self, gate: Gate, dialect: str, asks: str) -> None:
        """`asks`: the field without which nothing is asked of the model."""
        super().__init__(CHAT, gate)
        self.dialect = dialect
        self._asks = asks

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        """The same as a chat completion."""
        fields = read_object(raw)
        fields["model"] = _meant(fields, self._gate)
        if not fields.get(self._asks):
            unloads = fields.get("keep_alive") in (0, "0", "0s")
            return LoadRequest(CHAT, raw, {"unloads": unloads}, fields["model"], stream=False, wants_usage=False)
        rendered = chat_request.render(FACADES[self.dialect].parse(fields))
        run.lost = rendered.lost
        request = parse_json(CHAT, orjson.dumps(rendered.fields))
        request.stream = streams(fields)
        return request

    def story(self, request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
        return self._load(request, run, deps) if isinstance(request, LoadRequest) else self._chat(request, run, deps)

    async def _load(self, request: LoadRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
        model = await deps.catalog.find(request.model) if not _is_agent(request.model, self._gate) else None
        refuse_model(run.who, request.model, *(model.known_as if model else ()))
        generates = self.dialect == "ollama-generate"
        yield Whole(ollama_writer.loaded(request.model, generates=generates, unloads=request.fields["unloads"]), _JSON)

    async def _chat(self, request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
        """Events of agents go their way; what is relayed is read as a chat and written anew."""
        answer = _Answer(writer_for(self.dialect, {}, run, usage=True), run)
        async with aclosing(execute(request, run, deps)) as events:
            async for event in events:
                if isinstance(event, bytes):
                    if said := answer.said(event):
                        yield said
                elif isinstance(event, Whole):
                    yield answer.whole(event)
                elif isinstance(event, Opened):
                    run.breaks_off = answer.writer.broken
                    yield Opened(ollama_writer.CONTENT_TYPE, events=True, pour=_nothing)
                    answer.is_open = True
                else:
                    yield event
        if answer.is_open:
            yield answer.end()


class _Answer:
    """A relayed answer in Ollama's words."""

    def __init__(self, writer: Writer, run: Run) -> None:
        self.writer = writer
        self.is_open = False
        self._reader = chat_reader.Reader()
        self._run = run

    def said(self, frames: bytes) -> bytes:
        return b"".join(map(self.writer.feed, self._reader.feed(frames)))

    def whole(self, answer: Whole) -> Whole:
        for event in self._reader.whole(answer.body):
            self.writer.feed(event)
        self.end()
        return Whole(self.writer.end(), _JSON)

    def end(self) -> bytes:
        reader, attempts = self._reader, self._run.attempts
        said = b"".join(map(self.writer.feed, (*reader.finish(), *reader.answer.calls)))
        tokens = attempts[-1].tokens if attempts else None
        return said + self.writer.feed(Ended(reader.answer.finish, "", tokens, reader.answer.beside))


async def _nothing(sink: Sink, room: Room) -> None:
    """Nothing can be pushed: every piece has to be read first."""


class OllamaEmbed(ModelRoute):
    """Embeddings in Ollama's words."""

    def __init__(self, gate: Gate, *, single: bool) -> None:
        """`single`: of one prompt, as `/api/embeddings` has it, which came before `/api/embed`."""
        super().__init__(EMBEDDINGS, gate)
        self.dialect = "ollama"
        self._asks = "prompt" if single else "input"

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        """The same as an embedding of OpenAI's."""
        fields = read_object(raw)
        given = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
        if self._asks not in given:
            raise MissingField(f"The field '{self._asks}' is required.", param=self._asks)
        made = {"model": _meant(fields, self._gate), "input": given[self._asks], "encoding_format": "float"}
        if "dimensions" in given:
            made["dimensions"] = given["dimensions"]
        run.lost = tuple(name for name in given if name not in ("model", self._asks, "dimensions"))
        return parse_json(EMBEDDINGS, orjson.dumps(made))

    async def story(self, request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
        async with aclosing(execute(request, run, deps)) as events:
            async for event in events:
                yield Whole(self._written(event, run), _JSON) if isinstance(event, Whole) else event

    def _written(self, answer: Whole, run: Run) -> bytes:
        vectors = _vectors(answer.body)
        if self._asks == "prompt":
            return orjson.dumps({"embedding": vectors[0]})
        tokens = run.attempts[-1].tokens
        took = round((now() - run.started) * 1e9)
        return ollama_writer.embedded(vectors, run.model or "", tokens.prompt if tokens else 0, took)


def _vectors(body: bytes) -> list[list[float]]:
    """The vectors in order; some providers send base64 whatever they are asked for."""
    try:
        data = sorted(orjson.loads(body)["data"], key=lambda one: one.get("index", 0))
        vectors = [_vector(one["embedding"]) for one in data]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError, struct.error):
        vectors = []
    if not vectors:
        raise UpstreamGarbled("The provider's answer holds no embeddings.")
    return vectors


def _vector(told: Any) -> list[float]:
    if isinstance(told, str):
        packed = base64.b64decode(told)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    return list(told)


def _meant(fields: Mapping[str, Any], gate: Gate) -> str:
    """The model's name. Ollama's clients may write `:latest` behind a name that has no tag."""
    name = fields.get("model") or fields.get("name")
    if not name:
        raise MissingField("The field 'model' is required.", param="model")
    if not isinstance(name, str):
        raise InvalidField("The field 'model' must be a string.", param="model")
    plain = name.removesuffix(_LATEST)
    return plain if plain != name and not _is_known(name, gate) and _is_known(plain, gate) else name


def _is_known(name: str, gate: Gate) -> bool:
    return _is_agent(name, gate) or gate.deps.catalog.configured(name) is not None


def _is_agent(name: str, gate: Gate) -> bool:
    return gate.deps.agents is not None and gate.deps.agents.find(name) is not None


async def version(request: Request, gate: Gate) -> Response:
    """The version of Ollama whose API is spoken here."""
    return json_answer({"version": SPOKEN, "headgate": __version__})


async def tags(request: Request, gate: Gate) -> Response:
    """All models and agents that the key may use, as Ollama lists what it has."""
    agents = [_listed(agent_entry(one), "agent") for one in usable_agents(request.scope["who"], gate)]
    models = [_listed(entry_of(model), "") for model in await usable(request, gate) if "*" not in model.name]
    return json_answer({"models": agents + models})


async def running(request: Request, gate: Gate) -> Response:
    """Models that are loaded: none, for the gateway loads none itself."""
    return json_answer({"models": []})


async def show(request: Request, gate: Gate) -> Response:
    """What a model can do."""
    name = _meant(read_object(await request.body()), gate)
    who = request.scope["who"]
    if _is_agent(name, gate):
        agent = agent_for(name, who, gate)
        model = gate.deps.catalog.configured(agent.model or agent.name)
        return json_answer(await asyncio.to_thread(_shown, name, model, gate.lists, agent))
    model = await gate.deps.catalog.find(name)
    refuse_model(who, name, *model.known_as)
    return json_answer(await asyncio.to_thread(_shown, name, model, gate.lists, None))


def _listed(entry: Mapping[str, Any], family: str) -> dict[str, Any]:
    name = entry["id"]
    digest = hashlib.sha256(name.encode()).hexdigest()
    seen = {"modified_at": entry["created_at"], "size": 0, "digest": digest}
    return {"name": name, "model": name, **seen, "details": _details(family)}


def _details(family: str) -> dict[str, Any]:
    families = [family] if family else []
    said = {"parent_model": "", "format": "", "family": family, "families": families}
    return {**said, "parameter_size": "", "quantization_level": ""}


def _shown(name: str, model: Model | None, lists: Lists, agent: AgentSettings | None) -> dict[str, Any]:
    """What is not known to be absent is offered, where clients would else not let their user try it."""
    known = described(model, model.targets[0], lists) if model is not None else None
    family = (known.family if known else None) or ("agent" if agent else "")
    can = ["embedding"] if known and known.mode == "embedding" else ["completion"]
    if can == ["completion"] and not (known and known.tools is False):
        can.append("tools")
    if known and "image" in (known.input or ()):
        can.append("vision")
    if known and known.reasoning:
        can.append("thinking")
    info: dict[str, Any] = {"general.architecture": family or "headgate", "general.basename": name}
    if known and known.context_window:
        info[f"{info['general.architecture']}.context_length"] = known.context_window
    return {
        "license": (known.license if known else None) or "",
        "modelfile": "",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(family),
        "model_info": info,
        "capabilities": can,
        "modified_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(agent.created if agent else 0)),
    }
