"""One control route: its URL, what answers there, and what a caller must have."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.gate import Gate
from headgate.api.relay import ModelRoute

Handler = Callable[[Request, Gate], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One control route. `logged`: it leaves a line in the request log. `needs`: the scope that the key must have."""

    path: str
    handler: Handler | ModelRoute
    """A model route looks after keys and errors itself."""
    methods: tuple[str, ...] = ("GET",)
    public: bool = False
    logged: bool = False
    needs: str = ""
    litellm: bool = False
    """Its errors have LiteLLM's types."""
    dialect: str = ""
    """The words of its errors, if not OpenAI's."""
