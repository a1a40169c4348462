"""Retries and cooldowns by kind of error: LiteLLM's exceptions are our codes."""

from dataclasses import dataclass

from headgate.config.draft import Path_, Place
from headgate.config.litellm.models import Models, take_retries
from headgate.config.litellm.translation import Field, Translation

_CODES = {
    "BadRequestError": "upstream_rejected",
    "AuthenticationError": "upstream_key_refused",
    "TimeoutError": "upstream_timeout",
    "RateLimitError": "upstream_rate_limited",
    "ContentPolicyViolationError": "upstream_content_policy",
    "InternalServerError": "upstream_fault",
    "ServiceUnavailableError": "upstream_unavailable",
    "BadGatewayError": "upstream_unavailable",
    "NotFoundError": "upstream_not_found",
}
_RETRIES = {f"{name}Retries": code for name, code in _CODES.items() if name != "BadGatewayError"}
_FAILS = {f"{name}AllowedFails": code for name, code in _CODES.items()}
_IN_A_ROW = "Failures in a row; LiteLLM counts those of a minute."
_LITELLMS_REST = 5


@dataclass(slots=True)
class Policies:
    """What follows how many failures. LiteLLM lets every rest be of one length."""

    to: Translation
    models: Models
    file: Place
    _rests: bool = True

    def finish(self) -> None:
        """LiteLLM's own numbers where the file has none."""
        cooldown = self.to.draft.data["routing"].setdefault("cooldown", {})
        for name in ("seconds", "longest"):
            if name not in cooldown:
                self.to.draft.put(("routing", "cooldown", name), _LITELLMS_REST, self.file)
        if not self._rests:
            for name in [name for name in ("failures_by_error",) if name in cooldown]:
                del cooldown[name]

    def rest(self, field: Field) -> None:
        for name in ("seconds", "longest"):
            self.to.draft.put(("routing", "cooldown", name), self.to.value(field), field.place)
        self.to.exact(field, "Every rest is of this length.")

    def no_rest(self, field: Field) -> None:
        if self.to.is_flag(field):
            if field.value:
                self.to.draft.put(("routing", "cooldown", "failures"), 0, field.place)
                self._rests = False
            self.to.exact(field)

    def fails(self, field: Field) -> None:
        """LiteLLM rests at the failure after those that are allowed."""
        if (allowed := self._count(field)) is not None:
            if self._rests:
                self.to.draft.put(("routing", "cooldown", "failures"), allowed + 1, field.place)
            self.to.approximate(field, _IN_A_ROW)

    def fails_by_error(self, section: Field) -> None:
        if self.to.is_mapping(section):
            take = dict.fromkeys(_FAILS, self._fails_of_error)
            self.to.each(section, take, {})

    def retries(self, section: Field) -> None:
        if self.to.is_mapping(section):
            take = dict.fromkeys(_RETRIES, self._retries_of_error)
            self.to.each(section, {**take, "DefaultRetries": self._default}, {})

    def retries_by_model(self, section: Field) -> None:
        """A model has one number for all errors; the highest is taken."""
        if not self.to.is_mapping(section):
            return
        if not section.value:
            self.to.exact(section, "Empty.")
        for member in section.members():
            piece = self.models.pieces.get(member.name)
            numbers = [one.value for one in member.members() if type(one.value) is int]
            if piece is None or not numbers:
                self.to.unsupported(member, "Needs the name of a model and numbers such as `TimeoutErrorRetries: 2`.")
            else:
                piece.put(("retries",), min(max(numbers), 10), member.place)
                self.to.approximate(member, "The highest of its numbers, for all kinds of errors.")

    def _default(self, field: Field) -> None:
        take_retries(self.to, field, self.to.draft, ("routing", "retries"))

    def _retries_of_error(self, field: Field) -> None:
        self._put(("retries_by_error", _RETRIES[field.name]), field, 0)

    def _fails_of_error(self, field: Field) -> None:
        self._put(("cooldown", "failures_by_error", _FAILS[field.name]), field, 1)

    def _put(self, path: Path_, field: Field, more: int) -> None:
        if (count := self._count(field)) is not None:
            self.to.draft.put(("routing", *path), count + more, field.place)
            remark = f"As `routing.{'.'.join(map(str, path))}`."
            self.to.grade("approximate" if more else "exact", field, f"{remark} {_IN_A_ROW}" if more else remark)

    def _count(self, field: Field) -> int | None:
        number = self.to.number(field)
        if number is None:
            return None
        if number < 0 or not isinstance(number, int):
            self.to.wrong(field, f"`{field.name}` must be a whole number, 0 or more.", "Write such a number.")
            return None
        return number
