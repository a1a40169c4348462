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
    wait_seconds: float = Field(
        30.0, gt=0, le=600, description="How long such a turn waits for its turn at most; then it is refused with 409."
    )
