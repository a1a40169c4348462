"""What a configuration comes to and a new one replaces: upstreams, models, and what the packaged lists say of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from headgate.api.lists import Lists
from headgate.app.targets import composer_of, lists_of, upstream_of
from headgate.config.tree import Settings
from headgate.core.errors import StartupError
from headgate.core.ports import Upstream
from headgate.routing.catalog import Alias, Catalog
from headgate.routing.compose import policy_of
from headgate.routing.health import Book
from headgate.routing.plan import Planner
from headgate.routing.types import Model
from headgate.upstreams.http import Wire
from headgate.upstreams.types import LocalAddress, UpstreamSettings

__all__ = ["Parts", "parts_of"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Nothing here changes; a configuration that changed makes new ones."""

    settings: Settings
    upstreams: Mapping[str, Upstream]
    known: tuple[UpstreamSettings, ...]
    """These and former ones, by which runs that are under way are still to be priced."""
    lists: Lists
    models: list[Model]
    catalog: Catalog
    planner: Planner


def parts_of(
    settings: Settings, wire: Wire, local: Mapping[str, LocalAddress], book: Book, former: Parts | None = None
) -> Parts:
    """Upstreams that are set as before are kept with their connections. Raises StartupError."""
    upstreams = _upstreams(settings, wire, local, former)
    offering = {one.name: upstreams[one.name] for one in settings.upstreams if one.offer_all}
    known = [*(former.known if former is not None else ()), *settings.upstreams]
    lists = lists_of(known)
    composer = composer_of(settings, lists)
    models = [composer.model(one) for one in settings.models]
    aliases = [Alias(one.name, one.model, one.hidden) for one in settings.aliases]
    catalog = Catalog(models, offering, composer, aliases)
    planner = Planner(policy_of(settings.routing), book, catalog.configured)
    named = {one.name: one for one in known}
    return Parts(settings, upstreams, tuple(named.values()), lists, models, catalog, planner)


def _upstreams(
    settings: Settings, wire: Wire, local: Mapping[str, LocalAddress], former: Parts | None
) -> dict[str, Upstream]:
    known = {one.name: one for one in former.settings.upstreams} if former is not None else {}
    upstreams: dict[str, Upstream] = {}
    for one in settings.upstreams:
        if former is not None and known.get(one.name) == one:
            upstreams[one.name] = former.upstreams[one.name]
        elif one.provider == "local" and one.name not in local:
            raise StartupError(f"The local model '{one.name}' is started with the gateway only: restart it.")
        else:
            upstreams[one.name] = upstream_of(one, wire, local)
    return upstreams
