"""The settings section of conversations."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SecondTurnPolicy = Literal["reject", "enqueue", "interrupt"]


class ConversationSettings(BaseModel):
    """How stored conversations go on."""

    model_config = ConfigDict(extra="forbid")

    second_turn: SecondTurnPolicy = Field(
        "reject",
        description="What happens to a turn of a conversation whose last turn is under way: refused with 409 (reject), "
        "made to wait (enqueue), or begun after the one under way was cancelled, of which the text so far is kept "
        "(interrupt).",
    )
    grace_seconds: float = Field(
        15.0,
        ge=0,
        le=3600,
        description="How long a stored stream goes on after its caller left, so that a cut client can come back to it; "
        "0 ends it at once. What the model says meanwhile is paid for.",
    )
    events_kept_seconds: float = Field(
        86_400.0,
        ge=60,
        description="How long the events of a stored run are kept after its end, for clients that were cut; the run's "
        "result stays.",
    )
    wait_seconds: float = Field(
        30.0, gt=0, le=600, description="How long such a turn waits for its turn at most; then it is refused with 409."
    )
