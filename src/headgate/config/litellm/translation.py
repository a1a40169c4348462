"""Fields of LiteLLM's file on their way into a draft. Each gets one grade, or a problem. Knows no field by name."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from headgate.config.document import Document
from headgate.config.draft import Draft, Finding, Grade, Path_, Place, literal
from headgate.config.problems import did_you_mean

_VARIABLE = re.compile(r"os\.environ/(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Known = tuple[Grade, str]


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the file, with its path there."""

    document: Document
    path: Path_
    value: Any

    @property
    def name(self) -> str:
        return str(self.path[-1]) if self.path else ""

    @property
    def place(self) -> Place:
        return self.document.place_of(self.path)

    def members(self) -> list["Field"]:
        """What a mapping holds; nothing where it is none."""
        held = self.value.items() if isinstance(self.value, dict) else ()
        return [Field(self.document, (*self.path, str(key)), value) for key, value in held]

    def items(self) -> list["Field"]:
        """What a list holds; nothing where it is none."""
        held = self.value if isinstance(self.value, list) else ()
        return [Field(self.document, (*self.path, number), value) for number, value in enumerate(held)]

    def get(self, name: str) -> "Field | None":
        """A member that is set."""
        value = self.value.get(name) if isinstance(self.value, dict) else None
        return None if value is None else Field(self.document, (*self.path, name), value)


def _grade(usual: Grade, field: Field) -> Grade:
    """Off, a switch for what is always so cannot be had; one for what there is not is as it should be."""
    if field.value is not False:
        return usual
    if usual == "exact":
        return "unsupported"
    return usual if field.name.startswith(("disable_", "ssl_", "health_check_details")) else "exact"


Handler = Callable[[Field], None]


@dataclass(slots=True)
class Translation:
    """The draft that is being made. `renamed` are variables that the file sets to other variables."""

    draft: Draft
    renamed: dict[str, str] = field(default_factory=dict)

    def grade(self, grade: Grade, field: Field, remark: str = "") -> None:
        self.draft.findings.append(Finding(grade, field.place, remark))

    def exact(self, field: Field, remark: str = "") -> None:
        self.grade("exact", field, remark)

    def approximate(self, field: Field, remark: str) -> None:
        self.grade("approximate", field, remark)

    def unsupported(self, field: Field, remark: str) -> None:
        self.grade("unsupported", field, remark)

    def wrong(self, field: Field, message: str, remedy: str) -> None:
        """Note a mistake in the words of the file."""
        self.draft.problem(field.path, message, remedy, at=field.place)

    def put(self, path: Path_, field: Field, remark: str = "", *, near: bool = False) -> None:
        """Take a value as it is into the draft."""
        self.draft.put(path, self.value(field), field.place)
        self.grade("approximate" if near else "exact", field, remark)

    def is_mapping(self, field: Field) -> bool:
        if not isinstance(field.value, dict):
            self.wrong(field, f"`{field.name}` must be a mapping.", "Write `name: value` lines under it.")
        return isinstance(field.value, dict)

    def is_list(self, field: Field) -> bool:
        if not isinstance(field.value, list):
            self.wrong(field, f"`{field.name}` must be a list.", "Write its values as `- value` lines.")
        return isinstance(field.value, list)

    def is_text(self, field: Field) -> bool:
        good = isinstance(field.value, str) and bool(field.value)
        if not good:
            called = f"`{field.name}`" if isinstance(field.path[-1], str) else "The entry"
            self.wrong(field, f"{called} must be a text.", "Write a name, in quotes if it looks like a number.")
        return good

    def is_flag(self, field: Field) -> bool:
        if not isinstance(field.value, bool):
            self.wrong(field, f"`{field.name}` must be true or false.", "Write true or false, without quotes.")
        return isinstance(field.value, bool)

    def number(self, field: Field) -> float | None:
        """The number that a field holds; a problem is noted where it is none."""
        value = field.value
        try:
            found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found):
            self.wrong(field, f"`{field.name}` must be a number.", "Write the number itself.")
            return None
        return int(found) if found == int(found) else found

    def each(self, section: Field, handlers: Mapping[str, Handler], known: Mapping[str, Known]) -> None:
        """Hand every member to its handler; grade those without one."""
        if not section.value:
            self.exact(section, "Empty.")
        for member in section.members():
            if member.value is None:
                self.exact(member, "Not set.")
            elif handler := handlers.get(member.name):
                handler(member)
            else:
                self.judge(member, known, handlers)

    def judge(self, field: Field, known: Mapping[str, Known], more: Iterable[str] = ()) -> None:
        """Grade a field that no handler takes."""
        if field.name in known:
            self.grade(_grade(known[field.name][0], field), field, known[field.name][1])
        else:
            remark = did_you_mean(field.name, [*more, *known], "LiteLLM 1.106 has no such field here; take it out.")
            self.unsupported(field, remark)

    def value(self, field: Field) -> Any:
        """A field's value in the draft's terms: `os.environ/X` is a reference, all other text means itself."""
        return self._value(field, field.value)

    def _value(self, field: Field, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(field, value)
        if isinstance(value, dict):
            return {str(key): self._value(field, one) for key, one in value.items()}
        if isinstance(value, list | set | tuple):
            return [self._value(field, one) for one in value]
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, float) and not math.isfinite(value):
            self.wrong(field, "The number is not finite.", "Write a number that one can count to.")
            return 1
        return value

    def text(self, field: Field, text: str) -> str:
        found = _VARIABLE.fullmatch(text)
        if found is None:
            return literal(text)
        name = found[1].strip()
        if not _NAME.fullmatch(name):
            self.wrong(field, "`os.environ/` is not followed by a variable's name.", "Write `os.environ/SOME_NAME`.")
        return f"${{{self.renamed.get(name, name)}}}"
