"""Fields of LiteLLM's file that no code here takes: what becomes of each, and what to do instead."""

from collections.abc import Mapping

from headgate.config.draft import Grade
from headgate.config.litellm.translation import Known

NO_DATABASE = "The database is set up by itself; set `database.url` in headgate.yaml for another one."
NO_LEDGER = "Spending is written down by itself, with one entry for each call; there is nothing to set."
NO_KEYS = "Keys, users and teams are made with /key/*, /user/* and /team/*; there is no such setting for them."
NO_UI = "There is no admin page yet."
NO_CACHE = "Answers are not cached."
NO_LOGGING = "Calls are told to a trace collector (`tracing.endpoint`), GET /metrics and the JSON log lines only."
NO_GUARDS = "Contents are not checked here yet."
NO_MCP = "MCP servers, and who may use them, are set by `mcp_servers`, scopes and `mcp` of headgate.yaml."
NO_FILES = "There are no routes for files and batches yet."
NO_SECRETS = "Keys are not fetched from a secret manager; let it set variables."
NO_ALERTS = "No alerts are sent; set them on GET /metrics."
NO_RELAY = "There are no pass-through routes."
NO_AUTH = "Callers are known by their keys alone."
ONE_SYSTEM = "TLS to providers uses the system's authorities and modern ciphers; there is no switch."
SDK_ONLY = "A switch inside LiteLLM without a counterpart here."
ALWAYS = "Always so here."
KEPT_OUT = "Nothing of the kind is written here anyway."
ONE_PROCESS = "Load and limits are counted in this process; no Redis is needed."
NO_PROMPTS = "Prompts are not kept here; send them with the request."
OWN_ROUTER = "Callers name a model; none is picked for them by the prompt's contents."
NO_NETWORKS = "Who may connect is for the network to say."

_GRADES: tuple[Grade, ...] = ("exact", "approximate", "unsupported")


def table(**groups: Mapping[str, str]) -> dict[str, Known]:
    """Grade and remark by name, from the names that share them."""
    return {
        name: (grade, remark)
        for grade in _GRADES
        for remark, names in groups.get(grade, {}).items()
        for name in names.split()
    }


TOP = table(
    unsupported={
        NO_MCP: "mcp_tools mcp_aliases",
        NO_GUARDS: "guardrails policies policy_attachments",
        NO_PROMPTS: "prompts",
        "Agents are files of their own; see docs/agents.md.": "agents agent_list assistant_settings",
        "Tools of the gateway are set by `tools` of headgate.yaml; see docs/tools.md.": "search_tools sandbox_tools",
        "There are no vector stores yet.": "vector_store_registry vector_stores",
        NO_FILES: "finetune_settings files_settings",
        NO_RELAY: "default_vertex_config pass_through_endpoints",
        NO_LOGGING: "callback_settings",
        "Processes of one gateway need no registry.": "worker_registry",
        "LiteLLM ignores it here; it belongs under `general_settings`.": "enable_jwt_auth litellm_jwtauth",
        "A setting of headgate.yaml; it has no place in LiteLLM's file.": """
            server auth logging upstreams models aliases routing parameters
        """,
    },
)
ENTRY = table(
    unsupported={
        "LiteLLM reads it under `litellm_params`; move it there.": "rpm tpm api_key api_base weight tags",
        "LiteLLM reads it under `model_info`; move it there.": "mode access_groups id",
    },
)
PARAMS = table(
    unsupported={
        NO_CACHE: "cache caching ttl enable_prompt_caching caching_groups",
        NO_GUARDS: "guardrails",
        "Requests are passed on as they are; mark what a provider should cache in the request.": """
            cache_control_injection_points
        """,
        NO_RELAY: "use_in_pass_through",
        "Only tokens of prompt and answer together are limited; write `tpm`.": "itpm otpm",
        "Tags are compared as they are; write `tags`.": "tag_regex",
        NO_KEYS: "default_api_key_tpm_limit default_api_key_rpm_limit",
        "Callers cannot bring keys or addresses of their own.": "configurable_clientside_auth_params",
        "One cooldown holds for all targets; set `router_settings.cooldown_time`.": "cooldown_time",
        "Set `timeout` and `stream_timeout`.": "timeout_by_service_tier stream_timeout_by_service_tier",
        "One pause holds for all streams; set `server.ping_seconds`.": "keepalive_seconds",
        "Callers cannot change how often streams are kept alive.": "allow_client_keepalive_override",
        "Answers are passed on as they come.": "merge_reasoning_content_in_choices",
        "Requests are passed on with the model that was called.": "base_model use_litellm_proxy",
        "Set `affinity` for the model in headgate.yaml.": "provider_affinity_header",
        NO_FILES: "max_file_size_mb aws_batch_role_arn",
        NO_PROMPTS: "prompt_id prompt_variables prompt_version prompt_label prompt_environment litellm_system_prompt",
        "The server's own chat template is used.": """
            roles initial_prompt_value final_prompt_value bos_token eos_token hf_model_name custom_prompt_dict
            supports_system_message ensure_alternating_roles user_continue_message assistant_continue_message
        """,
        OWN_ROUTER: """
            auto_router_config auto_router_config_path auto_router_default_model auto_router_embedding_model
            auto_router_max_input_chars auto_router_routing_compression auto_router_model_compression
            complexity_router_config complexity_router_default_model adaptive_router_config
            adaptive_router_default_model quality_router_config quality_router_default_model
        """,
        "Callers say whether they want a stream.": "stream",
        "Set `fallbacks` under `router_settings`.": "fallbacks context_window_fallback_dict",
        NO_LOGGING: """
            metadata litellm_metadata litellm_trace_id litellm_session_id logger_fn verbose no-log langfuse_public_key
            langfuse_secret langfuse_host
        """,
        "There are no vector stores yet.": "vector_store_id vector_store_ids milvus_text_field",
        "Requests are passed on without loops of tools.": "max_agentic_loops search_tool_name",
        "Chat calls are passed on as chat calls.": "use_chat_completions_api",
        SDK_ONLY: """
            model_info mock_timeout mock_tool_calls retry_policy retry_strategy client http_client
            fireworks_forward_user_id disable_add_transform_inline_image_block azure
        """,
        "Answers are not checked against their schema.": "enable_json_schema_validation",
        "Vectors are as long as the provider makes them; write `dimensions`.": "output_vector_size",
    },
)
INFO = table(
    approximate={
        "Shown in GET /model/info; set `price` where the packaged list does not know the target.": "base_model",
    },
    unsupported={
        NO_KEYS: "team_id team_public_model_name member_auto_router access_windows created_by updated_by",
        "Tags hold for all models; set `router_settings.enable_tag_filtering`.": "enable_tag_filtering",
        "A request whose tags fit no target is refused.": "allow_fail_open",
        "One cooldown holds for all targets; set it under `router_settings`.": """
            cooldown_time allowed_fails allowed_fails_policy
        """,
        "Upstreams are probed by GET /models, which calls no model; see `routing.probes`.": """
            health_check_model health_check_timeout health_check_params health_check_max_tokens health_check_voice
            disable_background_health_check health_check_reasoning_effort
        """,
        "Every entry of this file is used; write one file for each environment.": "supported_environments",
        "Paid capacity is not priced by the hour.": """
            ptu_count cost_per_ptu_per_hour ptu_effective_from ptu_effective_to
        """,
        KEPT_OUT: "internal_router_model db_model",
        "Hidden models are those with `hidden: true` in headgate.yaml.": "discoverable",
        "There are no guardrails or prompts to attach.": "guardrails prompt_id",
    },
)
