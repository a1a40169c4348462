"""Files of a multipart form as documents: each is converted to text before anything else happens."""

from starlette.requests import Request

from headgate.api.body import read_body
from headgate.api.gate import Gate
from headgate.core import form
from headgate.core.errors import HeadgateError, InvalidField, MissingField
from headgate.knowledge.service import Knowledge
from headgate.knowledge.types import NewDocument

_TEXTS = ("embedding_model",)


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def file_documents(request: Request, gate: Gate, knowledge: Knowledge) -> tuple[list[NewDocument], str | None]:
    """The documents, and the embedding model that the form names; raises InvalidForm, MissingField, InvalidField,
    DocumentTooLong and DocumentUnreadable.
    """
    raw = await read_body(request.receive, dict(request.scope["headers"]), gate.bounds.body)
    parsed = form.parse(raw, request.headers["content-type"])
    for name in parsed.texts:
        if name not in _TEXTS:
            raise InvalidField(f"There is no field '{name[:64]}' here; known: files, embedding_model.", param=name[:64])
    if not parsed.files:
        raise MissingField("The form holds no file.", param="files")
    documents = []
    for number, one in enumerate(parsed.files):
        start, end = one.span
        try:
            documents.append(await knowledge.read(raw[start:end], one.name, one.content_type))
        except HeadgateError as error:
            error.param = f"files[{number}]"
            raise
    return documents, parsed.texts.get("embedding_model")
