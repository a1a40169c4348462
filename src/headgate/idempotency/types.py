"""Answers that are kept for repeats, as values; and the settings section."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

Ending = Literal["kept", "dropped", "too_large"]
Headers = list[tuple[bytes, bytes]]


class IdempotencySettings(BaseModel):
    """What is done with calls that carry an `Idempotency-Key`."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(True, description="Whether the header means anything; without, every call is a new one.")
    keep_seconds: float = Field(
        86_400.0, gt=0, le=2_592_000, description="How long an answer is kept for repeats, from its end on."
    )
    max_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Room on disk for all kept answers; the oldest make way for new ones."
    )
    max_answer_bytes: int = Field(16 << 20, ge=1024, description="A larger answer is given once and not kept.")


class Head(NamedTuple):
    """Of whom the answer is: the run's id, and a hash of all that was asked."""

    run: str
    asked: str


class Started(NamedTuple):
    """How the answer begins on the wire. `label` is the model's name in metrics."""

    status: int
    headers: Headers
    label: str


class Ended(NamedTuple):
    """`outcome` is the run's. `is_whole`: the answer reached its end, be it a good one or an error."""

    ending: Ending
    outcome: str = "ok"
    is_whole: bool = True


@dataclass(slots=True)
class MakerGone(Exception):
    """Whoever made the answer died over it."""


class Answer(Protocol):
    """A recorded answer, or one that is being recorded, here or in another process."""

    head: Head
    ended: Ended | None

    def events(self) -> AsyncGenerator[Started | bytes]:
        """All of it from its first byte on, followed until `ended` is set; raises MakerGone."""

    def close(self) -> None:
        """Let go of files."""
