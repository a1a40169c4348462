"""`/a1/rag`: indices, the documents in them, and queries. They are a tenant's; its keys need `rag:read` or `rag:write`.

What embeds is called on the account of the key that asks, and ends when its caller leaves.
"""

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.body import read_body
from headgate.api.fields import valid
from headgate.api.files import file_documents, is_form
from headgate.api.gate import Gate
from headgate.api.queries import whole_number
from headgate.api.work import at_work
from headgate.core.errors import InvalidField
from headgate.core.knowledge_errors import EmbeddingMismatch
from headgate.core.request import read_object
from headgate.core.run import Run
from headgate.core.state_errors import StateUnavailable
from headgate.identity.scopes import require
from headgate.knowledge.service import Knowledge
from headgate.knowledge.types import Chunking, Document, Embed, Expected, Index, Mode, NewDocument, Passage
from headgate.pipeline.embed import embed_for
from headgate.tools.types import Caller

READ, WRITE = "rag:read", "rag:write"
_MOST_LISTED = 100
_MOST_METADATA = 16_384
_Model = Annotated[str, Field(min_length=1, max_length=512)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Chunking(_Fields):
    size: int | None = None
    overlap: int | None = None
    markdown: bool | None = None


class _How(_Fields):
    mode: Mode | None = None
    embedding_model: _Model | None = None
    chunking: _Chunking | None = None


class _NewIndex(_How):
    name: str


class _NewDocument(_Fields):
    id: str | None = None
    title: str = Field("", max_length=1000)
    source: str = Field("", max_length=2000)
    metadata: dict[str, Any] = Field(default_factory=dict)
    text: str

    @field_validator("metadata")
    @classmethod
    def _is_short(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(metadata)) > _MOST_METADATA:
            raise ValueError(f"holds more than {_MOST_METADATA} bytes")
        return metadata

    def document(self) -> NewDocument:
        return NewDocument(self.text, self.id, self.title, self.source, self.metadata)


class _Added(_NewDocument):
    embedding_model: _Model | None = None


class _Updated(_Added):
    version: int | None = None
    sha256: str | None = None


class _Documents(_Fields):
    documents: list[_NewDocument]
    version: int | None = None
    embedding_model: _Model | None = None


class _Query(_Fields):
    query: str
    top_k: int | None = None
    mode: Mode | None = None
    embedding_model: _Model | None = None


class _QueryOfSeveral(_Query):
    indices: list[str]


async def list_indices(request: Request, gate: Gate) -> Response:
    knowledge, run = _kept_for(request, gate, READ)
    return json_answer({"object": "list", "data": [_index(one) for one in await knowledge.indices(run.who.tenant)]})


async def create_index(request: Request, gate: Gate) -> Response:
    knowledge, run = _kept_for(request, gate, WRITE)
    asked = valid(_NewIndex, await _body(request, gate))
    chunking = _chunking(asked.chunking, knowledge.usual_chunking)
    made = await knowledge.create(
        run.who.tenant, asked.name, mode=asked.mode, embedding_model=asked.embedding_model, chunking=chunking
    )
    return json_answer(_index(made), 201)


async def get_index(request: Request, gate: Gate) -> Response:
    knowledge, run = _kept_for(request, gate, READ)
    return json_answer(_index(await knowledge.index(run.who.tenant, request.path_params["id"])))


async def delete_index(request: Request, gate: Gate) -> Response:
    knowledge, run = _kept_for(request, gate, WRITE)
    gone = await knowledge.drop(run.who.tenant, request.path_params["id"], _version(request))
    told = {"id": gone.id, "name": gone.name, "object": "index.deleted", "deleted": True}
    return json_answer({**told, "doc_count": gone.documents})


async def reindex(request: Request, gate: Gate) -> Response:
    """Cut and embed everything anew, as the body says or as before."""
    knowledge, run = _kept_for(request, gate, WRITE)
    asked = valid(_How, await _body(request, gate, empty=True))

    async def act() -> Response:
        tenant, name = run.who.tenant, request.path_params["id"]
        chunking = _chunking(asked.chunking, (await knowledge.index(tenant, name)).chunking)
        embed = _embed(run, gate)
        how = {"mode": asked.mode, "embedding_model": asked.embedding_model}
        return json_answer(_index(await knowledge.reindex(tenant, name, embed, chunking=chunking, **how)))  # type: ignore[arg-type]

    return await at_work(request, gate, act)


async def list_documents(request: Request, gate: Gate) -> Response:
    knowledge, run = _kept_for(request, gate, READ)
    limit = whole_number(request, "limit", 20, _MOST_LISTED)
    tenant, name = run.who.tenant, request.path_params["id"]
    index = await knowledge.index(tenant, name)
    found = await knowledge.documents(tenant, name, limit, request.query_params.get("after", ""))
    data = [_document(one, index) for one in found[:limit]]
    last = data[-1]["id"] if data else None
    return json_answer({"object": "list", "data": data, "has_more": len(found) > limit, "last_id": last})


async def replace_documents(request: Request, gate: Gate) -> Response:
    """The documents of the body in the place of all that are there; or the files of a form."""
    knowledge, run = _kept_for(request, gate, WRITE)

    async def act() -> Response:
        version = None
        if is_form(request):
            new, model = await file_documents(request, gate, knowledge)
        else:
            asked = valid(_Documents, await _body(request, gate))
            new, version, model = [one.document() for one in asked.documents], asked.version, asked.embedding_model
        tenant, name = run.who.tenant, request.path_params["id"]
        await _refuse_other(knowledge, tenant, name, model)
        done = await knowledge.replace(tenant, name, new, _embed(run, gate), version)
        counts = {"added": done.added, "updated": done.updated, "kept": done.kept, "removed": done.removed}
        return json_answer({"object": "index.replaced", **counts, "index": _index(done.index)})

    return await at_work(request, gate, act)


async def add_documents(request: Request, gate: Gate) -> Response:
    """A further document; or further ones, from the files of a form."""
    knowledge, run = _kept_for(request, gate, WRITE)

    async def act() -> Response:
        if is_form(request):
            new, model = await file_documents(request, gate, knowledge)
        else:
            asked = valid(_Added, await _body(request, gate))
            new, model = [asked.document()], asked.embedding_model
        tenant, name = run.who.tenant, request.path_params["id"]
        index = await _refuse_other(knowledge, tenant, name, model)
        data = [_document(one, index) for one in await knowledge.add_all(tenant, name, new, _embed(run, gate))]
        return json_answer({"object": "list", "data": data} if is_form(request) else data[0], 201)

    return await at_work(request, gate, act)


async def get_document(request: Request, gate: Gate) -> Response:
    """With its text."""
    knowledge, run = _kept_for(request, gate, READ)
    tenant, name = run.who.tenant, request.path_params["id"]
    index = await knowledge.index(tenant, name)
    found = await knowledge.document(tenant, name, request.path_params["document"])
    return json_answer({**_document(found, index), "text": found.text})


async def update_document(request: Request, gate: Gate) -> Response:
    """Another state of a document; with `version` or `sha256` only if that is what it has."""
    knowledge, run = _kept_for(request, gate, WRITE)
    asked = valid(_Updated, await _body(request, gate))
    id_ = request.path_params["document"]
    if asked.id not in (None, id_):
        raise InvalidField("The field 'id' differs from the id in the path; a document keeps its id.", param="id")
    new = NewDocument(asked.text, id_, asked.title, asked.source, asked.metadata)

    async def act() -> Response:
        tenant, name = run.who.tenant, request.path_params["id"]
        index = await _refuse_other(knowledge, tenant, name, asked.embedding_model)
        expected = Expected(asked.sha256, asked.version)
        return json_answer(_document(await knowledge.update(tenant, name, new, _embed(run, gate), expected), index))

    return await at_work(request, gate, act)


async def delete_document(request: Request, gate: Gate) -> Response:
    knowledge, run = _kept_for(request, gate, WRITE)
    expected = Expected(request.query_params.get("sha256"), _version(request))
    tenant, name, id_ = run.who.tenant, request.path_params["id"], request.path_params["document"]
    await knowledge.remove(tenant, name, id_, expected)
    return json_answer({"id": id_, "object": "document.deleted", "deleted": True})


async def query(request: Request, gate: Gate) -> Response:
    """The passages of one index that answer best."""
    knowledge, run = _kept_for(request, gate, READ)
    asked = valid(_Query, await _body(request, gate))
    return await _answered(request, gate, knowledge, run, asked, [request.path_params["id"]])


async def query_several(request: Request, gate: Gate) -> Response:
    """The passages of several indices that answer best, in one order."""
    knowledge, run = _kept_for(request, gate, READ)
    asked = valid(_QueryOfSeveral, await _body(request, gate))
    return await _answered(request, gate, knowledge, run, asked, asked.indices)


async def _answered(
    request: Request, gate: Gate, knowledge: Knowledge, run: Run, asked: _Query, names: list[str]
) -> Response:
    async def act() -> Response:
        tenant = run.who.tenant
        for name in names[: 1 if asked.embedding_model is None else None]:
            await _refuse_other(knowledge, tenant, name, asked.embedding_model)
        embed = _embed(run, gate)
        found = await knowledge.query(tenant, names, asked.query, embed, top_k=asked.top_k, mode=asked.mode)
        return json_answer(
            {"object": "list", "mode": found.mode, "data": [passage_shape(one) for one in found.passages]}
        )

    return await at_work(request, gate, act)


def _kept_for(request: Request, gate: Gate, needed: str) -> tuple[Knowledge, Run]:
    """Let the caller in; raises ScopeMissing, and StateUnavailable where nothing is kept."""
    run: Run = request.scope["run"]
    gate.enter(run, dict(request.scope["headers"]))
    require(run.who, needed, run.who.tenant)
    if gate.deps.knowledge is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    return gate.deps.knowledge, run


async def _body(request: Request, gate: Gate, *, empty: bool = False) -> dict[str, Any]:
    raw = await read_body(request.receive, dict(request.scope["headers"]), gate.bounds.body)
    return {} if empty and not raw else read_object(raw)


def _embed(run: Run, gate: Gate) -> Embed:
    return embed_for(Caller(run.who, run.id, "", run.depth, run.trace.traceparent), gate.deps)


async def _refuse_other(knowledge: Knowledge, tenant: str, name: str, model: str | None) -> Index:
    """The index; raises EmbeddingMismatch where it has another embedding model than the caller means."""
    index = await knowledge.index(tenant, name)
    if model is not None and model != index.embedding_model:
        own = f"'{index.embedding_model}'" if index.embedding_model else "no model, as it is searched by words alone"
        raise EmbeddingMismatch(
            f"The index '{index.name}' is embedded by {own}, not by '{model}'. Leave the field out, or embed the index "
            f"anew: POST /a1/rag/indices/{index.name}/reindex.",
            param="embedding_model",
        )
    return index


def _version(request: Request) -> int | None:
    given = request.query_params.get("version")
    return None if given is None else whole_number(request, "version", 1, 2**53)


def _chunking(asked: _Chunking | None, usual: Chunking) -> Chunking:
    given = asked.model_dump(exclude_none=True) if asked is not None else {}
    return usual._replace(**given)


def _index(index: Index) -> dict[str, Any]:
    return {
        "id": index.id,
        "object": "index",
        "name": index.name,
        "mode": index.mode,
        "embedding_model": index.embedding_model,
        "dimensions": index.dimensions or None,
        "chunking": index.chunking._asdict(),
        "doc_count": index.documents,
        "chunk_count": index.chunks,
        "version": index.version,
        "created_at": index.created_at // 1000,
        "updated_at": index.updated_at // 1000,
    }


def _document(document: Document, index: Index) -> dict[str, Any]:
    return {
        "id": document.id,
        "object": "document",
        "index": index.name,
        "title": document.title,
        "source": document.source,
        "metadata": dict(document.metadata),
        "sha256": document.sha256,
        "bytes": document.bytes,
        "chunk_count": document.chunks,
        "version": document.version,
        "created_at": document.created_at // 1000,
        "updated_at": document.updated_at // 1000,
    }


def passage_shape(passage: Passage) -> dict[str, Any]:
    return {"object": "passage", **asdict(passage), "ranks": passage.ranks._asdict()}
