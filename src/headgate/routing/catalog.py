"""Which models are offered, and which one a name means. Pure lookup over configured models and found ones.

A name means, in this order: a configured model; an alias of one; the most exact configured pattern, such as
`openai/*`; `upstream/id` for an upstream that offers all it has; an id that such an upstream lists.
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

from headgate.core.errors import ModelNotFound, UpstreamError
from headgate.core.ports import Upstream
from headgate.routing.compose import Composer
from headgate.routing.types import Model

_FRESH_SECONDS = 300.0
_FAILED_SECONDS = 15.0
_LIST_SECONDS = 5.0
_MOST_KEPT = 1000
_STAR = "*"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name for a model."""

    name: str
    model: str
    hidden: bool = False


class Catalog:
    """`offering` are the upstreams whose every model is offered, in order of preference.

    `composer` makes the models that are not configured by themselves: found ones, and those that match a pattern.
    """

    def __init__(
        self,
        models: Iterable[Model],
        offering: Mapping[str, Upstream],
        composer: Composer,
        aliases: Iterable[Alias] = (),
    ) -> None:
        configured = list(models)
        self._composer = composer
        self._models = {model.name: model for model in configured if _STAR not in model.name}
        self._aliases = {alias.name: alias for alias in aliases}
        self._patterns = sorted(
            ((_pattern(model.name), model) for model in configured if _STAR in model.name),
            key=lambda entry: len(entry[1].name.replace(_STAR, "")),
            reverse=True,
        )
        self._matched: dict[str, Model] = {}
        self._offering = offering
        self._found: dict[str, list[str]] = {name: [] for name in offering}
        self._fresh_until = dict.fromkeys(offering, 0.0)
        self._lock = asyncio.Lock()

    def configured(self, name: str) -> Model | None:
        """The model of that name when no upstream has to be asked for it."""
        return self._models.get(name) or self._meant(name)

    async def find(self, name: str) -> Model:
        """The model that a name means; raises ModelNotFound."""
        alias = self._aliases.get(name)
        wanted = alias.model if alias else name
        model = self.configured(wanted) or self._prefixed(wanted)
        if model is None and self._offering:
            await self._refresh()
            model = self._listed(wanted)
        if model is None:
            raise ModelNotFound(f"No model named '{name}' is offered here.", param="model")
        return model

    async def all(self) -> list[Model]:
        """Every model to be listed, once each: configured ones, aliases, then found ones as `upstream/id`.

        Hidden ones are left out, and so is what an upstream that is down would have; a pattern stands for itself.
        """
        await self._refresh()
        patterns = [model for _, model in self._patterns]
        offered = {model.name: model for model in [*self._models.values(), *patterns] if not model.hidden}
        for alias in self._aliases.values():
            model = self.configured(alias.model)
            if model is not None and not alias.hidden:
                offered.setdefault(alias.name, replace(model, name=alias.name))
        for upstream, ids in self._found.items():
            for model_id in ids:
                model = self._composer.found(upstream, model_id)
                offered.setdefault(model.name, model)
        return list(offered.values())

    def _meant(self, name: str) -> Model | None:
        alias = self._aliases.get(name)
        if alias is not None:
            name = alias.model
        return self._models.get(name) or self._matched.get(name) or self._match(name)

    def _match(self, name: str) -> Model | None:
        """The model of the most exact pattern, its targets' `*` replaced by what the pattern's `*` stands for."""
        for pattern, model in self._patterns:
            found = pattern.fullmatch(name)
            if found is not None:
                made = self._composer.filled(model, name, found[1])
                if len(self._matched) >= _MOST_KEPT:  # callers may invent names
                    self._matched.clear()
                self._matched[name] = made
                return made
        return None

    def _prefixed(self, name: str) -> Model | None:
        upstream, slash, model_id = name.partition("/")
        if slash and model_id and upstream in self._offering:
            return self._composer.found(upstream, model_id)
        return None

    def _listed(self, name: str) -> Model | None:
        for upstream, ids in self._found.items():
            if name in ids:
                return self._composer.found(upstream, name, name)
        return None

    async def _refresh(self) -> None:
        """Ask each upstream whose list is old. Callers that come meanwhile wait for the one answer."""
        async with self._lock:
            due = [name for name, until in self._fresh_until.items() if until <= monotonic()]
            if due:
                await asyncio.gather(*(self._list(name) for name in due))

    async def _list(self, name: str) -> None:
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                self._found[name] = sorted(set(await self._offering[name].models()))
        except (UpstreamError, TimeoutError) as error:
            log.warning("upstream %s did not list its models: %s", name, error)
            self._fresh_until[name] = monotonic() + _FAILED_SECONDS
        else:
            self._fresh_until[name] = monotonic() + _FRESH_SECONDS


def _pattern(name: str) -> re.Pattern[str]:
    """A name whose first `*` matches any text that is not empty; further ones too, but only the first is passed on."""
    first, *others = map(re.escape, name.split(_STAR))
    return re.compile(f"{first}(.+?){'.+?'.join(others)}", re.DOTALL)
