"""Fields of `router_settings`, `litellm_settings` and `general_settings` that no code here takes; see `known`."""

from headgate.config.litellm.known import (
    ALWAYS,
    KEPT_OUT,
    NO_ALERTS,
    NO_AUTH,
    NO_CACHE,
    NO_DATABASE,
    NO_FILES,
    NO_GUARDS,
    NO_KEYS,
    NO_LEDGER,
    NO_LOGGING,
    NO_MCP,
    NO_NETWORKS,
    NO_PROMPTS,
    NO_RELAY,
    NO_SECRETS,
    NO_UI,
    ONE_PROCESS,
    ONE_SYSTEM,
    OWN_ROUTER,
    SDK_ONLY,
    table,
)

ROUTER = table(
    exact={
        "Connections are kept and closed by themselves.": "client_ttl",
    },
    unsupported={
        ONE_PROCESS: "redis_url redis_host redis_port redis_password redis_db",
        NO_CACHE: "cache_responses cache_kwargs caching_groups",
        "Requests have no priorities and do not queue.": "polling_interval default_priority",
        "Each way to balance has one form.": "routing_strategy_args",
        "Set `balance` for single models in headgate.yaml.": "routing_groups",
        NO_ALERTS: "alerting_config",
        "Tags are compared as they are.": "tag_routing_prefix",
        "Affinity follows the prompts and sessions; there is no time limit to set.": "deployment_affinity_ttl_seconds",
        "The other targets are tried in any case.": "enable_weighted_failover",
        "Mistakes in the file are told, not passed over.": "ignore_invalid_deployments",
        "Targets rest after failures; see `routing.cooldown` and `routing.probes`.": """
            enable_health_check_routing health_check_staleness_threshold health_check_ignore_transient_errors
            background_health_check_model_groups health_check_interval health_check_concurrency
        """,
        "Set `weight` for the targets.": "weights",
        OWN_ROUTER: "plugins auto_router_capability_limit",
        "There are no agents, tools or guardrails to list here.": "assistants_config search_tools guardrail_list",
        SDK_ONLY: "router_general_settings fallback_access_check fallback_budget_check",
        "LiteLLM ignores it here; it has a place of its own at the top.": "model_list",
    },
)
LITELLM = table(
    exact={
        "Prompts and keys are never written to logs.": """
            turn_off_message_logging redact_user_api_key_info redact_messages_in_exceptions presidio_logging_only
        """,
        KEPT_OUT: "disable_streaming_logging disable_end_user_cost_tracking suppress_debug_info",
        "The log's lines are JSON.": "json_logs",
        ALWAYS: """
            forward_traceparent_to_llm_provider disable_hf_tokenizer_download disable_token_counter
            request_correlation_in_logs return_response_headers disable_stop_sequence_limit
        """,
        "HTTPS_PROXY and NO_PROXY are honoured; connections are this gateway's own.": "aiohttp_trust_env",
    },
    unsupported={
        NO_CACHE: """
            cache cache_params caching caching_with_models enable_caching_on_provider_specific_optional_params
            default_in_memory_ttl default_redis_ttl default_redis_batch_cache_expiry enable_redis_auth_cache
        """,
        ONE_PROCESS: "force_redis_hash_tag_grouping",
        NO_LOGGING: """
            input_callback audit_log_callbacks langfuse_default_tags langfuse_enable_update_trace_keys
            langsmith_batch_size argilla_batch_size argilla_transformation_object s3_callback_params
            s3_audit_callback_params datadog_params datadog_llm_observability_params datadog_use_v1 newrelic_params
            pointfive_params zerobus_params aws_sqs_callback_params generic_logger_headers generic_api_use_v1
            gcs_pub_sub_use_v1 cold_storage_custom_logger standard_logging_payload_excluded_fields
            otel_tenant_destination_mode allow_dynamic_callback_disabling global_disable_no_log_param
            logged_real_time_event_types azure_content_safety_params dynamodb_table_name store_audit_logs arize_params
        """,
        "GET /metrics has its own series with bounded labels.": """
            prometheus_metrics_config prometheus_initialize_budget_metrics prometheus_latency_buckets
            prometheus_exclude_metrics prometheus_exclude_labels prometheus_emit_stream_label
            prometheus_emit_input_sequence_length_label prometheus_emit_rate_limit_labels
            prometheus_user_budget_label_include_email_alias prometheus_end_user_metrics_max_series_per_metric
            prometheus_end_user_metrics_ttl_seconds prometheus_end_user_metrics_cleanup_interval_seconds
            prometheus_metrics_max_series_per_metric prometheus_metrics_ttl_seconds
            prometheus_metrics_cleanup_interval_seconds prometheus_deployment_and_latency_caller_identity
            custom_prometheus_metadata_labels custom_prometheus_tags enable_end_user_cost_tracking_prometheus_only
            disable_end_user_cost_tracking_prometheus_only
        """,
        "The log tells what a caller may see; run with `logging.debug` to see more.": "log_raw_request_response",
        "The log tells what a caller may see.": "log_client_error_tracebacks log_auth_failure_key_identity",
        "Requests are passed on as they are.": """
            modify_params add_function_to_prompt openai_system_messages_first disable_add_prefix_to_prompt
            custom_prompt_dict safe_memory_mode disable_copilot_system_to_assistant
            disable_add_transform_inline_image_block strip_anthropic_total_tokens
            bedrock_neutralize_orphaned_tool_blocks enable_gemini_default_thinking_level_low gemini_live_defer_setup
            reasoning_auto_summary route_all_chat_openai_to_responses use_chat_completions_url_for_anthropic_messages
            enable_anthropic_prompt_caching anthropic_prompt_caching_ttl vertex_ai_safety_settings
            disable_anthropic_gemini_context_caching_transform add_user_information_to_llm_headers
            overwrite_user_with_key_hash bedrock_request_metadata_fields filter_invalid_headers
        """,
        "Answers are not checked against their schema.": "enable_json_schema_validation",
        ONE_SYSTEM: "ssl_verify ssl_certificate ssl_security_level ssl_ecdh_curve",
        "Both kinds of addresses are tried.": "force_ipv4",
        SDK_ONLY: """
            use_aiohttp_transport disable_aiohttp_transport disable_aiohttp_trust_env http2 client_session
            aclient_session in_memory_llm_clients_cache use_client use_litellm_proxy litellm_mode
            enable_preview_features proxy_auth network_mock check_provider_endpoint config_path adapters email token
            disable_vertex_batch_output_transformation common_cloud_provider_auth_params error_logs logging model_cost
            model_cost_map_url anthropic_beta_headers_url blog_posts_url autorouter_presets_url
            enable_azure_ad_token_refresh enable_model_config_credential_overrides apply_search_free_tier
        """,
        "Give the key and address in `model_list` or by the provider's variable.": """
            api_key api_base api_version organization headers project vertex_project vertex_location openai_key
            azure_key anthropic_key groq_key openrouter_key togetherai_api_key cohere_key replicate_key huggingface_key
            predibase_key predibase_tenant_id databricks_key cloudflare_api_key ollama_key openai_like_key xai_key
        """,
        "Set it for the entries of `model_list`.": "max_tokens default_headers",
        "Write `router_settings.model_group_alias`.": "model_alias_map model_fallbacks",
        "Write `router_settings.num_retries`.": "num_retries_per_request retry",
        "Write `router_settings.context_window_fallbacks`.": "longer_context_model_fallback_dict",
        NO_KEYS: """
            upperbound_key_generate_params key_generation_settings default_team_settings
            default_team_params default_internal_user_params key_alias_pattern enable_key_alias_format_validation
            validate_end_user_id_in_db max_end_user_budget_id model_group_settings scim_admin_group scim_upsert_user
        """,
        "Budgets are those of keys, users, teams and the gateway; see `limits` in headgate.yaml.": """
            max_user_budget default_max_internal_user_budget max_ui_session_budget default_soft_budget tag_budget_config
        """,
        "Budgets start anew with the calendar, in UTC, and refuse with 429.": """
            budget_rollover budget_exceeded_status_code budget_exceeded_throttle_percentage budget_reset_time
        """,
        NO_ALERTS: "default_key_max_budget_alert_emails",
        "One factor holds for all: write `usage.markup` in headgate.yaml.": "cost_discount_config cost_margin_config",
        NO_LEDGER: """
            extra_spend_tag_headers disable_add_user_agent_to_request_tags
        """,
        "All keys share all capacity.": "priority_reservation priority_reservation_settings",
        NO_GUARDS: """
            guardrails guardrail_name_config_map pre_call_rules post_call_rules blocked_user_list banned_keywords_list
            llm_guard_mode llamaguard_model_name llamaguard_unsafe_content_categories openai_moderations_model_name
            google_moderation_confidence_threshold presidio_ad_hoc_recognizers output_parse_pii prompt_injection_params
            skip_system_message_in_guardrail skip_tool_message_in_guardrail
        """,
        NO_PROMPTS: "global_prompt_directory global_bitbucket_config global_gitlab_config prompt_name_config_map",
        NO_MCP: """
            mcp_semantic_tool_filter mcp_tool_search public_mcp_servers public_mcp_hub_strict_whitelist
        """,
        NO_UI: "public_model_groups public_model_groups_links public_agent_groups public_skills_index",
        "Agents and skills are not searched.": "agent_search_embedding_model skill_search_embedding_model",
        "There is no Responses state to poll.": "responses",
        NO_FILES: "require_managed_files enable_loadbalancing_on_batch_endpoints",
        "Tools are not run on the way.": """
            websearch_interception_params code_interpreter_interception_params compression_interception_params
        """,
        "Own code is not loaded; put a server that speaks OpenAI's API behind it.": "custom_provider_map",
        "Errors name what the caller can mend.": "expose_router_debug_in_errors",
        "URLs in requests are not fetched here.": "user_url_validation user_url_allowed_hosts",
        "Callers cannot name addresses.": "provider_url_destination_allowed_hosts",
        "There are no vector stores yet.": """
            vector_store_registry vector_store_index_registry vector_store_search_failure_mode
        """,
        NO_SECRETS: "secret_manager_client",
        "It belongs at the top of the file.": "credential_list callback_settings model_list",
    },
)
GENERAL = table(
    exact={
        KEPT_OUT: """
            disable_spend_logs disable_spend_updates disable_error_logs disable_adding_master_key_hash_to_db
            disable_master_key_return disable_reset_budget hide_default_credentials_hint
        """,
        "SIGTERM drains; GET /readyz then says no.": "enable_drain_endpoint drain_endpoint_token",
    },
    unsupported={
        NO_DATABASE: """
            database_url database_type database_args database_connection_pool_limit database_connection_timeout
            database_connection_pool_timeout database_connect_timeout database_socket_timeout
            database_max_idle_connection_lifetime database_extra_connection_params database_disable_prepared_statements
            allow_requests_on_db_unavailable disable_prisma_schema_update use_redis_transaction_buffer
        """,
        "Models are those of the file.": """
            store_model_in_db supported_db_objects disable_model_info_refresh infer_model_from_keys
            proxy_config_reload_interval_seconds
        """,
        NO_LEDGER: """
            store_prompts_in_spend_logs spend_logs_metadata_fields maximum_spend_logs_retention_period
            maximum_spend_logs_retention_interval maximum_spend_logs_cleanup_cron maximum_spend_logs_cleanup_batch_size
            maximum_spend_logs_cleanup_max_batches maximum_spend_logs_cleanup_run_budget
            maximum_spend_logs_cleanup_batch_timeout maximum_autorouter_session_retention_period
            maximum_health_check_retention_period maximum_daily_tag_spend_retention_period use_spend_logs_partitioning
            proxy_batch_write_at proxy_batch_polling_interval proxy_budget_rescheduler_min_time
            proxy_budget_rescheduler_max_time spend_report_frequency spend_capture_rate_check scheduled_job_stagger
            track_unmanaged_batch_cost disable_budget_reservation fail_closed_budget_enforcement
            reject_clientside_metadata_tags missing_session_id
        """,
        NO_ALERTS: "alerting alert_types alert_to_webhook_url alerting_args alerting_threshold alert_type_config",
        NO_UI: """
            ui_access_mode enable_public_model_hub max_failed_login_attempts_per_source failed_login_window_seconds
            max_failed_login_attempts_per_source_overrides failed_login_block_seconds password_policy_min_length
            password_policy_require_uppercase password_policy_require_lowercase password_policy_require_numbers
            password_policy_require_special_characters password_policy_check_breached_passwords
            disable_password_login_when_sso_enabled disable_env_credential_login auto_redirect_ui_login_to_sso plugins
            custom_ui_sso_sign_in_handler allow_cli_sso_verification_uri_complete control_plane_url
        """,
        NO_AUTH: """
            custom_auth custom_auth_run_common_checks custom_sso enable_jwt_auth litellm_jwtauth enable_oauth2_auth
            enable_oauth2_proxy_auth oauth2_config_mappings enforce_rbac role_permissions allow_user_auth
            service_account_settings trusted_proxy_ranges
        """,
        NO_KEYS: """
            custom_key_generate custom_key_update custom_key_policy custom_team_metadata_validate team_metadata_schema
            team_metadata_validation_timeout team_metadata_validation_error_message default_team_disabled
            disable_auto_add_proxy_admin_to_teams disable_key_generate_for_org_admin disable_custom_api_keys
            use_team_public_model_name apply_user_budget_to_team_keys user_api_key_cache_ttl user_api_key_cache_max_size
            user_header_name user_header_mappings enforce_fallback_model_access
        """,
        "Keys' limits count streams at once: write `limits.keys.streams` in headgate.yaml.": "max_parallel_requests",
        "Tokens of prompt and answer count together.": "token_rate_limit_type",
        "Requests are refused when too many are in flight; they do not queue.": """
            max_queued_requests_per_worker admission_queue_timeout_seconds
        """,
        "Limits of targets do not stop retries elsewhere.": "disable_retry_on_max_parallel_request_limit_error",
        NO_SECRETS: "key_management_system key_management_settings use_google_kms use_azure_key_vault",
        ONE_PROCESS: "coordination_redis fail_closed_rate_limit_enforcement use_shared_health_check",
        "A weak key is accepted on loopback, or with --insecure.": "dangerously_permit_weak_or_unset_master_key",
        "Callers name the model.": "completion_model embedding_model image_generation_model moderation_model",
        NO_RELAY: """
            pass_through_endpoints pass_through_request_timeout use_client_credentials_pass_through_routes
            passthrough_managed_object_ids disable_bedrock_agent_runtime_passthrough enable_openai_websocket_passthrough
            responses_websocket_session_limit_seconds transcribe_media_buckets
        """,
        NO_FILES: """
            max_batch_file_size_mb max_batch_file_records max_batch_file_uploads_per_day max_file_downloads_per_minute
            max_file_size_mb allowed_file_extensions blocked_file_extensions disable_batch_input_file_rate_limiting
            skip_batch_input_file_rate_limiting_for_providers skip_batch_input_file_rate_limiting_for_models
        """,
        "Answers are passed on whatever their size.": "max_response_size_mb",
        "Every key may call every model route; only GET /metrics may be opened, by `server.metrics_public`.": """
            allowed_routes public_routes admin_only_routes
        """,
        NO_NETWORKS: "allowed_ips use_x_forwarded_for",
        NO_MCP: """
            mcp_internal_ip_ranges mcp_advertised_versions mcp_allowed_clients mcp_client_id_header
            mcp_trusted_proxy_ranges mcp_xff_num_trusted_hops mcp_prefer_client_id_metadata_document mcp_required_fields
            mcp_client_side_auth_header_name mcp_session_token_signing mcp_allow_all_keys_respects_mcp_scope
            user_mcp_management_mode require_key_mcp_access_defined require_end_user_mcp_access_defined
            enable_mcp_registry enable_claude_code_gateway claude_code_gateway_managed_settings
        """,
        "There are no vector stores yet, and tools are for keys with their scopes.": """
            vector_store_deny_by_default search_tool_deny_by_default search_tools
        """,
        "There is no Responses state here.": "disable_responses_id_security allow_unmanaged_response_ids",
        "Callers' headers stay here, but for traceparent.": """
            forward_client_headers_to_llm_api forward_openai_org_id forward_llm_provider_auth_headers
        """,
        "Callers cannot bring keys or addresses of their own.": "allow_client_side_credentials",
        "URLs in requests are not fetched here.": "user_url_validation user_url_allowed_hosts",
        "Callers cannot name addresses.": "provider_url_destination_allowed_hosts",
        "Usage is streamed to callers who ask for it.": "always_include_stream_usage",
        "Fields are not demanded of callers.": "enforce_user_param enforced_params",
        "The run's id is in the header x-request-id.": "include_call_id_in_error_body",
        "Errors name what the caller can mend.": "expose_fallback_errors_to_caller",
        NO_LOGGING: "otel tracing",
        "GET /readyz tells how each upstream is; see `routing.probes`.": """
            health_check_details health_check_concurrency health_check_skip_disabled_background_models
            background_health_check_model_groups model_list_healthy_only enable_health_check_routing
            health_check_staleness_threshold health_check_ignore_transient_errors allow_public_health_readiness_details
        """,
        "Nothing here needs a licence.": "litellm_license",
    },
)
