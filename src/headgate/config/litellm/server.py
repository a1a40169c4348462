"""`general_settings`, `litellm_settings` apart from the router's part, `environment_variables`, `credential_list`."""

import re

from headgate.config.litellm import budgets
from headgate.config.litellm.accounts import is_of_account
from headgate.config.litellm.known_settings import GENERAL, LITELLM
from headgate.config.litellm.router import SHARED
from headgate.config.litellm.translation import Field, Handler, Translation

_OURS_ALREADY = re.compile(r"PATH|LD_\w+|DYLD_\w+|PYTHON\w*|HOME|USER|SHELL|LOGNAME|NO_PROXY|no_proxy")
_PROMETHEUS = "GET /metrics has series of its own, for holders of a key; see `server.metrics_public`."
_NOT_SENT = "Calls are told to a trace collector (`tracing.endpoint`), GET /metrics and the JSON log lines only."
_TRACES = ("otel", "opentelemetry", "arize", "arize_phoenix")
_TRACES_GO = "Traces go over OTLP/HTTP to `tracing.endpoint` or OTEL_EXPORTER_OTLP_ENDPOINT, if one is set."
_PROBE_SECONDS = 300


def take_general(to: Translation, section: Field) -> None:
    """`general_settings`"""
    interval = section.get("health_check_interval")
    probing = section.get("background_health_checks")

    def probe(field: Field) -> None:
        if not to.is_flag(field):
            return
        if field.value:
            seconds = to.value(interval) if interval else _PROBE_SECONDS
            to.draft.put(("routing", "probes", "every"), seconds, (interval or field).place)
        to.approximate(field, "Upstreams whose targets rest are asked for their models; no model is called.")

    def interval_of_probes(field: Field) -> None:
        used = probing is not None and probing.value is True
        to.exact(field, "" if used else "Not used without `background_health_checks: true`.")

    handlers: dict[str, Handler] = {
        "master_key": lambda field: to.put(("auth", "master_key"), field),
        "litellm_key_header_name": lambda field: to.put(("auth", "key_header"), field),
        "global_max_parallel_requests": lambda field: to.put(
            ("server", "limits", "in_flight"), field, "Of each worker.", near=True
        ),
        "max_in_flight_requests_per_worker": lambda field: to.put(("server", "limits", "in_flight"), field),
        "max_request_size_mb": lambda field: _body(to, field),
        "background_health_checks": probe,
        "health_check_interval": interval_of_probes,
        "cancel_on_disconnect": lambda field: _always(to, field, "Calls end with the caller's connection."),
    }
    to.each(section, handlers, GENERAL)


def take_litellm(to: Translation, section: Field) -> None:
    """`litellm_settings`; what the router and MCP servers read is graded there."""
    handlers: dict[str, Handler] = {
        "drop_params": lambda field: to.put(("parameters", "drop_unsupported"), field),
        "sse_keepalive_ping_interval_seconds": lambda field: to.put(("server", "ping_seconds"), field),
        "anthropic_sse_ping_interval_seconds": lambda field: _ping(to, field, section),
        "require_auth_for_metrics_endpoint": lambda field: _metrics(to, field),
        "include_cost_in_streaming_usage": lambda field: to.put(("server", "stream_cost"), field),
        "block_requests_for_models_without_pricing": lambda field: to.put(("usage", "refuse_unpriced"), field),
        "set_verbose": lambda field: to.put(("logging", "debug"), field),
        "callbacks": lambda field: _callbacks(to, field),
        "success_callback": lambda field: _callbacks(to, field),
        "failure_callback": lambda field: _callbacks(to, field),
        "service_callback": lambda field: _callbacks(to, field),
        "service_callbacks": lambda field: _callbacks(to, field),
        "cache": lambda field: _cache(to, field),
    }
    handlers |= budgets.handlers(to, section)
    handlers |= dict.fromkeys((*SHARED, "request_timeout", "mcp_aliases"), lambda _: None)
    to.each(section, handlers, LITELLM)


def take_variables(to: Translation, section: Field) -> None:
    """`environment_variables`, which those of the environment itself win over."""
    for member in section.members():
        value = member.value
        if _OURS_ALREADY.fullmatch(member.name):
            to.unsupported(member, "The process has it already; LiteLLM does not set it either.")
        elif isinstance(value, str) and value.startswith("os.environ/"):
            to.renamed[member.name] = value.removeprefix("os.environ/").strip()
            to.exact(member, "References to it lead to the other variable.")
        elif isinstance(value, dict | list) or value is None:
            to.wrong(member, "The variable has no text.", "Write a text.")
        else:
            to.draft.variables[member.name] = str(value)
            to.approximate(member, "Read by this gateway alone; a variable of the environment wins over it.")
    if not section.value:
        to.exact(section, "Empty.")


def take_credentials(to: Translation, entries: list[Field]) -> dict[str, Field]:
    """`credential_list` by name."""
    found: dict[str, Field] = {}
    for entry in entries:
        name, values = entry.get("credential_name"), entry.get("credential_values")
        if name is None or values is None:
            to.wrong(entry, "The entry has no `credential_name` or no `credential_values`.", "Give it both.")
        elif to.is_text(name) and to.is_mapping(values):
            found[name.value] = values
            take = dict.fromkeys([one.name for one in values.members() if is_of_account(one.name)], to.exact)
            to.each(values, take, {})
            to.exact(name)
            for member in entry.members():
                if member.name not in ("credential_name", "credential_values"):
                    to.unsupported(member, "Notes about a credential are not kept.")
    return found


def _body(to: Translation, field: Field) -> None:
    if (size := to.number(field)) is not None:
        to.draft.put(("server", "limits", "body"), int(size * 1024 * 1024), field.place)
        to.exact(field)


def _always(to: Translation, field: Field, remark: str) -> None:
    if field.value is True:
        to.exact(field, remark)
    else:
        to.unsupported(field, remark)


def _ping(to: Translation, field: Field, section: Field) -> None:
    if section.get("sse_keepalive_ping_interval_seconds") is None:
        to.put(("server", "ping_seconds"), field, "For all streams.", near=True)
    else:
        to.exact(field, "`sse_keepalive_ping_interval_seconds` holds for all streams.")


def _metrics(to: Translation, field: Field) -> None:
    if to.is_flag(field):
        to.draft.put(("server", "metrics_public"), not field.value, field.place)
        to.exact(field)


def _cache(to: Translation, field: Field) -> None:
    if field.value is False:
        to.exact(field, "Answers are not cached.")
    else:
        to.unsupported(field, LITELLM["cache"][1])


def _callbacks(to: Translation, field: Field) -> None:
    if not isinstance(field.value, str | list):
        to.is_list(field)
    if not field.value:
        to.exact(field, "Empty.")
        return
    for name in field.items() or ([field] if isinstance(field.value, str) else []):
        if name.value == "prometheus":
            to.approximate(name, _PROMETHEUS)
        elif name.value in _TRACES:
            to.approximate(name, _TRACES_GO)
        else:
            to.unsupported(name, _NOT_SENT)
