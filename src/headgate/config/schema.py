"""The JSON Schema of headgate.yaml, for editors."""

from typing import Any

from headgate.config.tree import Settings
from headgate.upstreams.registry import PROVIDERS


def json_schema() -> dict[str, Any]:
    """The schema, with the providers listed. Every string may also be a `${VARIABLE}`."""
    schema = Settings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    provider = schema["$defs"]["UpstreamSettings"]["properties"]["provider"]
    provider["enum"] = [*PROVIDERS, "local", "litellm", "mock"]
    return schema
