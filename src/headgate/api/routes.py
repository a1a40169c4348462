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

from headgate.api import (
    actions,
    agents,
    compaction,
    conversation_objects,
    health,
    info,
    knowledge,
    litellm_health,
    litellm_keys,
    litellm_teams,
    litellm_users,
    memory,
    model_info,
    models,
    ollama,
    responses,
    resume,
    runs,
    stored_conversations,
    tenant_config,
    tools,
)
from headgate.api.admin import audit, budgets, data, keys, mcp, reload, template, tenants
from headgate.api.admin.reconcile import ReconcileRoute
from headgate.api.admin.usage import UsageRoutes
from headgate.api.c1 import C1Chat
from headgate.api.control import Access, ControlRoute, refuse
from headgate.api.count_tokens import count_tokens
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.litellm_refused import REMEDIES, Refused
from headgate.api.litellm_reports import LitellmReports
from headgate.api.mcp import PATH as MCP_PATH
from headgate.api.relay import ModelRoute
from headgate.api.responses_socket import ResponsesSocket
from headgate.api.sessions import SessionTurn
from headgate.api.spend import SpendRoutes
from headgate.core.errors import MethodNotAllowed, RouteNotFound
from headgate.core.surfaces import MESSAGES, RESPONSES, SURFACES

SOCKET_PATHS = (f"/v1{RESPONSES.path}", RESPONSES.path)
"""What can be spoken to over a WebSocket too."""
MESSAGES_PREFIXES = ("/v1", "", "/anthropic/v1")
"""Where clients of Anthropic's API may have been pointed."""
Handler = Callable[[Request, Gate], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One control route. `logged`: it leaves a line in the request log. `needs`: the scope that the key must have."""

    path: str
    handler: "Handler | ModelRoute"
    """A model route looks after keys and errors itself."""
    methods: tuple[str, ...] = ("GET",)
    public: bool = False
    logged: bool = False
    needs: str = ""
    litellm: bool = False
    """Its errors have LiteLLM's types."""
    dialect: str = ""
    """The words of its errors, if not OpenAI's."""


def control_routes(gate: Gate) -> list[Route]:
    ready = health.Readiness()
    theirs = litellm_health.LitellmHealth(ready)
    return [
        Route("/", health.front_door, public=True),
        Route("/api/hello", health.hello, public=True),
        Route("/healthz", health.healthz, public=True),
        Route("/health", theirs.health, public=True),
        Route("/health/liveness", health.alive, public=True),
        Route("/health/liveliness", health.alive, public=True),
        Route("/readyz", ready, public=True),
        Route("/health/readiness", theirs.readiness, public=True),
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
        *_count_routes(),
        *_tool_routes(),
        *_key_routes(),
        *_tenant_routes(),
        *_litellm_key_routes(),
        *_tenant_config_routes(),
        *_run_routes(),
        *_response_routes(),
        *_conversation_object_routes(),
        *_audit_routes(),
        *_data_routes(),
        *_litellm_user_routes(),
        *_litellm_team_routes(),
        *_litellm_health_routes(),
        *_conversation_routes(gate),
        *_compaction_routes(),
        *_agent_routes(gate),
        *_action_routes(gate),
        *_memory_routes(),
        *_knowledge_routes(),
        Route("/admin/budgets", budgets.list_all, logged=True, needs="budgets:read"),
        *_usage_routes(
            UsageRoutes(gate.reports), ReconcileRoute(gate.reports), SpendRoutes(gate.reports, gate.list_price)
        ),
        *_litellm_reports(LitellmReports(gate.reports)),
        *_litellm_refused_routes(),
        *_ollama_routes(gate),
        *_mcp_routes(),
    ]


def _count_routes() -> list[Route]:
    return [
        Route(f"{prefix}/messages/count_tokens", count_tokens, ("POST",), logged=True, dialect="messages")
        for prefix in MESSAGES_PREFIXES
    ]


def _conversation_routes(gate: Gate) -> list[Route]:
    """They need no scope: callers see what is their own. Those of sessions come before the agents', for names of
    agents may hold slashes.
    """
    stored, sessions = stored_conversations, "/a1/agents/{name:path}/sessions"
    one = f"{sessions}/{{id}}"
    return [
        Route("/c1/chat", C1Chat(gate), ("POST",)),
        Route("/c1/conversations", stored.list_all, logged=True),
        Route("/c1/conversations/{id}", stored.update, ("PATCH",), logged=True),
        *_kept_routes("/c1/conversations/{id}"),
        Route("/c1/conversations/{id}/items", stored.list_items, logged=True),
        Route(sessions, stored.list_all, logged=True),
        Route(sessions, stored.create_session, ("POST",), logged=True),
        *_kept_routes(one),
        Route(f"{one}/messages", stored.list_items, logged=True),
        Route(f"{one}/messages", SessionTurn(gate), ("POST",)),
    ]


def _kept_routes(one: str) -> list[Route]:
    """What conversations and sessions have in common."""
    stored = stored_conversations
    return [
        Route(one, stored.get, logged=True),
        Route(one, stored.delete, ("DELETE",), logged=True),
        Route(f"{one}/fork", stored.fork, ("POST",), logged=True),
        Route(f"{one}/rewind", stored.rewind, ("POST",), logged=True),
        Route(f"{one}/lineage", stored.lineage, logged=True),
        Route(f"{one}/diff", stored.diff, logged=True),
    ]


def _agent_routes(gate: Gate) -> list[Route]:
    one, write = "/a1/agents/{name:path}", "configuration:write"
    return [
        Route("/a1/agents", agents.list_agents, logged=True),
        Route(f"{one}/chat", agents.AgentChat(gate), ("POST",)),
        Route(one, agents.get_agent, logged=True),
        Route("/admin/reload", reload.reload, ("POST",), logged=True, needs=write),
        Route("/admin/template/eval", template.evaluate, ("POST",), logged=True, needs=write),
    ]


def _action_routes(gate: Gate) -> list[Route]:
    """They need no scope: who asked answers."""
    return [
        Route("/a1/actions", actions.list_all, logged=True),
        Route("/a1/actions/{id}", actions.get, logged=True),
        Route("/a1/actions/{id}", actions.AnswerAction(gate), ("POST",)),
    ]


def _memory_routes() -> list[Route]:
    """They need no scope: each user sees its own."""
    return [
        Route("/v1/memory", memory.list_all, logged=True),
        Route("/v1/memory", memory.erase, ("DELETE",), logged=True),
        Route("/v1/memory/{id}", memory.get, logged=True),
        Route("/v1/memory/{id}", memory.delete, ("DELETE",), logged=True),
    ]


def _compaction_routes() -> list[Route]:
    """They need no scope: a key sees its own conversations."""
    c1, a1 = "/c1/conversations/{id}", "/a1/agents/{name:path}/sessions/{id}"
    return [
        Route(f"{c1}/compact", compaction.compact, ("POST",), logged=True),
        Route(f"{a1}/compact", compaction.compact, ("POST",), logged=True),
        Route(f"{c1}/compaction", compaction.put_policy, ("PUT",), logged=True),
        Route(f"{c1}/compaction", compaction.get_policy, logged=True),
    ]


def _run_routes() -> list[Route]:
    """They need no scope: a key without it sees its own runs. Ids that callers choose may hold slashes."""
    return [
        Route("/v1/runs", runs.list_all, logged=True),
        Route("/v1/runs/{id:path}/cancel", runs.cancel, ("POST",), logged=True),
        Route("/v1/runs/{id}/events", resume.events, logged=True),
        Route("/v1/runs/{id:path}", runs.get, logged=True),
    ]


def _knowledge_routes() -> list[Route]:
    every, read, write = "/a1/rag/indices", knowledge.READ, knowledge.WRITE
    one = f"{every}/{{id}}"
    document = f"{one}/documents/{{document}}"
    return [
        Route("/a1/rag/query", knowledge.query_several, ("POST",), logged=True, needs=read),
        Route(every, knowledge.list_indices, logged=True, needs=read),
        Route(every, knowledge.create_index, ("POST",), logged=True, needs=write),
        Route(one, knowledge.get_index, logged=True, needs=read),
        Route(one, knowledge.delete_index, ("DELETE",), logged=True, needs=write),
        Route(f"{one}/reindex", knowledge.reindex, ("POST",), logged=True, needs=write),
        Route(f"{one}/query", knowledge.query, ("POST",), logged=True, needs=read),
        Route(f"{one}/documents", knowledge.list_documents, logged=True, needs=read),
        Route(f"{one}/documents", knowledge.replace_documents, ("POST",), logged=True, needs=write),
        Route(f"{one}/documents:add", knowledge.add_documents, ("POST",), logged=True, needs=write),
        Route(document, knowledge.get_document, logged=True, needs=read),
        Route(document, knowledge.update_document, ("PUT",), logged=True, needs=write),
        Route(document, knowledge.delete_document, ("DELETE",), logged=True, needs=write),
    ]


def _response_routes() -> list[Route]:
    return [
        route
        for one in (f"{path}/{{id}}" for path in SOCKET_PATHS)
        for route in (
            Route(one, responses.get, logged=True),
            Route(one, responses.delete, ("DELETE",), logged=True),
            Route(f"{one}/cancel", responses.cancel, ("POST",), logged=True),
            Route(f"{one}/input_items", responses.input_items, logged=True),
        )
    ]


def _conversation_object_routes() -> list[Route]:
    """As in OpenAI's API. They need no scope: a key sees what belongs to its tenant and user."""
    theirs = conversation_objects
    return [
        route
        for every in ("/v1/conversations", "/conversations")
        for one in (f"{every}/{{id}}",)
        for route in (
            Route(every, theirs.create, ("POST",), logged=True),
            Route(one, theirs.get, logged=True),
            Route(one, theirs.update, ("POST",), logged=True),
            Route(one, theirs.delete, ("DELETE",), logged=True),
            Route(f"{one}/items", theirs.list_items, logged=True),
            Route(f"{one}/items", theirs.add_items, ("POST",), logged=True),
            Route(f"{one}/items/{{item}}", theirs.get_item, logged=True),
            Route(f"{one}/items/{{item}}", theirs.delete_item, ("DELETE",), logged=True),
        )
    ]


def _audit_routes() -> list[Route]:
    """Read only: no route changes or removes a row."""
    return [
        Route("/admin/audit", audit.list_all, logged=True, needs="audit:read"),
        Route("/admin/audit/verify", audit.verify, logged=True, needs="audit:read"),
    ]


def _data_routes() -> list[Route]:
    read, write = "data:read", "data:write"
    return [
        route
        for path in ("/admin/data/{tenant}", "/admin/data/{tenant}/{user:path}")
        for route in (
            Route(path, data.export, logged=True, needs=read),
            Route(path, data.erase, ("DELETE",), logged=True, needs=write),
        )
    ]


def _usage_routes(usage: UsageRoutes, reconcile: ReconcileRoute, spend: SpendRoutes) -> list[Route]:
    """LiteLLM's routes need no scope: a key without it sees what it spent itself."""
    return [
        Route("/admin/usage", usage.totals, logged=True, needs="usage:read"),
        Route("/admin/usage/export", usage.export, logged=True, needs="usage:read"),
        Route("/admin/usage/reconcile", reconcile, ("POST",), logged=True, needs="usage:read"),
        Route("/spend/logs", spend.logs, logged=True, litellm=True),
        Route("/spend/keys", spend.keys, logged=True, litellm=True),
        Route("/spend/users", spend.users, logged=True, litellm=True),
        Route("/spend/tags", spend.tags, logged=True, litellm=True),
        Route("/spend/calculate", spend.calculate, ("POST",), logged=True, litellm=True),
    ]


def _mcp_routes() -> list[Route]:
    servers, read = "/admin/mcp/servers", "mcp:read"
    return [
        Route(servers, mcp.list_servers, logged=True, needs=read),
        Route(f"{servers}/{{server}}", mcp.get_server, logged=True, needs=read),
        Route(f"{servers}/{{server}}/tools", mcp.list_tools, logged=True, needs=read),
        Route(f"{servers}/{{server}}/tools/{{tool:path}}", mcp.get_tool, logged=True, needs=read),
        Route("/admin/mcp/tools", mcp.list_all_tools, logged=True, needs=read),
    ]


def _tool_routes() -> list[Route]:
    read, execute = "tools:read", "tools:execute"
    return [
        route
        for prefix in ("/v1", "")
        for route in (
            Route(f"{prefix}/tools", tools.list_tools, logged=True, needs=read),
            Route(f"{prefix}/tools/execute", tools.execute, ("POST",), logged=True, needs=execute),
        )
    ]


def _key_routes() -> list[Route]:
    one, read, write = "/admin/keys/{id}", "keys:read", "keys:write"
    return [
        Route("/admin/keys", keys.list_all, logged=True, needs=read),
        Route("/admin/keys", keys.create, ("POST",), logged=True, needs=write),
        Route(one, keys.get, logged=True, needs=read),
        Route(one, keys.update, ("PATCH",), logged=True, needs=write),
        Route(one, keys.delete, ("DELETE",), logged=True, needs=write),
        Route(f"{one}/rotate", keys.rotate, ("POST",), logged=True, needs=write),
        Route(f"{one}/block", keys.block, ("POST",), logged=True, needs=write),
        Route(f"{one}/unblock", keys.unblock, ("POST",), logged=True, needs=write),
        Route(f"{one}/revoke", keys.revoke, ("POST",), logged=True, needs=write),
    ]


def _tenant_routes() -> list[Route]:
    one, read, write = "/admin/tenants/{id}", "tenants:read", "tenants:write"
    return [
        Route("/admin/tenants", tenants.list_all, logged=True, needs=read),
        Route("/admin/tenants", tenants.create, ("POST",), logged=True, needs=write),
        Route(one, tenants.get, logged=True, needs=read),
        Route(one, tenants.update, ("PATCH",), logged=True, needs=write),
        Route(one, tenants.delete, ("DELETE",), logged=True, needs=write),
        Route(f"{one}/block", tenants.block, ("POST",), logged=True, needs=write),
        Route(f"{one}/unblock", tenants.unblock, ("POST",), logged=True, needs=write),
    ]


def _tenant_config_routes() -> list[Route]:
    every, one, read, write = (
        "/v1/tenant/config",
        "/v1/tenant/config/{key}",
        "tenant_config:read",
        "tenant_config:write",
    )
    return [
        Route(every, tenant_config.show, logged=True, needs=read),
        Route(every, tenant_config.put, ("PUT",), logged=True, needs=write),
        Route(every, tenant_config.clear, ("DELETE",), logged=True, needs=write),
        Route(one, tenant_config.get, logged=True, needs=read),
        Route(one, tenant_config.put_one, ("PUT",), logged=True, needs=write),
        Route(one, tenant_config.delete, ("DELETE",), logged=True, needs=write),
    ]


def _litellm_key_routes() -> list[Route]:
    read, write = "keys:read", "keys:write"
    return [
        Route("/key/generate", litellm_keys.generate, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/info", litellm_keys.info, logged=True, litellm=True),
        Route("/v2/key/info", litellm_keys.infos, ("POST",), logged=True, needs=read, litellm=True),
        Route("/key/update", litellm_keys.update, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/delete", litellm_keys.delete, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/block", litellm_keys.block, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/unblock", litellm_keys.unblock, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/regenerate", litellm_keys.regenerate, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/{key}/regenerate", litellm_keys.regenerate, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/list", litellm_keys.list_all, logged=True, needs=read, litellm=True),
    ]


def _litellm_user_routes() -> list[Route]:
    """Who asks for itself needs no scope to read."""
    read, write = "users:read", "users:write"
    return [
        Route("/user/new", litellm_users.new, ("POST",), logged=True, needs=write, litellm=True),
        Route("/user/info", litellm_users.info, logged=True, litellm=True),
        Route("/v2/user/info", litellm_users.info_alone, logged=True, litellm=True),
        Route("/user/update", litellm_users.update, ("POST",), logged=True, needs=write, litellm=True),
        Route("/user/delete", litellm_users.delete, ("POST",), logged=True, needs=write, litellm=True),
        Route("/user/list", litellm_users.list_all, logged=True, needs=read, litellm=True),
    ]


def _litellm_team_routes() -> list[Route]:
    read, write, users = "tenants:read", "tenants:write", "users:write"
    return [
        Route("/team/new", litellm_teams.new, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/info", litellm_teams.info, logged=True, needs=read, litellm=True),
        Route("/team/update", litellm_teams.update, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/delete", litellm_teams.delete, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/list", litellm_teams.list_all, logged=True, needs=read, litellm=True),
        Route("/v2/team/list", litellm_teams.page, logged=True, needs=read, litellm=True),
        Route("/team/available", litellm_teams.available, logged=True, litellm=True),
        Route("/team/block", litellm_teams.block, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/unblock", litellm_teams.unblock, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/member_add", litellm_teams.member_add, ("POST",), logged=True, needs=users, litellm=True),
        Route("/team/member_update", litellm_teams.member_update, ("POST",), logged=True, needs=users, litellm=True),
        Route("/team/member_delete", litellm_teams.member_delete, ("POST",), logged=True, needs=users, litellm=True),
    ]


def _litellm_health_routes() -> list[Route]:
    return [Route("/health/services", litellm_health.services, logged=True, litellm=True)]


def _litellm_reports(reports: LitellmReports) -> list[Route]:
    """A key without the scope `usage:read` sees what it spent itself."""
    return [
        Route("/global/spend", reports.spend, logged=True, litellm=True),
        Route("/global/spend/logs", reports.by_day, logged=True, litellm=True),
        Route("/global/spend/keys", reports.keys, logged=True, litellm=True),
        Route("/global/spend/teams", reports.teams, logged=True, litellm=True),
        Route("/global/spend/models", reports.models, logged=True, litellm=True),
        Route("/global/spend/tags", reports.tags, logged=True, litellm=True),
        Route("/global/spend/end_users", reports.end_users, ("POST",), logged=True, litellm=True),
        Route("/global/spend/report", reports.report, logged=True, litellm=True),
        Route("/global/all_end_users", reports.names_of_users, logged=True, litellm=True),
        Route("/global/activity", reports.activity, logged=True, litellm=True),
        Route("/global/activity/model", reports.activity_by_model, logged=True, litellm=True),
        Route("/user/daily/activity", reports.daily_of_users, logged=True, litellm=True),
        Route("/team/daily/activity", reports.daily_of_teams, logged=True, litellm=True),
        Route("/tag/daily/activity", reports.daily_of_tags, logged=True, litellm=True),
    ]


def _litellm_refused_routes() -> list[Route]:
    """What LiteLLM's clients may ask and is not had: told with what to do instead."""
    return [
        Route(path, Refused(remedy), ("GET", "POST", "PUT", "PATCH", "DELETE"), logged=True, litellm=True)
        for path, remedy in REMEDIES.items()
    ]


def _ollama_routes(gate: Gate) -> list[Route]:
    """Model calls take POST as theirs do; what is not had here is told with what to do instead."""
    theirs, methods = "ollama", ("GET", "POST", "PUT", "PATCH", "DELETE")
    return [
        Route("/api/version", ollama.version, logged=True, dialect=theirs),
        Route("/api/tags", ollama.tags, logged=True, dialect=theirs),
        Route("/api/ps", ollama.running, logged=True, dialect=theirs),
        Route("/api/show", ollama.show, ("POST",), logged=True, dialect=theirs),
        Route("/api/chat", ollama.OllamaChat(gate, "ollama", "messages"), ("POST",)),
        Route("/api/generate", ollama.OllamaChat(gate, "ollama-generate", "prompt"), ("POST",)),
        Route("/api/embed", ollama.OllamaEmbed(gate, single=False), ("POST",)),
        Route("/api/embeddings", ollama.OllamaEmbed(gate, single=True), ("POST",)),
        *(
            Route(path, Refused(remedy), methods, logged=True, dialect=theirs)
            for path, remedy in ollama.REMEDIES.items()
        ),
    ]


def _door(route: Route, gate: Gate) -> "ModelRoute | ControlRoute":
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
