"""The report on a foreign configuration format: what becomes of each of its fields."""

from collections.abc import Iterator

from headgate.config.draft import Finding, Grade

_GRADES: dict[Grade, str] = {
    "exact": "honoured as they are",
    "approximate": "honoured nearly",
    "unsupported": "not honoured",
}


def summary(findings: list[Finding]) -> str:
    """One line of figures."""
    counts = {grade: sum(one.grade == grade for one in findings) for grade in _GRADES}
    return f"{len(findings)} fields: " + ", ".join(f"{count} {grade}" for grade, count in counts.items())


def table(findings: list[Finding], *, quiet: bool) -> Iterator[str]:
    """The lines of the report, by grade; `quiet` leaves out what is exact."""
    for grade, meaning in _GRADES.items():
        found = [one for one in findings if one.grade == grade]
        if not found or (quiet and grade == "exact"):
            continue
        yield f"{grade}: {len(found)} fields {meaning}"
        width = min(60, max(len(one.place.name) for one in found))
        for one in found:
            yield f"  {one.place.line:>5}  {one.place.name:<{width}}  {one.remark}".rstrip()


def inexact(findings: list[Finding]) -> Iterator[str]:
    """One line for each field that is not honoured as it is."""
    for one in findings:
        if one.grade != "exact":
            yield f"{one.place} {one.place.name}: {one.grade}; {one.remark}"
