"""Upstreams: one for each distinct account that the models of LiteLLM's file use."""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from headgate.config.draft import Draft
from headgate.config.litellm.providers import DIFFERENCES, Meant
from headgate.config.litellm.translation import Field, Translation

_PLAIN = frozenset(
    ("api_base", "base_url", "api_key", "api_version", "extra_headers", "headers", "default_headers", "organization")
)
_OPTIONS = re.compile(
    r"(aws|vertex|azure|watsonx|bedrock|sagemaker|s3|gcs|oci|snowflake|databricks|predibase|anthropic|openai|sap"
    r"|gigachat|gradient|wx|litellm_oauth)_.+"
)
_OPTION_NAMES = frozenset(
    """
    region_name tenant_id client_id client_secret project project_id space_id zen_api_key service_key resource_group
    deployment_id iam_token token use_xai_oauth ssl_verify bucket_name auth_url account_id location
    """.split()  # noqa: SIM905 - twenty quoted names would read worse
)
_NEEDS_SDK = {
    "azure": frozenset(("azure_ad_token", "tenant_id", "client_id", "client_secret", "azure_username", "azure_scope")),
    "anthropic": frozenset(("anthropic_federation_rule_id", "anthropic_organization_id", "anthropic_identity_token")),
    "openai": frozenset(("openai_identity_provider_id",)),
    "xai": frozenset(("use_xai_oauth",)),
}
_OWN_ADDRESS_NEEDS_SDK = frozenset(("anthropic", "gemini"))
_AZURE_VERSION = "${AZURE_API_VERSION:-2025-02-01-preview}"
_AZURE_V1 = ("v1", "latest", "preview")


def is_option(name: str) -> bool:
    """Whether a field is an option of the SDK for a provider's account."""
    return name in _OPTION_NAMES or bool(_OPTIONS.fullmatch(name))


def is_of_account(name: str) -> bool:
    """Whether a field says which account is used, or how it is reached."""
    return name in _PLAIN or is_option(name)


@dataclass(slots=True)
class Accounts:
    """`upstreams` by name, each a piece of the draft."""

    to: Translation
    upstreams: dict[str, Draft] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def mock(self, answer: Field, at: Field) -> str:
        """An upstream that always gives the same answer."""
        piece = Draft()
        piece.put(("provider",), "mock", answer.place)
        piece.put(("options", "answer"), self.to.value(answer), answer.place)
        return self._named("mock", piece, at)

    def of(self, who: Meant, params: Mapping[str, Field]) -> list[str]:
        """The names of the upstreams that a deployment's account fields ask for: one, or one for each organization."""
        account = _Account(self.to, who, params)
        piece = account.piece()
        organization = params.get("organization")
        if organization is None:
            return [self._named(who.prefix, piece, params["model"])]
        several = organization.items() if isinstance(organization.value, list) else [organization]
        account.graded(organization, "Sent as the header OpenAI-Organization.")
        names = []
        for one in several:
            copy = Draft(deepcopy(piece.data), dict(piece.places))
            if isinstance(copy.data.get("headers", {}), dict):
                copy.put(("headers", "OpenAI-Organization"), self.to.value(one), one.place)
            names.append(self._named(who.prefix, copy, params["model"]))
        return names or [self._named(who.prefix, piece, params["model"])]

    def _named(self, wanted: str, piece: Draft, at: Field) -> str:
        content = repr(piece.data)
        if content not in self._names:
            base = re.sub(r"[^A-Za-z0-9._-]", "-", wanted).lstrip("-._")[:50] or "upstream"
            number = 1
            while (name := base if number == 1 else f"{base}-{number}") in self.upstreams:
                number += 1
            piece.data = {"name": name, **piece.data}
            piece.places[("name",)] = piece.places[()] = at.place
            self.upstreams[name] = piece
            self._names[content] = name
        return self._names[content]


@dataclass(slots=True)
class _Account:
    """One deployment's account on its way into a piece of the draft."""

    to: Translation
    who: Meant
    params: Mapping[str, Field]
    _piece: Draft = field(default_factory=Draft)

    @property
    def base(self) -> Field | None:
        return self.params.get("api_base") or self.params.get("base_url")

    @property
    def through_sdk(self) -> bool:
        needs = _NEEDS_SDK.get(self.who.prefix, frozenset())
        own_address = self.who.prefix in _OWN_ADDRESS_NEEDS_SDK and self.base is not None
        return self.who.row is None or own_address or any(name in self.params for name in needs)

    def piece(self) -> Draft:
        model = self.params["model"]
        self._put(("provider",), "litellm" if self.through_sdk else self._row(), model)
        if self.through_sdk:
            self._put(("litellm_provider",), self.who.prefix, model)
        self._grade_model(model)
        self._address()
        for name in ("api_key", "api_version"):
            if (found := self.params.get(name)) and not (name == "api_version" and self._is_azure):
                self._put((name,), self.to.value(found), found)
                self.graded(found)
        for name in ("headers", "default_headers", "extra_headers"):
            if (found := self.params.get(name)) is not None:
                self._headers(found)
        self._options()
        return self._piece

    def graded(self, field: Field, remark: str = "", *, near: bool = False) -> None:
        """Grade a field, unless it is a named credential's, which has its grade already."""
        if field.path[0] != "credential_list":
            self.to.grade("approximate" if near else "exact", field, remark)

    @property
    def _is_azure(self) -> bool:
        return self.who.prefix == "azure" and not self.through_sdk

    def _put(self, path: tuple[str, ...], value: Any, at: Field) -> None:
        self._piece.put(path, value, at.place)

    def _row(self) -> str:
        """Another host that speaks OpenAI is not OpenAI: its key is not wanted there."""
        row = self.who.row or ""
        if row == "openai" and self.base and "//api.openai.com" not in str(self.base.value):
            return "openai_compatible"
        return row

    def _grade_model(self, model: Field) -> None:
        difference = self.who.doubt or ("" if self.through_sdk else DIFFERENCES.get(self.who.prefix, ""))
        if difference:
            self.to.approximate(model, difference)
        else:
            self.to.exact(model, "Through the LiteLLM SDK, the extra `litellm`." * self.through_sdk)

    def _address(self) -> None:
        base = self.base
        version = self.params.get("api_version")
        address = self.to.value(base) if base else None
        if self._is_azure:
            address = self._azure_address(address, version)
        if base is None:
            return
        if "base_url" in self.params and "api_base" in self.params:
            self.graded(self.params["base_url"], "`api_base` wins.", near=True)
        remark = ""
        if self.who.row == "ollama" and not self.through_sdk and isinstance(address, str):
            address = f"{address.rstrip('/').removesuffix('/v1')}/v1"
        elif self._piece.data["provider"] == "openai_compatible" and "api_key" not in self.params:
            remark = "No key is sent there without `api_key`; LiteLLM would send OPENAI_API_KEY."
        self._put(("base_url",), address, base)
        self.graded(base, remark, near=bool(remark))

    def _azure_address(self, address: Any, version: Field | None) -> Any:
        """Azure's dated API lies at the host; its v1 API, which needs no version, below /openai/v1."""
        if isinstance(address, str) and "/openai/v1" in address:
            if version:
                self.graded(version, "Not needed for the v1 API that `api_base` names.")
            return address
        host = address.partition("/openai")[0].rstrip("/") if isinstance(address, str) else address
        if version and version.value in _AZURE_V1 and isinstance(host, str):
            self.graded(version, "The v1 API, below /openai/v1.")
            return f"{host}/openai/v1"
        if version:
            self._put(("api_version",), self.to.value(version), version)
            self.graded(version)
        else:
            self._put(("api_version",), _AZURE_VERSION, self.params["model"])
        return host

    def _headers(self, found: Field) -> None:
        self.graded(found)
        if not isinstance(found.value, dict):
            self._put(("headers",), self.to.value(found), found)
            return
        for member in found.members():
            if isinstance(self._piece.data.get("headers", {}), dict):
                self._put(("headers", member.name), self.to.value(member), member)

    def _options(self) -> None:
        for name, found in self.params.items():
            if not is_option(name):
                continue
            if self.through_sdk:
                self._put(("options", name), self.to.value(found), found)
                self.graded(found)
            elif found.path[0] != "credential_list":
                self.to.unsupported(
                    found, f"Only the SDK knows it, and calls to {self.who.prefix} are made without it."
                )
