"""Which model answers when another cannot, and other names for models."""

from dataclasses import dataclass, field

from headgate.config.litellm.models import Models
from headgate.config.litellm.translation import Field, Translation
from headgate.config.problems import did_you_mean

KINDS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")

_NO_MODEL = "There is no such model. A deployment's id cannot stand here; give it a `model_name` of its own."
_NOT_FOR_WRONG = "Not asked when the request itself is wrong (400, 413, 422); LiteLLM asks it then, too."


@dataclass(slots=True)
class Fallbacks:
    """`aliases` are names with the models they mean. What names no model is left out and said; LiteLLM starts, too."""

    to: Translation
    models: Models
    aliases: dict[str, str] = field(default_factory=dict)
    _everywhere: dict[str, list[Field]] = field(default_factory=dict)

    def alias(self, section: Field) -> None:
        """`model_group_alias`: a name, or a mapping of name and `hidden`."""
        if not self.to.is_mapping(section):
            return
        if not section.value:
            self.to.exact(section, "Empty.")
        for member in section.members():
            model = member.get("model") if isinstance(member.value, dict) else member
            if model is None or not isinstance(model.value, str) or not model.value:
                self.to.wrong(member, "The alias names no model.", "Write the model's name, or `{model:, hidden:}`.")
            else:
                self._alias(member, model)

    def take(self, section: Field) -> None:
        """A list of mappings: a model, or `*` for all, and the models to turn to."""
        if not self.to.is_list(section):
            return
        if not section.value:
            self.to.exact(section, "Empty.")
        for entry in section.items():
            if self.to.is_mapping(entry):
                if not entry.value:
                    self.to.exact(entry, "Empty.")
                for source in entry.members():
                    self._take(section.name, source)

    def everywhere(self, section: Field) -> None:
        """`default_fallbacks`: for every model."""
        for name in self._names("fallbacks", section):
            self._put_at_top(name)

    def finish(self) -> None:
        """Special fallbacks of `*` go to the models without their own."""
        for kind, names in self._everywhere.items():
            for piece in self.models.pieces.values():
                if kind not in piece.data:
                    others = [name for name in names if name.value != piece.data["name"]]
                    for number, name in enumerate(others):
                        piece.put((kind, number), self.to.value(name), name.place)

    def _alias(self, member: Field, model: Field) -> None:
        name, draft = member.name, self.to.draft
        if name in self.models.pieces:
            self.to.unsupported(member, "A model has this name, and it answers; take one of them out.")
        elif name in self.aliases:
            self.to.unsupported(member, "The name is taken by another alias.")
        elif not self.models.has(model.value):
            self.to.unsupported(member, did_you_mean(model.value, self.models.pieces, "There is no such model."))
        else:
            here = ("aliases", len(draft.data.setdefault("aliases", [])))
            draft.put((*here, "name"), self.to.text(member, name), member.place)
            draft.put((*here, "model"), self.to.value(model), model.place)
            if (hidden := member.get("hidden")) is not None:
                draft.put((*here, "hidden"), self.to.value(hidden), hidden.place)
            self.aliases[name] = model.value
            self.to.exact(member)

    def _take(self, kind: str, source: Field) -> None:
        if source.name == "*":
            for name in self._names(kind, source):
                if kind == "fallbacks":
                    self._put_at_top(name)
                else:
                    self._everywhere.setdefault(kind, []).append(name)
            return
        piece = self.models.pieces.get(self.aliases.get(source.name, source.name))
        if piece is None:
            remark = did_you_mean(source.name, self.models.pieces, "No entry of `model_list` has this name.")
            self.to.unsupported(source, remark)
            return
        for name in self._names(kind, source):
            if name.value not in piece.data.get(kind, []):
                piece.put((kind, len(piece.data.get(kind, []))), self.to.value(name), name.place)

    def _put_at_top(self, name: Field) -> None:
        routing = self.to.draft.data.setdefault("routing", {})
        if name.value not in (listed := routing.setdefault("fallbacks", [])):
            self.to.draft.put(("routing", "fallbacks", len(listed)), self.to.value(name), name.place)

    def _grade(self, kind: str, name: Field) -> None:
        if kind == "fallbacks":
            self.to.approximate(name, _NOT_FOR_WRONG)
        else:
            self.to.exact(name)

    def _names(self, kind: str, section: Field) -> list[Field]:
        """The names that models have, each graded."""
        if not isinstance(section.value, str) and not self.to.is_list(section):
            return []
        if not section.value:
            self.to.exact(section, "Empty.")
        found = []
        for name in section.items() or [section]:
            if isinstance(name.value, dict):
                self.to.unsupported(name, "Only a model's name can stand here, without fields of its own.")
            elif name is section and not section.value:
                continue
            elif self.to.is_text(name):
                if self.models.has(name.value) or name.value in self.aliases:
                    self._grade(kind, name)
                    found.append(name)
                else:
                    known = [*self.models.pieces, *self.aliases]
                    self.to.unsupported(name, did_you_mean(name.value, known, _NO_MODEL))
        return found
