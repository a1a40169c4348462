"""Every URL of the server, in one list, without bodies; and the application that finds the route of a request.

Model routes are found by one dictionary look-up, for they are the hot path; everything else goes through Starlette.
A route needs a key unless it says that it is public.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Router
from starlette.routing import Route as StarletteRoute

from headgate.api import health, info, model_info, models
from headgate.api.control import ControlRoute, refuse
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.relay import ModelRoute
from headgate.core.errors import MethodNotAllowed, RouteNotFound
from headgate.core.surfaces import SURFACES

Handler = Callable[[Request, Gate], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One control route. `logged`: it leaves a line in the request log."""

    path: str
    handler: Handler
    methods: tuple[str, ...] = ("GET",)
    public: bool = False
    logged: bool = False


def control_routes(gate: Gate) -> list[Route]:
    ready = health.Readiness()
    return [
        Route("/", health.front_door, public=True),
        Route("/healthz", health.healthz, public=True),
        Route("/health", health.healthz, public=True),
        Route("/health/liveness", health.alive, public=True),
        Route("/health/liveliness", health.alive, public=True),
        Route("/readyz", ready, public=True),
        Route("/health/readiness", ready, public=True),
        Route("/health/targets", health.targets),
        Route("/errors", health.errors, public=True),
        Route("/metrics", health.metrics, public=gate.metrics_public),
        Route("/v1/models", models.list_models, logged=True),
        Route("/models", models.list_models, logged=True),
        Route("/v1/info", info.list_info, logged=True),
        Route("/info", info.list_info, logged=True),
        Route("/v1/model/info", model_info.list_deployments, logged=True),
        Route("/model/info", model_info.list_deployments, logged=True),
        Route("/v2/model/info", model_info.page_deployments, logged=True),
        Route("/model_group/info", model_info.list_groups, logged=True),
        Route("/v1/models/{model:path}", models.get_model, logged=True),
        Route("/models/{model:path}", models.get_model, logged=True),
    ]


class Application:
    """The ASGI application."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.controls = control_routes(gate)
        self._model_routes = {
            prefix + surface.path: ModelRoute(surface, gate) for surface in SURFACES for prefix in ("/v1", "")
        }
        self._router = Router(
            [
                StarletteRoute(
                    route.path,
                    ControlRoute(route.handler, gate, route.path, route.public, route.logged),
                    methods=list(route.methods),
                )
                for route in self.controls
            ],
            redirect_slashes=False,
        )

    @property
    def model_paths(self) -> list[str]:
        return list(self._model_routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._model_routes.get(scope["path"])
        if found is not None and scope["method"] == "POST":
            await found(scope, receive, send)
        elif found is not None:
            await refuse(MethodNotAllowed("This route takes POST."), ("POST",), self._gate, scope, send)
        else:
            await self._control(scope, receive, send)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._router.routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope.update(child)
                await route.handle(scope, receive, send)
                return
            if match is Match.PARTIAL and isinstance(route, StarletteRoute):
                methods = tuple(sorted(route.methods or ()))
                error = MethodNotAllowed(f"This route takes {', '.join(methods)}.")
                await refuse(error, methods, self._gate, scope, send)
                return
        await refuse(RouteNotFound(f"There is no route {scope['path']}."), (), self._gate, scope, send)
