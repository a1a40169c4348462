"""What a caller asks of the gateway itself, beside the request for the model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wishes:
    """How this one request is to be routed; None and empty where the caller said nothing.

    `timeout`: seconds until the answer is there, or begins if it is a stream. `retries`: further tries per target.
    `tags` choose among targets. `session` keeps requests on one target. `fallbacks` replace the configured ones.
    """

    timeout: float | None = None
    retries: int | None = None
    tags: frozenset[str] = frozenset()
    session: str | None = None
    fallbacks: tuple[str, ...] | None = None


NOTHING = Wishes()
