"""`model_info`: facts about a deployment, most of them shown to callers, some of them used."""

from collections.abc import Callable
from typing import Any, get_args

from headgate.config.draft import Draft
from headgate.config.litellm.known import INFO
from headgate.config.litellm.prices import is_price, take_price
from headgate.config.litellm.translation import Field, Translation
from headgate.routing.types import Mode

_MODES = {"moderations": "moderation"}
_ABLE = {
    "supports_function_calling": "tools",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
}
_KINDS = {
    "supports_vision": ("input", "image"),
    "supports_audio_input": ("input", "audio"),
    "supports_pdf_input": ("input", "file"),
    "supports_audio_output": ("output", "audio"),
}


def take(to: Translation, info: Field, model: Draft, target: Draft) -> None:
    """Every field of one entry's `model_info` into its model and its target."""
    if not to.is_mapping(info):
        return
    if not info.value:
        to.exact(info, "Empty.")
    for field in info.members():
        if field.value is None:
            to.exact(field, "Not set.")
        else:
            _take(to, field, model, target)
    most = info.get("max_output_tokens") or info.get("max_tokens")
    if most is not None:
        _capability(to, "max_output_tokens", most.value, most, model)


def _take(to: Translation, field: Field, model: Draft, target: Draft) -> None:
    name = field.name
    if name == "id":
        target.put(("id",), str(to.value(field)), field.place)
        to.exact(field)
    elif name in _OWN:
        _OWN[name](to, field, model)
    elif name == "max_input_tokens":
        target.put(("context_window",), to.value(field), field.place)
        _capability(to, "context_window", field.value, field, model)
        to.approximate(field, "Taken for the context window, prompt and answer together; LiteLLM counts the prompt.")
    elif name in ("max_output_tokens", "max_tokens"):
        to.exact(field, "The most tokens of an answer.")
    elif name in _ABLE:
        _capability(to, _ABLE[name], field.value, field, model)
        to.exact(field)
    elif is_price(name):
        take_price(to, field, target)
    elif name in INFO:
        to.grade(INFO[name][0], field, INFO[name][1])
        if INFO[name][0] == "approximate":
            _show(to, field, model)
    else:
        to.grade(*_show(to, field, model))


def _capability(to: Translation, name: str, value: Any, field: Field, model: Draft) -> None:
    """The first entry that says it counts for the model."""
    if name not in model.data.get("capabilities", {}):
        model.put(("capabilities", name), to.value(Field(field.document, field.path, value)), field.place)


def _mode(to: Translation, field: Field, model: Draft) -> None:
    mode = _MODES.get(str(field.value), field.value)
    if mode in get_args(Mode):
        _capability(to, "mode", mode, field, model)
        to.exact(field)
    else:
        _show(to, field, model)
        to.approximate(field, "Shown in GET /model/info; there is no route for such models.")


def _groups(to: Translation, field: Field, model: Draft) -> None:
    if to.is_list(field):
        for group in to.value(field):
            if group not in model.data.setdefault("groups", []):
                model.put(("groups", len(model.data["groups"])), group, field.place)
        to.exact(field)


def _kind(to: Translation, field: Field, model: Draft) -> None:
    if not to.is_flag(field):
        return
    side, kind = _KINDS[field.name]
    kinds = model.data.get("capabilities", {}).get(side, ["text"])
    if field.value and kind not in kinds:
        kinds = [*kinds, kind]
    model.put(("capabilities", side), kinds, field.place)
    to.exact(field)


def _show(to: Translation, field: Field, model: Draft) -> tuple[Any, Field, str]:
    shown = model.data.setdefault("info", {})
    value = to.value(field)
    if shown.get(field.name, value) != value:
        return "approximate", field, "Shown in GET /model/info as the first entry of this name has it."
    if field.name not in shown:
        model.put(("info", field.name), value, field.place)
    return "exact", field, "Shown in GET /model/info."


_OWN: dict[str, Callable[[Translation, Field, Draft], None]] = {
    "mode": _mode,
    "access_groups": _groups,
    **dict.fromkeys(_KINDS, _kind),
}
