"""What tools need of the rest of the gateway, handed over by the composition root."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.core.principal import Principal
from headgate.tools.types import Caller

ListModels = Callable[[Principal], Awaitable[Sequence[str]]]
"""The names of models and agents that somebody may use."""
MakeImage = Callable[[Mapping[str, Any], Caller], Awaitable[Mapping[str, Any]]]
"""The fields of a call of the image surface to the provider's answer; on the caller's account. Raises HeadgateError."""


@dataclass(frozen=True, slots=True)
class Ports:
    """None where the gateway does not have it."""

    list_models: ListModels | None = None
    make_image: MakeImage | None = None
