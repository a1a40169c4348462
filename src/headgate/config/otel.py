"""OpenTelemetry's own variables that are more than one setting each; see variables for those that are one."""

from collections.abc import Iterator
from urllib.parse import unquote

from headgate.config.draft import Draft, literal
from headgate.config.variables import Variables, names_of_settings

_PAIRS = {"OTEL_EXPORTER_OTLP_HEADERS": "headers", "OTEL_RESOURCE_ATTRIBUTES": "resource"}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_SPOKEN = "http/protobuf"
_OFF = ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")


def overlay(draft: Draft, variables: Variables) -> None:
    """Put what they say into the section `tracing`; what is not read is noted."""
    known = {*_PAIRS, *_PROTOCOLS, *(name for name, _ in _OFF), "OTEL_TRACES_EXPORTER"}
    known |= {name for names in names_of_settings().values() for name in names}
    for name, setting in _PAIRS.items():
        pairs = dict(_pairs(name, variables, draft))
        if pairs:
            section = draft.data.get("tracing")
            given = section.get(setting) if isinstance(section, dict) else None
            merged = {**(given if isinstance(given, dict) else {}), **pairs}
            draft.put(("tracing", setting), merged, variables.place(name))
    for name, word in _OFF:
        if (variables.get(name) or "").strip().lower() == word:
            draft.put(("tracing", "enabled"), False, variables.place(name))
    for name in _PROTOCOLS:
        spoken = variables.get(name)
        if spoken and spoken != _SPOKEN:
            message = f"{name} is {spoken!r}; traces are sent as {_SPOKEN} only."
            remedy = "Leave it out and name the collector's port for HTTP, usually 4318."
            draft.problem(("tracing", "endpoint"), message, remedy, at=variables.place(name))
    for name in variables.merged:
        if name.startswith("OTEL_") and name not in known:
            draft.notes.append(f"{name} is not read.")


def _pairs(name: str, variables: Variables, draft: Draft) -> Iterator[tuple[str, object]]:
    """The pairs of `key=value,key=value`; values may be percent-encoded."""
    for pair in (variables.get(name) or "").split(","):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key and equals:
            yield key, literal(unquote(value))
        elif key:
            message = f"{name} holds a part without `=`."
            draft.problem(("tracing",), message, "Write key=value pairs with commas.", at=variables.place(name))
