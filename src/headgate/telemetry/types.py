"""Settings of traces, and which traces are kept."""

from collections.abc import Callable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from headgate.core.ids import Trace

Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
_BASED_ON_PARENT = "parentbased_"
_PATH = "/v1/traces"


class TracingSettings(BaseModel):
    """Where traces go and what they tell."""

    model_config = ConfigDict(extra="forbid")

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+",
        description="Address of a collector that speaks OTLP over HTTP, without /v1/traces; no traces without it.",
    )
    enabled: bool = Field(True, description="Off: no traces, whatever the endpoint.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Sent to the collector, such as its key.")
    service_name: str = Field("headgate", min_length=1, description="The name of this gateway in traces.")
    resource: dict[str, str] = Field(default_factory=dict, description="Further attributes of the gateway in traces.")
    sampler: Sampler = Field("parentbased_always_on", description="Which traces are kept, in OpenTelemetry's words.")
    ratio: float = Field(1.0, ge=0, le=1, description="The part of the traces that a ratio sampler keeps.")
    content: Literal["none", "full"] = Field(
        "none", description="full: prompts and answers go to the collector too, without what looks like a key."
    )
    proxy: str | None = Field(None, pattern=r"^http://", description="An HTTP proxy to go through.")
    timeout: float = Field(5.0, gt=0, le=60, description="Seconds that the collector has for one batch.")

    @model_validator(mode="after")
    def _headers_are_lines(self) -> Self:
        for name, value in self.headers.items():
            text = name + value.get_secret_value()
            if not text.isprintable() or not text.isascii():
                raise ValueError(f"the header '{name}' holds characters that no header may hold")
        return self

    @property
    def address(self) -> str:
        """Where spans are posted; empty for nowhere."""
        if self.endpoint is None or not self.enabled:
            return ""
        return self.endpoint.rstrip("/").removesuffix(_PATH) + _PATH


def sampler_of(settings: TracingSettings) -> Callable[[Trace], bool]:
    """Whether a trace is kept. A parent that decided is followed, unless the sampler says otherwise."""
    name = settings.sampler.removeprefix(_BASED_ON_PARENT)
    always = {"always_on": True, "always_off": False}.get(name)
    below = round(settings.ratio * (1 << 64))
    follows = settings.sampler.startswith(_BASED_ON_PARENT)

    def is_kept(trace: Trace) -> bool:
        if follows and trace.parent:
            return trace.is_sampled
        return int(trace.trace_id[16:], 16) < below if always is None else always

    return is_kept
