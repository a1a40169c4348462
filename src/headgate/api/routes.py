"""Every URL of the server but model calls (a row each in `core/surfaces.py`), in one list, without bodies.

A route needs a key unless it says that it is public.
"""

from headgate.api import (
    actions,
    agents,
    compaction,
    conversation_objects,
    health,
    info,
    knowledge,
    litellm_health,
    memory,
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
from headgate.api.count_tokens import count_tokens
from headgate.api.gate import Gate
from headgate.api.litellm_refused import Refused
from headgate.api.litellm_routes import litellm_routes
from headgate.api.route import Route
from headgate.api.sessions import SessionTurn
from headgate.core.surfaces import RESPONSES

SOCKET_PATHS = (f"/v1{RESPONSES.path}", RESPONSES.path)
"""What can be spoken to over a WebSocket too."""
MESSAGES_PREFIXES = ("/v1", "", "/anthropic/v1")
"""Where clients of Anthropic's API may have been pointed."""


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
        Route("/v1/models/{model:path}", models.get_model, logged=True),
        Route("/models/{model:path}", models.get_model, logged=True),
        *_count_routes(),
        *_tool_routes(),
        *_key_routes(),
        *_tenant_routes(),
        *_tenant_config_routes(),
        *_run_routes(),
        *_response_routes(),
        *_conversation_object_routes(),
        *_audit_routes(),
        *_data_routes(),
        *_conversation_routes(gate),
        *_compaction_routes(),
        *_agent_routes(gate),
        *_action_routes(gate),
        *_memory_routes(),
        *_knowledge_routes(),
        Route("/admin/budgets", budgets.list_all, logged=True, needs="budgets:read"),
        *_usage_routes(UsageRoutes(gate.reports), ReconcileRoute(gate.reports)),
        *litellm_routes(gate),
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


def _usage_routes(usage: UsageRoutes, reconcile: ReconcileRoute) -> list[Route]:
    return [
        Route("/admin/usage", usage.totals, logged=True, needs="usage:read"),
        Route("/admin/usage/export", usage.export, logged=True, needs="usage:read"),
        Route("/admin/usage/reconcile", reconcile, ("POST",), logged=True, needs="usage:read"),
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
