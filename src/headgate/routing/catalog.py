"""Which models are offered, and which one a name means. Pure lookup over configured models and found ones.

A name means, in this order: a configured model; `upstream/id` for an upstream that offers all it has; an id that such
an upstream lists.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from time import monotonic

from headgate.core.errors import ModelNotFound, UpstreamError
from headgate.core.ports import Upstream
from headgate.routing.types import Model, Target

_FRESH_SECONDS = 300.0
_FAILED_SECONDS = 15.0
_LIST_SECONDS = 5.0

log = logging.getLogger(__name__)


class Catalog:
    """`offering` are the upstreams whose every model is offered, in order of preference."""

    def __init__(self, models: Iterable[Model], offering: Mapping[str, Upstream]) -> None:
        self._models = {model.name: model for model in models}
        self._offering = offering
        self._found: dict[str, list[str]] = {name: [] for name in offering}
        self._fresh_until = dict.fromkeys(offering, 0.0)
        self._lock = asyncio.Lock()

    def configured(self, name: str) -> Model | None:
        """The model of that name when no upstream has to be asked for it."""
        return self._models.get(name)

    async def find(self, name: str) -> Model:
        """The model that a name means; raises ModelNotFound."""
        model = self._models.get(name) or self._prefixed(name)
        if model is None and self._offering:
            await self._refresh()
            model = self._listed(name)
        if model is None:
            raise ModelNotFound(f"No model named '{name}' is offered here.", param="model")
        return model

    async def all(self) -> list[Model]:
        """Every offered model, configured ones first, found ones as `upstream/id`; upstreams that are down left out."""
        await self._refresh()
        offered = dict(self._models)
        for upstream, ids in self._found.items():
            for model_id in ids:
                model = self._found_model(upstream, model_id)
                offered.setdefault(model.name, model)
        return list(offered.values())

    def _prefixed(self, name: str) -> Model | None:
        upstream, slash, model_id = name.partition("/")
        if slash and model_id and upstream in self._offering:
            return self._found_model(upstream, model_id)
        return None

    def _listed(self, name: str) -> Model | None:
        for upstream, ids in self._found.items():
            if name in ids:
                return Model(name, (Target(upstream, name),), owned_by=upstream, label=f"{upstream}/*")
        return None

    def _found_model(self, upstream: str, model_id: str) -> Model:
        return Model(f"{upstream}/{model_id}", (Target(upstream, model_id),), owned_by=upstream, label=f"{upstream}/*")

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
