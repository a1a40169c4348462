"""What is done to the fields of a request before it goes to a target: pure rules over the parsed fields.

In this order: fields are dropped, the reasoning effort is settled, defaults are added, the floor is held. What a caller
sent wins over what is configured; whatever is done is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headgate.core import surfaces
from headgate.core.request import UNCHANGED, Changes
from headgate.core.surfaces import Surface
from headgate.routing.capabilities import Facts
from headgate.routing.types import ModelSettings, ParameterSettings, Rules, TargetSettings

_EFFORT = "reasoning_effort"
_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Two names of one bound: what refuses the one takes the other."""
_USAGE = "stream_options"
"""The gateway asks for usage with it, unless it is left out."""
_OWN = frozenset(("model", "stream"))
"""The gateway's own to set: they decide where a request goes and what kind of answer is waited for."""
_GENERATION = frozenset(
    """
    temperature top_p top_k min_p stop seed max_tokens max_completion_tokens presence_penalty frequency_penalty
    repetition_penalty logit_bias logprobs top_logprobs tools tool_choice parallel_tool_calls functions function_call
    reasoning_effort thinking verbosity modalities audio prediction stream_options web_search_options
    """.split()  # noqa: SIM905 - thirty quoted names would read worse
)
"""Defaults that only make sense where text is generated; other surfaces refuse them."""
_BOUNDED = (surfaces.CHAT, surfaces.COMPLETIONS, surfaces.MESSAGES)
"""Surfaces where text is generated, with `max_tokens` for its bound."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done. `dropped` are fields that do not reach the target, `notes` what was set, as `name=value`."""

    changes: Changes = UNCHANGED
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


AS_SENT = Applied()


def applied(rules: Rules | None, fields: Mapping[str, Any], surface: Surface) -> Applied:
    """What the rules make of a request's fields; AS_SENT when they pass as they are."""
    if rules is None:
        return AS_SENT
    work = _Work(rules, fields)
    if rules.no_none and surface is surfaces.CHAT and fields.get(_EFFORT) == "none":
        work.gone.add(_EFFORT)
        work.notes.append(f"{_EFFORT}=none")
    if rules.drop or rules.drop_unsupported:
        work.drop(surface)
    if rules.effort and surface is surfaces.CHAT and fields.get(_EFFORT) is None:
        work.set_effort(rules.effort)
    if rules.effort and surface is surfaces.MESSAGES:
        work.set_effort_in_messages(rules.effort)
    if rules.defaults and not surface.form:
        work.add_defaults(surface)
    if rules.floor and surface in _BOUNDED:
        work.hold_floor(rules.floor)
    return work.result()


@dataclass(slots=True)
class _Work:
    rules: Rules
    fields: Mapping[str, Any]
    put: dict[str, Any] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    told: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, surface: Surface) -> None:
        refused = self.rules.unsupported if self.rules.drop_unsupported else frozenset[str]()
        for name, value in self.fields.items():
            if name in _OWN or name in self.gone:
                continue
            if name in self.rules.drop:
                self._leave_out(name)
            elif name in refused:
                self._leave_out(name)
                if surface is surfaces.CHAT:
                    self._use_twin(name, value)
        if self.fields.get("stream") is True and (_USAGE in self.rules.drop or _USAGE in refused):
            self.gone.add(_USAGE)

    def set_effort(self, effort: str) -> None:
        """The configured effort, where the caller sent none."""
        if effort == "none":
            return
        if _EFFORT in self.rules.unsupported or _EFFORT in self.rules.drop:
            self._leave_out(_EFFORT)
        else:
            self.put[_EFFORT] = effort
            self.notes.append(f"{_EFFORT}={effort}")

    def set_effort_in_messages(self, effort: str) -> None:
        """The same in Anthropic's words, which have no `none` and no `minimal`."""
        told = self.fields.get("output_config")
        own = told if isinstance(told, dict) else {}
        if effort != "none" and own.get("effort") is None and self.fields.get("thinking") is None:
            self.put["output_config"] = {**own, "effort": "low" if effort == "minimal" else effort}
            self.notes.append(f"{_EFFORT}={effort}")

    def add_defaults(self, surface: Surface) -> None:
        generates = surface in _BOUNDED
        for name, value in self.rules.defaults.items():
            if name in _OWN or name in self.rules.drop or (name in _GENERATION and not generates):
                continue
            if self._is_set(name) or self._is_set(_TWINS.get(name, name)):
                continue
            if name not in self.rules.unsupported:
                self.put[name] = value
                self.notes.append(f"default:{name}")
            else:
                self.told[name] = None
                if surface is surfaces.CHAT:
                    self._use_twin(name, value)

    def hold_floor(self, floor: int) -> None:
        for name in _TWINS:
            value = self.put.get(name, None if name in self.gone else self.fields.get(name))
            if type(value) is int and value < floor:
                self.put[name] = floor
                self.notes.append(f"{name}_floored={floor}")

    def result(self) -> Applied:
        if not (self.put or self.gone or self.told):
            return AS_SENT
        changes = Changes(self.put, frozenset(self.gone)) if self.put or self.gone else UNCHANGED
        return Applied(changes, tuple(self.told), tuple(self.notes))

    def _is_set(self, name: str) -> bool:
        return self.fields.get(name) is not None or name in self.put

    def _leave_out(self, name: str) -> None:
        self.told[name] = None
        if name in self.fields:
            self.gone.add(name)

    def _use_twin(self, name: str, value: Any) -> None:
        """Keep the bound on the answer's length under the name that the model knows."""
        twin = _TWINS.get(name)
        if twin is None or value is None or self._is_set(twin):
            return
        if twin not in self.rules.unsupported and twin not in self.rules.drop:
            self.put[twin] = value
            self.notes.append(f"{twin}={value}")


def rules_for(
    top: ParameterSettings, model: ModelSettings | None, target: TargetSettings | None, facts: Facts
) -> Rules | None:
    """The rules of one target; None when requests pass as they are. Found models have no settings of their own.

    A default of null takes away what an outer setting has for that field.
    """
    layers = [top]
    if model:
        layers.append(model.parameters)
    if target:
        layers.append(target.parameters)
    efforts = [layer.reasoning_effort for layer in layers if layer.reasoning_effort is not None]
    switches = [layer.drop_unsupported for layer in layers if layer.drop_unsupported is not None]
    defaults = {name: value for layer in layers for name, value in layer.defaults.items()}
    unsupported = _unsupported(layers, model, facts)
    rules = Rules(
        defaults={name: value for name, value in defaults.items() if value is not None},
        effort=efforts[-1] if efforts else None,
        drop=frozenset(name for layer in layers for name in layer.drop),
        unsupported=unsupported,
        drop_unsupported=bool(switches and switches[-1]),
        floor=model.constraints.min_max_tokens if model else 0,
        no_none=_has_no_none(bool(efforts), unsupported, facts),
    )
    return None if rules.idle else rules


def _unsupported(layers: list[ParameterSettings], model: ModelSettings | None, facts: Facts) -> frozenset[str]:
    """What the innermost setting names, else what the packaged list does; and the effort as configured."""
    named = [layer.unsupported for layer in layers if layer.unsupported is not None]
    fields = frozenset(named[-1]) if named else facts.unsupported
    reasons = model.capabilities.reasoning if model else None
    if reasons is None and not named:
        reasons = facts.reasoning
    if reasons is None:
        return fields
    return fields - {_EFFORT} if reasons else fields | {_EFFORT}


def _has_no_none(has_setting: bool, unsupported: frozenset[str], facts: Facts) -> bool:
    """Whether `none` is met by sending nothing: the model knows no such level, or an effort is configured to undo."""
    if _EFFORT in unsupported:
        return True
    return facts.takes_none is False or (has_setting and not facts.takes_none)
