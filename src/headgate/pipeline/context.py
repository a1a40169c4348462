"""The values that the steps of a request pass along."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headgate.core.ports import Upstream
from headgate.core.run import Run
from headgate.routing.catalog import Catalog
from headgate.routing.types import Model


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided before anything was sent."""

    model: Model


@dataclass(frozen=True, slots=True)
class Deps:
    """What the steps work with, handed over once by the composition root."""

    catalog: Catalog
    upstreams: Mapping[str, Upstream]
    observers: tuple[Callable[[Run], None], ...]
    """Each is called once with every settled run."""
