"""`model_list`: entries of one `model_name` become one model with several targets."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from headgate.config.draft import Draft, Path_, Place
from headgate.config.litellm import info, targets
from headgate.config.litellm.accounts import Accounts, is_of_account
from headgate.config.litellm.known import ENTRY
from headgate.config.litellm.providers import NOT_MODELS, meant
from headgate.config.litellm.translation import Field, Translation

_METRICS: tuple[Path_, ...] = (("weight",), ("limits", "requests_per_minute"), ("limits", "tokens_per_minute"))
_MOST_RETRIES = 10


@dataclass(slots=True)
class Models:
    """`pieces` are the models by name, each a piece of the draft."""

    to: Translation
    accounts: Accounts
    credentials: dict[str, Field]
    pieces: dict[str, Draft] = field(default_factory=dict)
    mirrors: list[tuple[Draft, Field]] = field(default_factory=list)

    def add(self, entry: Field) -> None:
        """One entry of the list. What cannot be called at all is left out with one remark for all its fields."""
        params, name = entry.get("litellm_params"), entry.get("model_name")
        if not isinstance(entry.value, dict) or params is None or name is None:
            self.to.wrong(entry, "The entry has no `model_name` or no `litellm_params`.", "Give it both.")
            return
        model = params.get("model")
        if not (self.to.is_text(name) and self.to.is_mapping(params)):
            return
        if model is None:
            self.to.wrong(params, "The entry has no `litellm_params.model`.", "Write `model: provider/id`.")
        elif str(model.value).startswith("os.environ/") and params.get("custom_llm_provider") is None:
            self.to.wrong(
                model, "The provider is in a variable.", "Add `custom_llm_provider:`, or name the model here."
            )
        elif self.to.is_text(model) and not self._left_out(entry, model):
            self._add(entry, name, params, model)

    def has(self, name: str) -> bool:
        """Whether calls to a name would find a model; patterns count."""
        return name in self.pieces or any(_matches(pattern, name) for pattern in self.pieces if "*" in pattern)

    def targets(self) -> Iterator[tuple[Draft, int, dict[str, Any]]]:
        """Every target, with its model and its number there."""
        for piece in self.pieces.values():
            for number, target in enumerate(piece.data["targets"]):
                yield piece, number, target

    def put_where_missing(self, path: Path_, value: Any, place: Place) -> None:
        """Give a value to every target that has none of its own."""
        for piece, number, target in self.targets():
            if _found(target, path) is None:
                piece.put(("targets", number, *path), value, place)

    def weigh(self) -> None:
        """As `simple-shuffle` does: by weight, else by rpm, else by tpm; who lacks what others have gets nothing."""
        for piece in self.pieces.values():
            several = piece.data["targets"]
            metric = next((path for path in _METRICS if any(_counts(_found(one, path)) for one in several)), None)
            if metric is None or len(several) == 1:
                continue
            first = next(n for n, one in enumerate(several) if _counts(_found(one, metric)))
            for number, target in enumerate(several):
                value = _found(target, metric)
                at = piece.place_of(("targets", first if value is None else number, *metric))
                if metric != ("weight",) or value is None:
                    piece.put(("targets", number, "weight"), value or 0, at)

    def mirror(self) -> None:
        """Copies of the traffic, once all models are known."""
        for piece, silent in self.mirrors:
            names = silent.items() if isinstance(silent.value, list) else [silent]
            if not names:
                self.to.exact(silent, "Empty.")
            for number, name in enumerate(names):
                if number or "mirror" in piece.data:
                    self.to.unsupported(name, "A model has one mirror at most.")
                elif self.to.is_text(name) and not self.has(name.value):
                    self.to.unsupported(name, "There is no such model; add it to `model_list`.")
                elif isinstance(name.value, str):
                    piece.put(("mirror", "model"), self.to.value(name), name.place)
                    self.to.exact(name)

    def _left_out(self, entry: Field, model: Field) -> bool:
        prefix = str(model.value).partition("/")[0]
        blocked = entry.get("blocked") or (entry.get("model_info") or entry).get("blocked")
        if prefix in NOT_MODELS:
            self.to.unsupported(entry, f"Left out. {NOT_MODELS[prefix]}")
        elif blocked is not None and blocked.value is True:
            self.to.exact(entry, "Left out, for it is blocked.")
        else:
            return False
        return True

    def _add(self, entry: Field, name: Field, params: Field, model: Field) -> None:
        given = params.get("custom_llm_provider")
        if given is not None and self.to.is_text(given):
            self.to.exact(given)
        account = self._account_fields(params)
        base = account.get("api_base") or account.get("base_url")
        who = meant(model.value, str(given.value) if given else None, base.value if base else None)
        if "*" in who.model and "*" not in name.value:
            self.to.wrong(model, "The `*` stands for nothing: there is none in `model_name`.", "Write the model's id.")
            return
        answer = params.get("mock_response")
        if answer is not None and isinstance(answer.value, str):
            upstreams = [self.accounts.mock(answer, model)]
            self._grade_mocked(params)
        else:
            upstreams = self.accounts.of(who, account)
        piece = self._piece(name)
        target = Draft({"upstream": upstreams[0], "model": self.to.text(model, who.model)})
        self._of_model(params, piece)
        targets.take(self.to, params, target)
        if (facts := entry.get("model_info")) is not None:
            info.take(self.to, facts, piece, target)
        for number, upstream in enumerate(upstreams):
            at = len(piece.data["targets"])
            data = {**deepcopy(target.data), "upstream": upstream}
            if number:
                data.pop("id", None)
            graft(piece, ("targets", at), Draft(data, target.places), model.place)
        known = ("model_name", "litellm_params", "model_info", "blocked")
        for member in entry.members():
            if member.name not in known:
                self.to.judge(member, ENTRY, known)
            elif member.value is None or member.name == "blocked":
                self.to.exact(member, "Not set.")

    def _account_fields(self, params: Field) -> dict[str, Field]:
        """The account's fields, those of a named credential under the entry's own."""
        found: dict[str, Field] = {}
        named = params.get("litellm_credential_name")
        if named is not None and self.to.is_text(named):
            credential = self.credentials.get(named.value)
            if credential is None:
                self.to.wrong(named, f"There is no credential '{named.value}'.", "Add it to `credential_list`.")
            else:
                self.to.exact(named)
                found = {one.name: one for one in credential.members() if one.value is not None}
        own = {one.name: one for one in params.members() if one.value is not None}
        return {key: one for key, one in {**found, **own}.items() if key == "model" or is_of_account(key)}

    def _grade_mocked(self, params: Field) -> None:
        for member in params.members():
            if member.name in ("model", "mock_response"):
                self.to.exact(member, "Answered here; no provider is called.")
            elif is_of_account(member.name) and member.value is not None:
                self.to.exact(member, "Not used: `mock_response` answers.")

    def _piece(self, name: Field) -> Draft:
        if name.value not in self.pieces:
            piece = Draft({"name": self.to.text(name, name.value), "targets": []})
            piece.places[()] = piece.places[("name",)] = name.place
            self.pieces[name.value] = piece
        several = name.value.count("*") > 1
        remark = "Only what the first `*` matches is passed on."
        self.to.grade("approximate" if several else "exact", name, remark * several)
        return self.pieces[name.value]

    def _of_model(self, params: Field, piece: Draft) -> None:
        for name in ("num_retries", "max_retries"):
            if (found := params.get(name)) is None:
                continue
            if "retries" in piece.data and piece.data["retries"] != found.value:
                self.to.approximate(found, "Counts for all targets of a model; the first entry's number is used.")
            elif "retries" in piece.data:
                self.to.exact(found)
            else:
                take_retries(self.to, found, piece, ("retries",))
        if (silent := params.get("silent_model")) is not None:
            self.mirrors.append((piece, silent))
        answer = params.get("mock_response")
        if answer is not None and not isinstance(answer.value, str):
            self.to.unsupported(answer, "Only a text can be the answer.")


def take_retries(to: Translation, found: Field, draft: Draft, path: Path_) -> None:
    """A number of further tries; ours count for each target."""
    value = to.value(found)
    most = isinstance(value, int) and value > _MOST_RETRIES
    draft.put(path, _MOST_RETRIES if most else value, found.place)
    if most:
        to.approximate(found, f"{_MOST_RETRIES}, the most there is.")
    else:
        to.approximate(found, "Further tries of each target; LiteLLM counts those of a model's targets together.")


def graft(draft: Draft, at: Path_, piece: Draft, place: Place) -> None:
    """Set a piece into a draft, each value with its own place."""
    draft.put(at, piece.data, place)
    for path, found in piece.places.items():
        draft.places[at + path] = found


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(".+".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _found(target: dict[str, Any], path: Path_) -> Any:
    here: Any = target
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _counts(value: Any) -> bool:
    """Whether a metric weighs something; a reference does, for its number is not known yet."""
    return isinstance(value, str) or (isinstance(value, int | float) and value > 0)
