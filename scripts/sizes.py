"""Report file sizes; fail when a file passes the limit or its recorded ceiling. A ceiling only goes down."""

import json
import sys
from pathlib import Path

LIMIT = 600
FOLDERS = ("src", "tests", "bench", "scripts")


def measure(root: Path) -> dict[str, int]:
    """Lines of every Python file, by path from the root."""
    paths = (path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    return {path.relative_to(root).as_posix(): len(path.read_text().splitlines()) for path in paths}


def judge(sizes: dict[str, int], ceilings: dict[str, int]) -> list[str]:
    """What is wrong: files over their ceiling, and ceilings that could be lower."""
    over = [
        f"OVER  {path}  {lines} > {ceilings.get(path, LIMIT)}"
        for path, lines in sizes.items()
        if lines > ceilings.get(path, LIMIT)
    ]
    slack = [
        f"LOWER {path}  ceiling {ceiling}, now {sizes.get(path, 0)}"
        for path, ceiling in ceilings.items()
        if sizes.get(path, 0) < ceiling
    ]
    return over + slack


def report(sizes: dict[str, int]) -> str:
    """One line of figures for the source files alone."""
    lines = sorted(count for path, count in sizes.items() if path.startswith("src/"))
    return (
        f"files {len(lines)}  lines {sum(lines)}  median {lines[len(lines) // 2]}  p90 {lines[len(lines) * 9 // 10]}  "
        f"max {lines[-1]}  over 400: {sum(count > 400 for count in lines)}"
    )


def main() -> None:
    root = Path(__file__).parent.parent
    note = root / "sizes.json"
    sizes = measure(root)
    print(report(sizes))
    wrong = judge(sizes, json.loads(note.read_text()) if note.exists() else {})
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
