"""Models and their targets: as set in the configuration and as used at run time."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


class TargetSettings(BaseModel):
    """One place where a model's calls may go."""

    model_config = ConfigDict(extra="forbid")

    upstream: str = Field(description="Name of an upstream.")
    model: str = Field(pattern=_PRINTABLE, description="The provider's own id of the model.")


class ConstraintSettings(BaseModel):
    """What a model cannot do."""

    model_config = ConfigDict(extra="forbid")

    accepts_image_url: bool = Field(True, description="Off: requests with image parts are refused.")


class ModelSettings(BaseModel):
    """A public name with its targets, tried in order."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=_PRINTABLE, max_length=512, description="The name callers use.")
    targets: list[TargetSettings] = Field(min_length=1)
    retries: int = Field(
        2, ge=0, le=10, description="Further tries per target, before the first byte was sent, when another may help."
    )
    constraints: ConstraintSettings = Field(default_factory=ConstraintSettings)


@dataclass(frozen=True, slots=True)
class Target:
    """`upstream` is an upstream's name, `model` the provider's id."""

    upstream: str
    model: str


@dataclass(frozen=True, slots=True)
class Model:
    """A public model. `label` names it in metrics; found models share their upstream's label."""

    name: str
    targets: tuple[Target, ...]
    retries: int = 2
    accepts_image_url: bool = True
    owned_by: str = "headgate"
    label: str = ""
