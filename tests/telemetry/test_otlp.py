"""The bytes that go to a collector, read back with the official definitions of the protocol."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Official

from headgate.core.version import __version__
from headgate.telemetry.otlp import encoded
from headgate.telemetry.spans import CLIENT, SERVER, Content, Shared, Span
from tests.requirements import covers

pytestmark = covers("135")
TRACE, SPAN, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "53995c3f42cd8ad8"
TEXTS = st.text(max_size=300)
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(TEXTS, st.booleans(), WHOLE, st.floats(allow_nan=False), st.lists(TEXTS, max_size=5).map(tuple))


def span(**more: Any) -> Span:
    plain = Span("chat small", CLIENT, TRACE, SPAN, "", False, "", 1_750_000_000_000_000_001, 1_750_000_001 * 10**9, {})
    return plain._replace(**more)


def read(*spans: Span) -> list[Official]:
    request = ExportTraceServiceRequest.FromString(encoded(spans, {"service.name": "headgate"}))
    (resource,) = request.resource_spans
    assert [(pair.key, pair.value.string_value) for pair in resource.resource.attributes] == [
        ("service.name", "headgate")
    ]
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("headgate", __version__)
    return list(scope.spans)


def values_of(found: Official) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in found.attributes:
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        value = getattr(pair.value, kind)
        values[pair.key] = tuple(one.string_value for one in value.values) if kind == "array_value" else value
    return values


@given(st.dictionaries(TEXTS, VALUES, max_size=20))
def test_attributes_of_every_kind_come_back_as_they_were(attributes: dict[str, Any]) -> None:
    for _ in range(2):  # the second time some are remembered
        (found,) = read(span(attributes=attributes))
        values = values_of(found)
        assert values == attributes
        assert {key: type(value) for key, value in values.items()} == {
            key: type(value) for key, value in attributes.items()
        }


def test_shared_attributes_stand_beside_those_of_the_span_itself() -> None:
    one, other = Shared({"x": 1, "tags": ("a", "b")}), Shared({"x": 2, "tags": ("c",)})
    for shared in (one, other, one):
        (found,) = read(span(shared=(shared, Shared({"y": True})), attributes={"z": 3.0}))
        assert values_of(found) == {**shared.attributes, "y": True, "z": 3.0}


def test_values_that_are_equal_but_of_another_kind_are_kept_apart() -> None:
    for value in (1, True, 1.0, 0, False, 0.0):
        (found,) = read(span(attributes={"x": value}))
        assert values_of(found) == {"x": value}
        assert type(values_of(found)["x"]) is type(value)


def test_a_number_that_is_too_large_becomes_one_that_is_not_exact() -> None:
    (found,) = read(span(attributes={"x": 1 << 64}))
    assert values_of(found) == {"x": float(1 << 64)}


def test_a_span_says_where_it_stands_and_when() -> None:
    (found,) = read(span(parent=PARENT, is_remote=True, state="a=b,c=d", first_token=1_750_000_000_500_000_000))
    assert (found.trace_id.hex(), found.span_id.hex(), found.parent_span_id.hex()) == (TRACE, SPAN, PARENT)
    assert (found.name, found.kind, found.trace_state) == ("chat small", Official.SPAN_KIND_CLIENT, "a=b,c=d")
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (1_750_000_000_000_000_001, 1_750_000_001 * 10**9)
    assert found.flags == 0x301
    assert [(event.name, event.time_unix_nano) for event in found.events] == [
        ("first_token", 1_750_000_000_500_000_000)
    ]
    assert found.status.code == 0


def test_a_root_has_no_parent_and_an_error_is_told() -> None:
    (found,) = read(span(kind=SERVER, error="upstream_fault: The provider failed"))
    assert (found.parent_span_id, found.flags, found.kind) == (b"", 0x001, Official.SPAN_KIND_SERVER)
    assert (found.status.code, found.status.message) == (2, "upstream_fault: The provider failed")
    assert list(found.events) == []


def test_many_spans_and_long_texts_are_one_request() -> None:
    long = "é" * 100_000
    found = read(*(span(name=f"n{number}", attributes={"long": long}) for number in range(200)))
    assert [one.name for one in found] == [f"n{number}" for number in range(200)]
    assert values_of(found[-1]) == {"long": long}


def test_text_that_is_no_unicode_is_replaced_rather_than_lost() -> None:
    (found,) = read(span(attributes={"x": "a\ud800b"}))
    assert values_of(found) == {"x": "a?b"}


def test_content_is_written_into_the_span() -> None:
    content = Content("chat", {"messages": [{"role": "user", "content": "Hi"}]}, b"", 10)
    (found,) = read(span(content=content, attributes={"x": 1}))
    assert values_of(found)["llm.input_messages.0.message.content"] == "Hi"
