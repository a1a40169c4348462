"""`mcp_servers` of LiteLLM's file, as LiteLLM 1.106 reads it: addresses, programs, static logins and filters.

Logins that LiteLLM makes anew for each caller cannot be had here; a server that needs one is switched off, and told.
"""

import base64
from collections.abc import Mapping
from typing import Any

from headgate.config.draft import Path_
from headgate.config.litellm.known import table
from headgate.config.litellm.translation import Field, Handler, Translation

_TRANSPORTS = {"http": "streamablehttp", "sse": "sse", "stdio": "stdio"}
_PROTOCOLS = {"auto": "auto", "2026-07-28": "2026-07-28"}
_SCHEMES = {"bearer_token": "Bearer", "token": "token"}
_HEADERS = {"api_key": "X-API-Key", "authorization": "Authorization"}
_REFERENCE = "os.environ/"
_OF_KEYS = "Keys use the tools that their scope `tools:execute:NAME` covers."
_ONE_LOGIN = "A server knows the gateway by one login, not its callers."
SERVER = table(
    unsupported={
        "Servers are known by their names.": "server_id",
        "Names, logos and costs of servers are not kept; write `description`.": "mcp_info",
        _OF_KEYS: "access_groups available_on_public_internet allowed_params",
        _ONE_LOGIN: """
            extra_headers oauth_passthrough delegate_auth_to_upstream dcr_bridge oauth_identity_binding
            token_exchange_endpoint token_exchange_profile audience subject_token_type upstream_resource
            upstream_token_header id_jag_resource_token_endpoint id_jag_resource client_private_key
            client_private_key_id client_assertion_signing_alg token_validation
        """,
        "Where to log in is asked of the server itself.": """
            issuer authorization_url token_url registration_url token_endpoint_auth_method per_server_oauth_discovery
        """,
        "Requests are not signed for AWS.": """
            aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_service_name aws_role_name
            aws_session_name
        """,
        "Agents are told by their own prompts.": "instructions",
        "Set variables in `env`.": "env_vars",
        "Limits are those of keys, models and tenants.": "max_concurrent_requests rpm",
        "No model is asked on behalf of a server.": "allow_sampling",
        "Set `elicitation: defaults` for the server in headgate.yaml.": "allow_elicitation",
        "All tools of a server are listed.": "pinned_tools",
    },
)


def take_servers(to: Translation, section: Field, aliases: Field | None) -> None:
    """`mcp_servers`; `aliases` are those of `litellm_settings`. They are offered at `/mcp`, as LiteLLM does."""
    if not section.value:
        to.exact(section, "Empty.")
        return
    to.draft.put(("mcp", "serve", "enabled"), True, section.place)
    to.draft.notes.append(f"{section.place}: tools are called `mcp_NAME_TOOL`, at /mcp and by agents. {_OF_KEYS}")
    others = _by_target(aliases)
    for server in section.members():
        if to.is_mapping(server):
            _Server(to, server, others.get(server.name)).take()


def take_aliases(to: Translation, aliases: Field, section: Field | None) -> None:
    """`mcp_aliases`: the first one of a server without an `alias` is its name."""
    if not to.is_mapping(aliases):
        return
    servers = section.value if section is not None and isinstance(section.value, dict) else {}
    first = _by_target(aliases)
    for alias in aliases.members():
        server = servers.get(alias.value) if isinstance(alias.value, str) else None
        if isinstance(server, dict) and not server.get("alias") and first.get(alias.value) == alias.name:
            to.exact(alias, "It is the server's name.")
        else:
            to.unsupported(alias, "There is no such server, or it has a name already.")
    if not aliases.value:
        to.exact(aliases, "Empty.")


def _by_target(aliases: Field | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for alias in aliases.members() if aliases is not None else ():
        if isinstance(alias.value, str):
            found.setdefault(alias.value, alias.name)
    return found


class _Server:
    """One server on its way into the draft."""

    def __init__(self, to: Translation, server: Field, alias: str | None) -> None:
        self._to = to
        self._server = server
        given = server.value.get("alias")
        name = given if isinstance(given, str) and given else alias or server.name
        self._here: Path_ = ("mcp", "servers", name)
        login = server.value.get("auth_type")
        self._login = login if isinstance(login, str) else "none"

    def take(self) -> None:
        to, server = self._to, self._server
        to.draft.put(self._here, {}, server.place)
        if server.get("spec_path") is not None:
            self._switch_off()
        handlers: dict[str, Handler] = {
            "alias": to.exact,
            "url": self._put("url"),
            "command": self._put("command"),
            "args": self._put("args"),
            "env": self._put("env"),
            "timeout": self._put("call_seconds"),
            "description": self._put("description"),
            "static_headers": self._static,
            "transport": self._transport,
            "protocol_version": self._protocol,
            "auth_type": self._auth_type,
            "auth_value": self._auth_value,
            "authentication_token": self._auth_value,
            "client_id": self._of_oauth,
            "client_secret": self._of_oauth,
            "scopes": self._of_oauth,
            "oauth2_flow": self._of_oauth,
            "allowed_tools": self._filter("whitelist"),
            "disallowed_tools": self._filter("blacklist"),
            "allow_all_keys": lambda field: to.unsupported(field, _OF_KEYS),
            "spec_path": lambda field: to.unsupported(field, "Routes of an OpenAPI file are no tools; it is off."),
        }
        to.each(server, handlers, SERVER)

    def _put(self, name: str) -> Handler:
        return lambda field: self._to.put((*self._here, name), field)

    def _static(self, field: Field) -> None:
        if self._to.is_mapping(field):
            for header in field.members():
                self._to.put((*self._here, "headers", header.name), header)
            if not field.value:
                self._to.exact(field, "Empty.")

    def _transport(self, field: Field) -> None:
        kind = _TRANSPORTS.get(str(field.value))
        if kind is None:
            self._to.wrong(field, f"There is no transport '{field.value}'.", "Write http, sse or stdio.")
            return
        self._to.draft.put((*self._here, "type"), kind, field.place)
        self._to.exact(field)

    def _protocol(self, field: Field) -> None:
        revision = _PROTOCOLS.get(str(field.value), "legacy")
        self._to.draft.put((*self._here, "protocol"), revision, field.place)
        remark = "Older servers settle the revision themselves." if revision == "legacy" else ""
        self._to.grade("approximate" if remark else "exact", field, remark)

    def _filter(self, name: str) -> Handler:
        def take(field: Field) -> None:
            if self._to.is_list(field):
                self._to.put((*self._here, name), field, "By the server's own names of its tools.", near=True)

        return take

    def _auth_type(self, field: Field) -> None:
        to = self._to
        if field.value in ("none", *_SCHEMES, *_HEADERS, "basic"):
            to.exact(field)
        elif field.value == "oauth2" and self._server.value.get("oauth2_flow") != "client_credentials":
            to.draft.put((*self._here, "oauth"), {}, field.place)
            to.approximate(field, f"{_ONE_LOGIN} Make it with `headgate mcp login NAME`.")
        else:
            self._switch_off()
            to.unsupported(field, "There is no such login here; the server is off.")

    def _auth_value(self, field: Field) -> None:
        """As a header; of both names LiteLLM takes `authentication_token`."""
        to = self._to
        if field.name == "auth_value" and self._server.get("authentication_token") is not None:
            to.exact(field, "`authentication_token` is used.")
        elif self._login not in (*_SCHEMES, *_HEADERS, "basic"):
            to.exact(field, "Not used with this `auth_type`.")
        elif not to.is_text(field):
            return
        elif self._login == "basic" and field.value.startswith(_REFERENCE):
            self._switch_off()
            to.unsupported(field, "Write the whole header into `static_headers`; the server is off.")
        else:
            name = _HEADERS.get(self._login, "Authorization")
            to.draft.put((*self._here, "headers", name), self._credential(field), field.place)
            to.exact(field)

    def _credential(self, field: Field) -> str:
        if self._login == "basic":
            return f"Basic {base64.b64encode(field.value.encode()).decode()}"
        text = self._to.text(field, field.value)
        scheme = _SCHEMES.get(self._login)
        return text if scheme is None else f"{scheme} {text.removeprefix(f'{scheme} ').strip()}"

    def _of_oauth(self, field: Field) -> None:
        to, flow = self._to, self._server.value.get("oauth2_flow")
        if self._login != "oauth2" or flow == "client_credentials":
            to.unsupported(field, "Used with a login in a browser only.")
        elif field.name == "oauth2_flow":
            to.exact(field)
        elif field.name == "scopes":
            wanted: Any = field.value if isinstance(field.value, list) else [field.value]
            self._oauth({"scope": " ".join(map(str, wanted))}, field)
        else:
            self._oauth({field.name: to.value(field)}, field)

    def _oauth(self, more: Mapping[str, Any], field: Field) -> None:
        for name, value in more.items():
            self._to.draft.put((*self._here, "oauth", name), value, field.place)
        self._to.exact(field)

    def _switch_off(self) -> None:
        self._to.draft.put((*self._here, "enabled"), False, self._server.place)
