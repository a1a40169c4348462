"""The application: finds the route of a request.

Model routes are found by one dictionary look-up, for they are the hot path; everything else goes through Starlette.
"""

from collections.abc import Awaitable

from starlette.routing import Match, Router
from starlette.routing import Route as StarletteRoute

from headgate.api import compaction
from headgate.api.control import Access, ControlRoute, refuse
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.mcp import PATH as MCP_PATH
from headgate.api.relay import ModelRoute
from headgate.api.responses_socket import ResponsesSocket
from headgate.api.route import Route
from headgate.api.routes import MESSAGES_PREFIXES, SOCKET_PATHS, control_routes
from headgate.core.errors import MethodNotAllowed, RouteNotFound
from headgate.core.surfaces import MESSAGES, SURFACES


def _door(route: Route, gate: Gate) -> ModelRoute | ControlRoute:
    if isinstance(route.handler, ModelRoute):
        return route.handler
    access = Access(route.public, route.logged, route.needs, route.litellm, route.dialect)
    return ControlRoute(route.handler, gate, route.path, access)


class Application:
    """The ASGI application."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.controls = control_routes(gate)
        self._model_routes = {
            prefix + surface.path: ModelRoute(surface, gate) for surface in SURFACES for prefix in ("/v1", "")
        }
        self._archived = ControlRoute(compaction.archived, gate, "archived", Access(logged=True))
        self._socket = ResponsesSocket(gate, self._model_routes[SOCKET_PATHS[0]])
        messages = ModelRoute(MESSAGES, gate)
        self._model_routes |= {prefix + MESSAGES.path: messages for prefix in MESSAGES_PREFIXES}
        self._router = Router(
            [
                StarletteRoute(
                    route.path,
                    _door(route, gate),
                    methods=list(route.methods),
                )
                for route in self.controls
            ],
            redirect_slashes=False,
        )

    @property
    def model_paths(self) -> list[str]:
        return list(self._model_routes)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        found = self._model_routes.get(scope["path"])
        if found is not None and scope.get("method") == "POST":
            return found(scope, receive, send)
        if scope["type"] == "websocket":
            return self._socket(scope, receive, send)
        if found is None:
            return self._control(scope, receive, send)
        return refuse(MethodNotAllowed("This route takes POST."), ("POST",), self._gate, scope, send)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == MCP_PATH and self._gate.mcp_route is not None:
            await self._gate.mcp_route(self._gate, scope, receive, send)
            return
        if "/seg_" in scope["path"] and compaction.ARCHIVED.match(scope["path"]):
            await self._archived(scope, receive, send)
            return
        allowed: set[str] = set()
        for route in self._router.routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope.update(child)
                await route.handle(scope, receive, send)
                return
            if match is Match.PARTIAL and isinstance(route, StarletteRoute):
                allowed |= route.methods or set()
        if allowed:
            methods = tuple(sorted(allowed))
            error = MethodNotAllowed(f"This route takes {', '.join(methods)}.")
            await refuse(error, methods, self._gate, scope, send)
            return
        await refuse(RouteNotFound(f"There is no route {scope['path']}."), (), self._gate, scope, send)
