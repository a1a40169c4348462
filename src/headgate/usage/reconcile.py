"""An export's claims against the ledger: matched, differing, missing here or missing there. Pure; knows no format."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from math import gcd
from typing import Literal, NamedTuple

from headgate.core.money import usd
from headgate.usage.exports import Claim, plain_name

Verdict = Literal["matched", "differing", "missing_here", "missing_there"]
_TOKENS = ("prompt", "completion", "cached", "cache_write")
_NANO = Decimal(10) ** -9


class Used(NamedTuple):
    """What the ledger says of a model in a slot of time. `bound`: tokens by which estimates may be off.

    `at` is the slot's number since the epoch; of a single run it is 0.
    """

    at: int
    model: str
    run: str = ""
    requests: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    cost: int = 0
    unpriced: int = 0
    bound: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not the same: here and there, and whether our own estimates explain it."""

    what: str
    here: Decimal
    there: Decimal
    explained: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """The verdict on a claim, or on what the ledger has and the export has not."""

    verdict: Verdict
    claim: Claim
    used: Used
    differences: tuple[Difference, ...] = ()

    @property
    def is_well(self) -> bool:
        return self.verdict == "matched" or (bool(self.differences) and all(one.explained for one in self.differences))


@dataclass(slots=True)
class Reconciled:
    """All lines, those of the export in its order, then what it lacks."""

    lines: list[Line] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether everything agrees, but for what estimates explain."""
        return all(line.is_well for line in self.lines)

    def count(self, verdict: Verdict) -> int:
        return sum(line.verdict == verdict for line in self.lines)


def width_of(claims: Sequence[Claim]) -> int:
    """Milliseconds of the longest slots of time that all spans are made of; 0 where all claims are of runs."""
    bounds = [moment for claim in claims if not claim.run for moment in (claim.since, claim.until)]
    return gcd(*bounds)


def compared(claims: Sequence[Claim], used: Iterable[Used], width: int, tolerance: Decimal) -> Reconciled:
    """Every claim with what the ledger has of it. `tolerance` is a share, such as 0.01, of what the export says."""
    slots: dict[tuple[int, str], list[Used]] = defaultdict(list)
    runs: dict[str, list[Used]] = defaultdict(list)
    by_slot: dict[int, set[str]] = defaultdict(set)
    for one in used:
        if one.run:
            runs[one.run].append(one)
        else:
            name = plain_name(one.model)
            slots[one.at, name].append(one)
            by_slot[one.at].add(name)
    result, seen, times = Reconciled(), set[tuple[int, str]](), sorted(by_slot)
    for claim in claims:
        if claim.run:
            result.lines.append(_judged(claim, _sum(runs[claim.run]), tolerance))
            continue
        spanned = times[bisect_left(times, claim.since // width) : bisect_left(times, claim.until // width)]
        held = [(at, name) for at in spanned for name in by_slot[at] if claim.model in ("", name)]
        seen.update(held)
        result.lines.append(_judged(claim, _sum(one for key in held for one in slots[key]), tolerance))
    result.lines += _lacking(claims, slots, seen, width)
    return result


def _lacking(
    claims: Sequence[Claim], slots: dict[tuple[int, str], list[Used]], seen: set[tuple[int, str]], width: int
) -> list[Line]:
    """What the ledger has within the export's time that no claim speaks of, by the export's spans and by model."""
    spans = sorted({(claim.since, claim.until) for claim in claims if not claim.run})
    starts = [since for since, _ in spans]
    for one, other in pairwise(spans):
        if other[0] < one[1] and one != other:
            starts = []  # spans that overlap: what lacks cannot be put into one of them
            break
    missing: dict[tuple[int, int, str], list[Used]] = defaultdict(list)
    for (at, name), held in slots.items():
        if (at, name) in seen:
            continue
        moment = at * width
        span = (
            next((one for one in spans if one[0] <= moment < one[1]), None) if starts else (spans[0][0], spans[-1][1])
        )
        if span is not None and any(one.prompt or one.completion or one.cost for one in held):
            missing[(*span, name)] += held
    return [
        Line("missing_there", Claim(since, until, name), _sum(held))
        for (since, until, name), held in sorted(missing.items())
    ]


def _judged(claim: Claim, used: Used, tolerance: Decimal) -> Line:
    says_something = any((getattr(claim, name) or 0) for name in (*_TOKENS, "requests")) or bool(claim.usd)
    has_something = any(getattr(used, name) for name in _TOKENS) or bool(used.cost)
    if says_something and not has_something:
        return Line("missing_here", claim, used)
    found = []
    for name in _TOKENS:
        there = getattr(claim, name)
        if there is not None and abs(getattr(used, name) - there) > there * tolerance:
            here = getattr(used, name)
            found.append(Difference(name, Decimal(here), Decimal(there), abs(here - there) <= used.bound))
    if claim.usd is not None:
        slack = claim.rounding + used.requests * _NANO + abs(claim.usd) * tolerance
        if abs(usd(used.cost) - claim.usd) > slack:
            found.append(Difference("usd", usd(used.cost), claim.usd))
    return Line("differing" if found else "matched", claim, used, tuple(found))


def _sum(several: Iterable[Used]) -> Used:
    held = list(several)
    if not held:
        return Used(0, "")
    sums = (sum(numbers) for numbers in zip(*(one[3:] for one in held), strict=True))
    return Used(0, held[0].model, held[0].run, *sums)
