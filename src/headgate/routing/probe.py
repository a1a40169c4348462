"""Asks the upstreams of resting targets how they are, so that a target comes back without risking a request."""

import asyncio
from collections.abc import Iterable, Mapping

from headgate.core.ports import Upstream
from headgate.routing.health import Book
from headgate.routing.types import Target


async def keep_probing(every: float, targets: Iterable[Target], upstreams: Mapping[str, Upstream], book: Book) -> None:
    """For ever, once in `every` seconds; does nothing while no target rests."""
    known = {target.key: target.upstream for target in targets}
    while True:
        await asyncio.sleep(every)
        resting = {key for key in book.resting() if key in known}
        names = {known[key] for key in resting}
        for name in names:
            health = await upstreams[name].check()
            if health.state == "up":
                for key in resting:
                    if known[key] == name:
                        book.recover(key)
