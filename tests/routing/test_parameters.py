"""What settings make of a request's fields for one target."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headgate.core.request import UNCHANGED
from headgate.core.surfaces import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, SURFACES, TRANSCRIPTIONS, Surface
from headgate.routing.capabilities import UNKNOWN, Facts
from headgate.routing.parameters import AS_SENT, Applied, applied, rules_for
from headgate.routing.types import ModelSettings, ParameterSettings, Rules, TargetSettings
from tests.requirements import covers

EFFORT = "reasoning_effort"
REASONS = Facts(reasoning=True, takes_none=False)
KNOWS_NONE = Facts(reasoning=True, takes_none=True)
PLAIN = Facts(reasoning=False)
O_SERIES = Facts(reasoning=True, takes_none=False, unsupported=frozenset(("temperature", "max_tokens")))


def rules(*layers: dict[str, Any] | None, facts: Facts = UNKNOWN, **further: Any) -> Rules | None:
    """The rules that parameters of the top, the model and its target make; `further` are settings of the model."""
    top, model, target = (*layers, None, None, None)[:3]
    at = TargetSettings(upstream="u", model="m", parameters=ParameterSettings(**(target or {})))
    named = {"name": "n", "targets": [at], "parameters": model or {}, **further}
    return rules_for(ParameterSettings(**(top or {})), ModelSettings.model_validate(named), at, facts)


def sent(done: Applied, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they reach the target."""
    return {name: value for name, value in fields.items() if name not in done.changes.drop} | dict(done.changes.put)


@covers("16", "1")
@pytest.mark.parametrize("facts", [UNKNOWN, Facts(unsupported=frozenset(["temperature"])), KNOWS_NONE])
def test_without_settings_nothing_is_done(facts: Facts) -> None:
    assert rules(facts=facts) is None
    assert rules_for(ParameterSettings(), None, None, facts) is None
    assert applied(None, {"temperature": 1}, CHAT) is AS_SENT
    assert AS_SENT.changes is UNCHANGED


@covers("17")
@pytest.mark.parametrize(
    ("top", "model", "target", "asked", "reaches", "notes"),
    [
        ("low", None, None, None, "low", ("reasoning_effort=low",)),
        ("low", "medium", None, None, "medium", ("reasoning_effort=medium",)),
        ("low", "medium", "high", None, "high", ("reasoning_effort=high",)),
        ("low", "medium", "high", "minimal", "minimal", ()),
        ("low", None, "none", None, None, ()),
        ("low", "none", None, None, None, ()),
        ("none", "high", None, None, "high", ("reasoning_effort=high",)),
        ("high", None, None, "none", None, ("reasoning_effort=none",)),
        (None, "none", None, "none", None, ("reasoning_effort=none",)),
        (None, "high", None, "unheard-of", "unheard-of", ()),
    ],
)
def test_the_effort_of_the_request_wins_then_of_the_target_the_model_and_the_top(
    top: str | None,
    model: str | None,
    target: str | None,
    asked: str | None,
    reaches: str | None,
    notes: tuple[str, ...],
) -> None:
    made = rules(*({EFFORT: effort} if effort else None for effort in (top, model, target)))
    fields = {EFFORT: asked} if asked else {}
    done = applied(made, fields, CHAT)
    assert sent(done, fields) == ({EFFORT: reaches} if reaches else {})
    assert (done.notes, done.dropped) == (notes, ())


@covers("17")
@pytest.mark.parametrize(
    ("facts", "top", "asked", "reaches"),
    [
        (UNKNOWN, {}, "none", "none"),
        (REASONS, {}, "none", None),
        (PLAIN, {}, "none", None),
        (KNOWS_NONE, {}, "none", "none"),
        (KNOWS_NONE, {EFFORT: "high"}, "none", "none"),
        (KNOWS_NONE, {EFFORT: "none"}, None, None),
        (PLAIN, {"drop_unsupported": True}, "none", None),
    ],
)
def test_none_is_only_sent_by_a_caller_to_a_model_that_may_know_it(
    facts: Facts, top: dict[str, Any], asked: str | None, reaches: str | None
) -> None:
    fields = {EFFORT: asked} if asked else {}
    assert sent(applied(rules(top, facts=facts), fields, CHAT), fields) == ({EFFORT: reaches} if reaches else {})


@covers("17", "16")
@pytest.mark.parametrize(
    ("top", "asked", "reaches", "dropped"),
    [
        ({EFFORT: "high"}, None, None, (EFFORT,)),
        ({EFFORT: "high"}, "low", "low", ()),
        ({EFFORT: "high", "drop_unsupported": True}, "low", None, (EFFORT,)),
        ({"drop_unsupported": True}, "low", None, (EFFORT,)),
        ({}, "low", "low", ()),
    ],
)
@pytest.mark.parametrize("said", ["by the list", "by the operator", "as a field"])
def test_an_effort_never_reaches_a_model_known_not_to_reason_unless_a_caller_insists(
    top: dict[str, Any], asked: str | None, reaches: str | None, dropped: tuple[str, ...], said: str
) -> None:
    further = {"by the operator": {"capabilities": {"reasoning": False}}}.get(said, {})
    model = {"unsupported": [EFFORT]} if said == "as a field" else None
    made = rules(top, model, facts=PLAIN if said == "by the list" else UNKNOWN, **further)
    fields = {EFFORT: asked} if asked else {}
    done = applied(made, fields, CHAT)
    assert sent(done, fields) == ({EFFORT: reaches} if reaches else {})
    assert done.dropped == dropped


@covers("17")
def test_the_operator_knows_better_than_the_list_whether_a_model_reasons() -> None:
    made = rules({EFFORT: "low"}, facts=PLAIN, capabilities={"reasoning": True})
    assert dict(applied(made, {}, CHAT).changes.put) == {EFFORT: "low"}


@covers("17")
@pytest.mark.parametrize("level", ["hihg", "", 5, True])
def test_an_unknown_level_is_a_mistake_in_the_settings(level: Any) -> None:
    with pytest.raises(ValidationError, match=EFFORT):
        ParameterSettings.model_validate({EFFORT: level})


@covers("17")
@pytest.mark.parametrize("surface", [COMPLETIONS, EMBEDDINGS, IMAGES, TRANSCRIPTIONS])
def test_an_effort_goes_into_chats_only(surface: Surface) -> None:
    assert applied(rules({EFFORT: "high"}), {}, surface) is AS_SENT


@covers("16")
@pytest.mark.parametrize(
    ("layers", "dropped"),
    [
        (({"drop_unsupported": True},), ("temperature",)),
        (({"drop_unsupported": True}, {"drop_unsupported": False}), ()),
        (({"drop_unsupported": False}, None, {"drop_unsupported": True}), ("temperature",)),
        ((None, {"drop_unsupported": True, "unsupported": ["x_own", "n"]}), ("x_own",)),
        (({"drop_unsupported": True}, {"unsupported": []}), ()),
        (({"drop": ["x_own"]}, {"drop": ["stop"]}, {"drop": ["absent"]}), ("stop", "x_own")),
        (({"drop": ["temperature"], "drop_unsupported": True},), ("temperature",)),
    ],
)
def test_what_is_left_out_is_told_in_the_order_of_the_request(
    layers: tuple[dict[str, Any] | None, ...], dropped: tuple[str, ...]
) -> None:
    facts = Facts(unsupported=frozenset(["temperature", "seed"]))
    fields = {"model": "m", "stop": ["x"], "temperature": None, "x_own": 1}
    done = applied(rules(*layers, facts=facts), fields, CHAT)
    assert done.dropped == dropped
    assert done.changes.drop == set(dropped)
    assert sent(done, fields) == {name: value for name, value in fields.items() if name not in dropped}


@covers("16")
@pytest.mark.parametrize(
    ("fields", "reaches", "notes"),
    [
        ({"max_tokens": 9}, {"max_completion_tokens": 9}, ("max_completion_tokens=9",)),
        ({"max_tokens": 9, "max_completion_tokens": 7}, {"max_completion_tokens": 7}, ()),
        ({"max_tokens": None}, {}, ()),
    ],
)
def test_a_bound_under_a_name_that_is_refused_is_kept_under_the_other(
    fields: dict[str, Any], reaches: dict[str, Any], notes: tuple[str, ...]
) -> None:
    done = applied(rules({"drop_unsupported": True}, facts=O_SERIES), fields, CHAT)
    assert (sent(done, fields), done.notes, done.dropped) == (reaches, notes, ("max_tokens",))
    operators = applied(rules({"drop": ["max_tokens"]}, facts=O_SERIES), fields, CHAT)
    assert "max_tokens" not in sent(operators, fields)
    assert operators.notes == ()


@covers("16")
def test_fields_are_left_out_on_every_surface_by_their_names() -> None:
    made = rules({"drop": ["encoding_format"]})
    assert applied(made, {"input": "x", "encoding_format": "base64"}, EMBEDDINGS).dropped == ("encoding_format",)
    assert applied(rules({"drop": ["prompt"]}), {"model": "m", "prompt": "x"}, TRANSCRIPTIONS).dropped == ("prompt",)


@covers("15")
@pytest.mark.parametrize(
    ("fields", "reaches", "notes"),
    [
        ({"max_tokens": 10}, {"max_tokens": 64}, ("max_tokens_floored=64",)),
        ({"max_completion_tokens": 0}, {"max_completion_tokens": 64}, ("max_completion_tokens_floored=64",)),
        ({"max_tokens": 64}, {"max_tokens": 64}, ()),
        ({"max_tokens": None}, {"max_tokens": None}, ()),
        ({"max_tokens": True}, {"max_tokens": True}, ()),
        ({}, {}, ()),
    ],
)
@pytest.mark.parametrize("surface", [CHAT, COMPLETIONS])
def test_a_smaller_bound_is_raised_to_the_floor(
    fields: dict[str, Any], reaches: dict[str, Any], notes: tuple[str, ...], surface: Surface
) -> None:
    done = applied(rules(constraints={"min_max_tokens": 64}), fields, surface)
    assert (sent(done, fields), done.notes, done.dropped) == (reaches, notes, ())


@covers("15", "16")
def test_the_floor_holds_for_defaults_and_other_names_too_and_for_text_only() -> None:
    floor: dict[str, Any] = {"constraints": {"min_max_tokens": 64}}
    made = rules({"defaults": {"max_tokens": 5}}, **floor)
    assert applied(made, {}, CHAT).notes == ("default:max_tokens", "max_tokens_floored=64")
    made = rules({"drop_unsupported": True}, facts=O_SERIES, **floor)
    done = applied(made, {"max_tokens": 5}, CHAT)
    assert (sent(done, {"max_tokens": 5}), done.dropped) == ({"max_completion_tokens": 64}, ("max_tokens",))
    assert applied(made, {"max_tokens": 5}, EMBEDDINGS).notes == ()


@covers("16")
@pytest.mark.parametrize(
    ("defaults", "fields", "put", "notes", "dropped"),
    [
        ({"temperature": 0.1}, {}, {"temperature": 0.1}, ("default:temperature",), ()),
        ({"temperature": 0.1}, {"temperature": 0}, {}, (), ()),
        ({"temperature": 0.1}, {"temperature": None}, {"temperature": 0.1}, ("default:temperature",), ()),
        ({"max_tokens": 9}, {"max_completion_tokens": 7}, {}, (), ()),
        ({"seed": 1}, {}, {}, (), ("seed",)),
        ({"model": "x", "stream": True, "user": "u"}, {}, {}, (), ()),
    ],
)
def test_defaults_are_sent_where_the_caller_sends_nothing(
    defaults: dict[str, Any],
    fields: dict[str, Any],
    put: dict[str, Any],
    notes: tuple[str, ...],
    dropped: tuple[str, ...],
) -> None:
    made = rules({"drop": ["user"]}, {"defaults": defaults}, facts=Facts(unsupported=frozenset(["seed"])))
    done = applied(made, fields, CHAT)
    assert (dict(done.changes.put), done.notes, done.dropped) == (put, notes, dropped)


@covers("16")
def test_the_defaults_of_target_model_and_top_are_laid_over_each_other() -> None:
    layers = ({"a": 1, "b": 1, "c": 1, "d": 1}, {"b": 2, "c": 2, "d": None}, {"c": 3})
    made = rules(*({"defaults": layer} for layer in layers))
    assert dict(applied(made, {}, CHAT).changes.put) == {"a": 1, "b": 2, "c": 3}


@covers("16", "surfaces")
def test_defaults_for_text_are_not_sent_to_other_surfaces() -> None:
    made = rules({"defaults": {"temperature": 0.1, "dimensions": 8}})
    assert dict(applied(made, {}, EMBEDDINGS).changes.put) == {"dimensions": 8}
    assert applied(made, {}, TRANSCRIPTIONS) is AS_SENT


NAMES = st.sampled_from([EFFORT, "max_tokens", "max_completion_tokens", "temperature", "stop", "model", "stream", "x"])
FIELDS = st.dictionaries(NAMES, st.none() | st.integers(0, 99) | st.sampled_from(["none", "low"]), max_size=5)
RULES = st.builds(
    Rules,
    FIELDS.map(lambda fields: {name: value for name, value in fields.items() if value is not None}),
    st.sampled_from([None, "none", "low", "high"]),
    st.frozensets(NAMES, max_size=2),
    st.frozensets(NAMES, max_size=3),
    st.booleans(),
    st.sampled_from([0, 50]),
    st.booleans(),
)


@covers("15", "16", "17")
@given(RULES, FIELDS, st.sampled_from(SURFACES))
@settings(max_examples=500, deadline=None, database=None)
def test_whatever_the_rules_nothing_is_done_in_silence(made: Rules, fields: dict[str, Any], surface: Surface) -> None:
    done = applied(made, fields, surface)
    reaches = sent(done, fields)
    told = {note.removeprefix("default:").partition("=")[0].removesuffix("_floored") for note in done.notes}
    told |= {"output_config", "reasoning"} if EFFORT in told else set()  # where other APIs have it
    for name in {*fields, *reaches}:
        if reaches.get(name) != fields.get(name) or (name in fields) != (name in reaches):
            assert name in told or name in done.dropped
    assert not done.changes.drop & set(done.changes.put), "what is put is not said to be dropped"
    assert {name: reaches.get(name) for name in ("model", "stream")} == {
        name: fields.get(name) for name in ("model", "stream")
    }
    assert not any(name in reaches for name in made.drop - {"model", "stream"})
    assert (done is AS_SENT) == (reaches == fields and not done.dropped)
