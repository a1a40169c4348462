"""Which models are offered, and which one a name means."""

import asyncio
from collections.abc import Callable

import pytest

from headgate.core.errors import ModelNotFound, UpstreamUnreachable
from headgate.core.events import Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.run import Attempt
from headgate.routing import catalog as module
from headgate.routing.capabilities import UNKNOWN
from headgate.routing.catalog import Alias, Catalog
from headgate.routing.compose import Composer
from headgate.routing.types import Model, ParameterSettings, RoutingSettings, Target
from tests.requirements import covers


class Lister:
    """An upstream that only lists."""

    def __init__(self, name: str, *ids: str, wait: asyncio.Event | None = None) -> None:
        self.name = name
        self.speaks = frozenset(("chat",))
        self.ids: list[str] | None = list(ids)
        self.asked = 0
        self._wait = wait

    async def models(self) -> list[str]:
        self.asked += 1
        if self._wait:
            await self._wait.wait()
        if self.ids is None:
            raise UpstreamUnreachable("gone")
        return self.ids

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        raise NotImplementedError

    async def check(self) -> Health:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the catalog's clock on."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def catalog_of(models: list[Model], offering: dict[str, Lister], aliases: tuple[Alias, ...] = ()) -> Catalog:
    composer = Composer(RoutingSettings(), ParameterSettings(), lambda *_: UNKNOWN, lambda *_: None)
    return Catalog(models, offering, composer, aliases)


def configured(*names: str) -> list[Model]:
    return [Model(name, (Target("a", f"id-of-{name}"),)) for name in names]


async def names(catalog: Catalog) -> list[str]:
    return [model.name for model in await catalog.all()]


@covers("4")
async def test_configured_models_come_first_and_each_name_once() -> None:
    a, b = Lister("a", "z", "x", "x"), Lister("b", "x", "y")
    catalog = catalog_of(configured("one", "a/x"), {"a": a, "b": b})
    assert await names(catalog) == ["one", "a/x", "a/z", "b/x", "b/y"]
    assert (await catalog.find("a/x")).targets[0].model == "id-of-a/x"


@covers("5")
@pytest.mark.parametrize(
    ("name", "target", "label"),
    [
        ("one", Target("a", "id-of-one"), ""),
        ("a/anything/at/all", Target("a", "anything/at/all"), "a/*"),
        ("b/x", Target("b", "x"), "b/*"),
        ("x", Target("a", "x"), "a/*"),
        ("only-b", Target("b", "only-b"), "b/*"),
        ("org/name", Target("b", "org/name"), "b/*"),
    ],
)
async def test_a_name_means(name: str, target: Target, label: str) -> None:
    catalog = catalog_of(configured("one"), {"a": Lister("a", "x"), "b": Lister("b", "x", "only-b", "org/name")})
    model = await catalog.find(name)
    [found] = model.targets
    assert (model.name, found.upstream, found.model, model.label) == (name, target.upstream, target.model, label)


@covers("5")
@pytest.mark.parametrize("name", ["nope", "c/x", "a/", "/x", "", "one/x", "A/x"])
async def test_a_name_that_means_nothing(name: str) -> None:
    catalog = catalog_of(configured("one"), {"a": Lister("a", "x")})
    with pytest.raises(ModelNotFound) as caught:
        await catalog.find(name)
    assert caught.value.param == "model"


@covers("4")
async def test_lists_are_asked_for_once_in_five_minutes(clock: Callable[[float], None]) -> None:
    a = Lister("a", "x")
    catalog = catalog_of([], {"a": a})
    for _ in range(3):
        await catalog.all()
        with pytest.raises(ModelNotFound):
            await catalog.find("nope")
    assert a.asked == 1
    a.ids = ["y"]
    clock(299)
    assert await names(catalog) == ["a/x"]
    clock(2)
    assert await names(catalog) == ["a/y"]
    assert a.asked == 2


@covers("4")
async def test_an_upstream_that_is_down_keeps_its_last_list_and_is_asked_again_soon(
    clock: Callable[[float], None],
) -> None:
    a, b = Lister("a", "x"), Lister("b", "y")
    catalog = catalog_of([], {"a": a, "b": b})
    await catalog.all()
    a.ids = None
    clock(301)
    assert await names(catalog) == ["a/x", "b/y"]
    clock(10)
    await catalog.all()
    assert (a.asked, b.asked) == (2, 2)
    a.ids = ["z"]
    clock(6)
    assert await names(catalog) == ["a/z", "b/y"]


@covers("4")
async def test_callers_at_the_same_time_wait_for_one_answer() -> None:
    wait = asyncio.Event()
    a = Lister("a", "x", wait=wait)
    catalog = catalog_of([], {"a": a})
    asking = [asyncio.get_running_loop().create_task(catalog.find("x")) for _ in range(10)]
    await asyncio.sleep(0)
    wait.set()
    assert {model.name for model in await asyncio.gather(*asking)} == {"x"}
    assert a.asked == 1


@covers("4")
async def test_an_upstream_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIST_SECONDS", 0.05)
    catalog = catalog_of(configured("one"), {"a": Lister("a", "x", wait=asyncio.Event()), "b": Lister("b", "y")})
    assert await names(catalog) == ["one", "b/y"]


@covers("25")
async def test_a_configured_model_is_found_without_asking_anyone() -> None:
    a = Lister("a", "x")
    catalog = catalog_of(configured("one"), {"a": a})
    assert (await catalog.find("one")).name == "one"
    assert (await catalog.find("a/x")).name == "a/x"
    assert catalog.configured("one") is not None
    assert catalog.configured("a/x") is None
    assert not a.asked
