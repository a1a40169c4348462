"""The kinds of API a model can be called through, as rows. A surface is the same on the way in and on the way out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """One kind of call: its path below the base URL and how its answers look.

    `required` are body fields without which no provider can answer. `form`: the body is a multipart form.
    `ends_with_done`: its streams end with `data: [DONE]`. `reports_usage`: its streams report usage when asked.
    `generates`: a model writes text for as long as it likes. `dialect`: the words in which the call is a chat with a
    model, which can be said in another dialect too; empty for calls that are none. `forwards`: headers of the caller's
    for a provider that is called in the same words.
    `may_be_binary`: its answers need not be JSON.
    `default_model`: what the provider assumes when the caller names no model.
    """

    name: str
    path: str
    required: tuple[str, ...] = ()
    form: bool = False
    streams: bool = False
    ends_with_done: bool = False
    reports_usage: bool = False
    may_be_binary: bool = False
    default_model: str | None = None
    generates: bool = False
    dialect: str = ""
    forwards: tuple[bytes, ...] = ()

    @property
    def obeys_stream(self) -> bool:
        """Whether its answer is a stream of events exactly when one was asked for."""
        return self.ends_with_done or bool(self.dialect)


CHAT = Surface(
    "chat",
    "/chat/completions",
    ("messages",),
    streams=True,
    ends_with_done=True,
    reports_usage=True,
    generates=True,
    dialect="chat",
)
COMPLETIONS = Surface(
    "completions", "/completions", ("prompt",), streams=True, ends_with_done=True, reports_usage=True, generates=True
)
MESSAGES = Surface(
    "messages",
    "/messages",
    ("messages",),
    streams=True,
    generates=True,
    dialect="messages",
    forwards=(b"anthropic-version", b"anthropic-beta"),
)
COUNT_TOKENS = Surface("count_tokens", "/messages/count_tokens", ("messages",), forwards=MESSAGES.forwards)
"""Asks how many tokens a request of MESSAGES has; no model answers it."""
RESPONSES = Surface("responses", "/responses", streams=True, generates=True, dialect="responses")
COMPACTION = Surface("compaction", "/responses/compact", generates=True, dialect="compaction")
EMBEDDINGS = Surface("embeddings", "/embeddings", ("input",))
MODERATIONS = Surface("moderations", "/moderations", ("input",), default_model="omni-moderation-latest")
RERANK = Surface("rerank", "/rerank", ("query", "documents"))
SPEECH = Surface("speech", "/audio/speech", ("input",), streams=True, may_be_binary=True)
TRANSCRIPTIONS = Surface("transcriptions", "/audio/transcriptions", form=True, streams=True, may_be_binary=True)
TRANSLATIONS = Surface("translations", "/audio/translations", form=True, may_be_binary=True)
IMAGES = Surface("images", "/images/generations", ("prompt",), streams=True)
IMAGE_EDITS = Surface("image_edits", "/images/edits", form=True, streams=True)
IMAGE_VARIATIONS = Surface("image_variations", "/images/variations", form=True)

SURFACES = (
    CHAT,
    COMPLETIONS,
    RESPONSES,
    COMPACTION,
    MESSAGES,
    EMBEDDINGS,
    MODERATIONS,
    RERANK,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    IMAGES,
    IMAGE_EDITS,
    IMAGE_VARIATIONS,
)
