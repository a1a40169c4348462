"""Errors of knowledge; branches of the tree in `errors.py`."""

from headgate.core.errors import HeadgateError, Invalid, NotFound


class IndexNotFound(NotFound):
    code = "index_not_found"
    title = "No index of this name or id, or another tenant's"
    remedy = "Take a name from `GET /a1/rag/indices`, with a key of the same tenant."
    typical_param = "index"


class DocumentNotFound(NotFound):
    code = "document_not_found"
    title = "The index has no such document"
    remedy = "Take an id from `GET /a1/rag/indices/{id}/documents`."
    typical_param = "document"


class DocumentChanged(HeadgateError):
    code = "document_changed"
    status = 409
    type = "conflict"
    title = "The document is not as it was expected to be, or somebody else changed it meanwhile"
    remedy = "Get the document again, and make the change to what it is now."
    typical_param = "version"
    should_retry = False


class IndexChanged(HeadgateError):
    code = "index_changed"
    status = 409
    type = "conflict"
    title = "The index is not of the expected version any more, or was embedded anew meanwhile"
    remedy = "Get the index again, and decide anew."
    typical_param = "version"
    should_retry = False


class IndexFull(HeadgateError):
    code = "index_full"
    status = 409
    type = "conflict"
    title = "There are as many indices, documents or chunks as there may be"
    remedy = "Delete some, or have the bound raised in the settings under `knowledge`."
    should_retry = False


class EmbeddingMismatch(HeadgateError):
    code = "embedding_mismatch"
    status = 409
    type = "conflict"
    title = "The index was embedded by another model, or its vectors have other dimensions"
    remedy = "Use the index's own model; or embed it anew with `POST /a1/rag/indices/{id}/reindex`."
    typical_param = "embedding_model"
    should_retry = False


class EmbeddingModelMissing(Invalid):
    code = "embedding_model_missing"
    title = "Finding by meaning needs an embedding model, and none is named or set"
    remedy = "Name one in `embedding_model`, set `knowledge.embedding_model`, or ask with the mode `keyword`."
    typical_param = "embedding_model"


class VectorsUnavailable(HeadgateError):
    code = "vectors_unavailable"
    status = 503
    type = "unavailable"
    title = "Finding by meaning is not installed here"
    remedy = "Install it with `pip install 'headgate[knowledge]'`; the mode `keyword` works without."
    should_retry = False
