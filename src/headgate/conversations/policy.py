"""How conversations are compacted: as set for all, and as wished for one model, agent or conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["none", "trim", "compact"]
MODES: tuple[Mode, ...] = ("none", "trim", "compact")


class CompactionWishes(BaseModel):
    """What is to hold for one of many; what is not set is taken from above."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode | None = Field(None, description="none, trim or compact.")
    at: float | None = Field(None, gt=0, le=1, description="Share of the room at which it begins.")
    keep_turns: int | None = Field(None, ge=1, le=1000, description="Last turns that stay word by word.")
    user_text_tokens: int | None = Field(None, ge=0, description="Tokens of the user's earlier words that stay.")
    model: str | None = Field(None, description="The model that writes the summary.")
    read_history: bool | None = Field(None, description="Whether the model can read what was covered.")


class CompactionSettings(BaseModel):
    """What becomes of stored conversations that grow too long for their model."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode = Field(
        "compact",
        description="compact: a summary takes the place of what is old. trim: a note does, without a call of a model. "
        "none: nothing happens, until the provider refuses.",
    )
    at: float = Field(
        0.8, gt=0, le=1, description="Share of the context window, without the room of the answer, at which it begins."
    )
    keep_turns: int = Field(2, ge=1, le=1000, description="Last turns that stay word by word.")
    user_text_tokens: int = Field(
        20_000, ge=0, description="Tokens of the user's earlier words that stay too, at most a quarter of the room."
    )
    model: str | None = Field(None, description="The model that writes the summary; the conversation's own if unset.")
    summary_tokens: int = Field(2000, ge=100, description="How long a summary may be.")
    seconds: float = Field(120.0, gt=0, description="How long the model may take for a summary.")
    read_history: bool | None = Field(
        None, description="Whether a model can read what was covered, by the tool `read_history`; unset: agents can."
    )

    def policy(self) -> "Policy":
        """The same as a policy."""
        return Policy(**{name: value for name in _NAMES if (value := getattr(self, name)) is not None})


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one conversation. Lengths in tokens. `model` is empty for the conversation's own."""

    mode: Mode = "compact"
    at: float = 0.8
    keep_turns: int = 2
    user_text_tokens: int = 20_000
    model: str = ""
    summary_tokens: int = 2000
    seconds: float = 120.0
    read_history: bool | None = None


_NAMES = tuple(one.name for one in fields(Policy))


def policy_of(usual: Policy, *wishes: Mapping[str, Any]) -> Policy:
    """What holds for all with what is wished for; of two wishes the later one holds."""
    wished: dict[str, Any] = {}
    for wish in wishes:
        wished.update({name: value for name, value in wish.items() if value is not None and name in _NAMES})
    return replace(usual, **wished) if wished else usual


def narrowed(policy: Policy, mode: Mode | None, at: float | None) -> Policy:
    """The policy within what a tenant allows."""
    if mode is None and at is None:
        return policy
    least = min(policy.mode, mode or policy.mode, key=MODES.index)
    lowest = min(policy.at, at if at is not None else policy.at)
    if (least, lowest) == (policy.mode, policy.at):
        return policy
    values = {name: getattr(policy, name) for name in _NAMES}
    return Policy(**{**values, "mode": least, "at": lowest})
