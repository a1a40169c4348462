"""Knowledge: indices, their documents, and what is found in them. Whoever asks is a tenant, and sees its own.

An index is addressed by its name or its id. What is another tenant's is not found. Verbs that need vectors are handed
`embed`, which calls the model on the account of whoever asks.
"""

from collections.abc import Sequence

from headgate.knowledge.types import (
    ANY_STATE,
    Chunking,
    Document,
    Embed,
    Expected,
    Found,
    Index,
    Mode,
    NewDocument,
    Replaced,
)


class Knowledge:
    """Raises IndexNotFound, DocumentNotFound, DatabaseUnavailable; further errors are named at the verbs."""

    async def indices(self, tenant: str) -> list[Index]:
        """All of a tenant's, by name."""
        raise NotImplementedError

    async def create(
        self,
        tenant: str,
        name: str,
        *,
        mode: Mode | None = None,
        embedding_model: str | None = None,
        chunking: Chunking | None = None,
    ) -> Index:
        """A new one. Raises AlreadyExists, InvalidField, IndexFull. What is not given is taken from the settings."""
        raise NotImplementedError

    async def index(self, tenant: str, index: str) -> Index:
        raise NotImplementedError

    async def drop(self, tenant: str, index: str, version: int | None = None) -> Index:
        """Take an index away with all its documents; raises IndexChanged where it is not of this version any more."""
        raise NotImplementedError

    async def replace(
        self, tenant: str, index: str, documents: Sequence[NewDocument], embed: Embed, version: int | None = None
    ) -> Replaced:
        """Put these documents in the place of all that are there, which are searched until that is done."""
        raise NotImplementedError

    async def add(self, tenant: str, index: str, document: NewDocument, embed: Embed) -> Document:
        """A further document; raises AlreadyExists where its id is taken."""
        raise NotImplementedError

    async def documents(self, tenant: str, index: str, limit: int = 20, after: str = "") -> list[Document]:
        """In the order of their ids, one more than `limit` where there are more; `after` is the id of the last seen."""
        raise NotImplementedError

    async def document(self, tenant: str, index: str, document: str) -> Document:
        """With its text."""
        raise NotImplementedError

    async def update(
        self, tenant: str, index: str, document: NewDocument, embed: Embed, expected: Expected = ANY_STATE
    ) -> Document:
        """Put a document in the place of the one with its id; raises DocumentChanged if that is not as expected, or
        if somebody else changed it meanwhile.
        """
        raise NotImplementedError

    async def remove(self, tenant: str, index: str, document: str, expected: Expected = ANY_STATE) -> Document:
        """Take a document away; raises DocumentChanged."""
        raise NotImplementedError

    async def query(
        self,
        tenant: str,
        indices: Sequence[str],
        text: str,
        embed: Embed,
        *,
        top_k: int | None = None,
        mode: Mode | None = None,
    ) -> Found:
        """The passages of these indices that are nearest to a text; without a mode, each index is asked in its own."""
        raise NotImplementedError

    async def reindex(
        self,
        tenant: str,
        index: str,
        embed: Embed,
        *,
        mode: Mode | None = None,
        embedding_model: str | None = None,
        chunking: Chunking | None = None,
    ) -> Index:
        """Cut and embed everything anew; until that is done, the index answers as before."""
        raise NotImplementedError
