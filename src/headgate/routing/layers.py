"""A target's rules for tenants with parameters of their own: made when first needed, and remembered."""

from typing import Any

from headgate.core.terms import Parameters
from headgate.routing.capabilities import Facts
from headgate.routing.parameters import rules_for
from headgate.routing.types import ModelSettings, ParameterSettings, Rules, TargetSettings

_MOST = 1000


class RuleLayers:
    """The settings around one target. Those of a tenant take the place of the outermost."""

    __slots__ = ("_facts", "_known", "_model", "_target", "_top")

    def __init__(
        self, top: ParameterSettings, model: ModelSettings | None, target: TargetSettings | None, facts: Facts
    ) -> None:
        self._top = top
        self._model = model
        self._target = target
        self._facts = facts
        self._known: dict[Parameters, Rules | None] = {}

    @property
    def longest(self) -> int:
        """Tokens of the longest answer, as the packaged list has it; 0 if unknown."""
        return self._facts.max_output_tokens or 0

    def rules(self) -> Rules | None:
        """For tenants without parameters of their own; None when requests pass as they are."""
        return rules_for(self._top, self._model, self._target, self._facts)

    def under(self, parameters: Parameters) -> Rules | None:
        """For a tenant that has its own."""
        if parameters in self._known:
            return self._known[parameters]
        said: dict[str, Any] = {
            "reasoning_effort": parameters.effort,
            "drop_unsupported": parameters.drop_unsupported,
            "defaults": parameters.defaults,
        }
        top = self._top.model_copy(update={name: value for name, value in said.items() if value is not None})
        if len(self._known) >= _MOST:  # each change of a tenant's settings makes new ones
            self._known.clear()
        found = self._known[parameters] = rules_for(top, self._model, self._target, self._facts)
        return found
