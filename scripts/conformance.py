"""Write docs/conformance.md from the conformance suite. `--check` only tells whether it is up to date."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.conformance.page import page  # noqa: E402 - the tests are beside the scripts, in no package of their own


def main() -> None:
    path, text = ROOT / "docs/conformance.md", page()
    is_stale = not path.exists() or path.read_text() != text
    if is_stale and "--check" not in sys.argv:
        path.write_text(text)
    if is_stale:
        print("stale" if "--check" in sys.argv else "written", "docs/conformance.md")
    sys.exit(is_stale and "--check" in sys.argv)


if __name__ == "__main__":
    main()
