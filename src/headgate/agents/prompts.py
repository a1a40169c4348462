"""The texts that steer strategies. Files of the same names in a folder of the operator's take their place."""

from importlib import resources
from pathlib import Path
from typing import Literal, get_args

Name = Literal["reasoning", "reasoning_json", "reasoning_tools", "final_answer", "classifier", "plan", "synthesis"]
_LARGEST = 1 << 20


class Prompts:
    """Read once; a new one is made when files change."""

    def __init__(self, folder: Path | None = None) -> None:
        self._texts: dict[str, str] = {name: _read(name, folder) for name in get_args(Name)}

    def __getitem__(self, name: Name) -> str:
        return self._texts[name]


def _read(name: str, folder: Path | None) -> str:
    own = folder / f"{name}.md" if folder is not None else None
    if own is not None and own.is_file():
        return own.read_text()[:_LARGEST].strip()
    return resources.files("headgate.agents").joinpath(f"prompts/{name}.md").read_text().strip()
