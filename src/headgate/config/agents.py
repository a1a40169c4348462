"""What the shape of agents does not show: names that clash or lead nowhere, and faults of prompts and skills."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headgate.agents import skills
from headgate.agents.template import Faulty, Template, parse
from headgate.agents.types import AgentSettings
from headgate.config.draft import Draft, Path_, Place
from headgate.config.problems import Problem, did_you_mean
from headgate.tools.builtin.registry import SWITCHES, known_tools
from headgate.tools.loading import may_have_plugins
from headgate.tools.settings import ToolSettings

_PREFIX = "augmented/"
_ALIASES = {"model": "upstream_model", "delegates": "experts"}
_OF_SERVERS = "mcp_"
Agent = tuple[Path_, dict[str, Any]]


def check_agents(draft: Draft, models: dict[Path_, str], *, any_model: bool) -> None:
    """`models` are the names of models and aliases, each with its place; `any_model`: others may exist besides."""
    agents = list(_agents(draft))
    _check_names(draft, agents, models)
    settings = _tool_settings(draft) if agents else None
    tools = known_tools(settings) if settings is not None else {}
    has_plugins = settings is None or may_have_plugins(settings.folder, packages=settings.entry_points)
    names = [str(agent.get("name")) for _, agent in agents]
    for here, agent in agents:
        if not any_model:
            _check_model(draft, here, agent, list(models.values()))
        _check_tools(draft, here, agent, tools, has_plugins=has_plugins)
        _check_delegates(draft, here, agent, [*names, *models.values()], any_model=any_model)
        _check_prompt(draft, here, agent, None if has_plugins else list(tools))
    _check_skills(draft, agents)
    if not any_model:
        _check_strategies(draft, list(models.values()))


def _tool_settings(draft: Draft) -> ToolSettings | None:
    """None if they cannot be read, which the tree tells."""
    try:
        return ToolSettings.model_validate(draft.data.get("tools") or {})
    except ValidationError:
        return None


def _agents(draft: Draft) -> Iterator[Agent]:
    listed = draft.data.get("agents")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            yield ("agents", number), one


def _field(agent: dict[str, Any], name: str) -> tuple[str, Any]:
    """A setting by either of its names."""
    other = _ALIASES.get(name, name)
    return (other, agent[other]) if name not in agent and other in agent else (name, agent.get(name))


def _check_names(draft: Draft, agents: list[Agent], models: dict[Path_, str]) -> None:
    """An agent `x` is called `augmented/x` as well, so neither may mean anything else."""
    taken = {name: path for path, name in reversed(models.items())}
    for here, agent in agents:
        name = agent["name"]
        for one in (name,) if name.startswith(_PREFIX) else (name, _PREFIX + name):
            if one in taken:
                where = draft.place_of(taken[one])
                draft.problem(
                    (*here, "name"), f"The name '{one}' is taken already, at {where}.", "Choose another name."
                )
                break
            taken[one] = (*here, "name")


def _check_model(draft: Draft, here: Path_, agent: dict[str, Any], models: list[str]) -> None:
    field, model = _field(agent, "model")
    known = f"Models here: {', '.join(models) or 'none'}."
    if model is None:
        if agent["name"] not in models:
            draft.problem(here, f"The agent '{agent['name']}' has no model.", f"Add `model:`. {known}")
    elif isinstance(model, str) and model != "inherit" and model not in models:
        draft.problem((*here, field), f"There is no model '{model}'.", did_you_mean(model, models, known))


def _check_strategies(draft: Draft, models: list[str]) -> None:
    """The models that strategies ask besides the request's."""
    strategies = draft.data.get("strategies")
    for name in ("classifier", "orchestration"):
        section = strategies.get(name) if isinstance(strategies, dict) else None
        model = section.get("model") if isinstance(section, dict) else None
        if isinstance(model, str) and model not in models:
            remedy = did_you_mean(model, models, f"Models here: {', '.join(models) or 'none'}.")
            draft.problem(("strategies", name, "model"), f"There is no model '{model}'.", remedy)


def _check_tools(draft: Draft, here: Path_, agent: dict[str, Any], tools: dict[str, str], *, has_plugins: bool) -> None:
    listed = agent.get("tools")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        path: Path_ = (*here, "tools", number)
        name = one
        if isinstance(one, dict):
            function = one.get("function")
            name = function.get("name") if isinstance(function, dict) else None
            if not isinstance(name, str):
                message = "The tool has no name."
                draft.problem(path, message, "Write `{type: function, function: {name: …}}`, or the name alone.")
        if isinstance(name, str) and name not in tools and not name.startswith(_OF_SERVERS) and not has_plugins:
            draft.problem(path, f"There is no tool '{name}'.", _remedy(name, tools))
    groups = sorted({group for group in tools.values() if group})
    listed = agent.get("tool_groups")
    for number, group in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(group, str) and group not in groups and not has_plugins:
            remedy = did_you_mean(group, groups, f"Groups: {', '.join(groups)}.")
            draft.problem((*here, "tool_groups", number), f"There is no group of tools '{group}'.", remedy)


def _remedy(name: str, tools: Iterable[str]) -> str:
    if name in SWITCHES:
        return f"It comes with the gateway, and is off: set `{SWITCHES[name]}`."
    return did_you_mean(name, tools, f"Tools here: {', '.join(tools)}.")


def _check_delegates(draft: Draft, here: Path_, agent: dict[str, Any], names: list[str], *, any_model: bool) -> None:
    field, given = _field(agent, "delegates")
    listed = enumerate(given) if isinstance(given, list) else ((name, name) for name in given or ())
    for at, name in listed if isinstance(given, list | dict) else ():
        path: Path_ = (*here, field, at)
        if not isinstance(name, str):
            continue
        bare = name.removeprefix(_PREFIX)
        if agent["name"] in (name, bare):
            draft.problem(path, f"The agent '{agent['name']}' would delegate to itself.", "Name another agent.")
        elif not any_model and name not in names and bare not in names:
            remedy = did_you_mean(name, names, f"Agents and models here: {', '.join(names)}.")
            draft.problem(path, f"There is no agent or model '{name}'.", remedy)


def _check_prompt(draft: Draft, here: Path_, agent: dict[str, Any], tools: list[str] | None) -> None:
    """`tools` are all there are; None if that is not known."""
    text, path = agent.get("system_prompt"), (*here, "system_prompt")
    if not isinstance(text, str):
        return
    try:
        template = parse(text)
    except Faulty as error:
        remedy = "Mend it, or write `\\{{` for a plain `{{`. See docs/agents.md."
        draft.problem(path, error.message, remedy, at=_line_of(draft, path, text, error.line))
        return
    _check_variables(draft, path, template, agent)
    for call in template.calls:
        if tools is not None and call.name not in tools and not call.name.startswith(_OF_SERVERS):
            remedy = _remedy(call.name, tools)
            at = _line_of(draft, path, text, call.line)
            draft.problem(path, f"The prompt calls '{call.name}', and there is no such tool.", remedy, at=at)


def _check_variables(draft: Draft, path: Path_, template: Template, agent: dict[str, Any]) -> None:
    known = agent.get("variables")
    names = list(known) if isinstance(known, dict) else []
    for one in template.variables:
        if one.name not in names:
            message = f"The prompt holds '{{{{{one.name}}}}}', and there is no such variable."
            remedy = did_you_mean(
                one.name, names, f"Add it to `variables:`, or write `{{{{{one.name}()}}}}` for a tool."
            )
            draft.problem(path, message, remedy, at=_line_of(draft, path, agent["system_prompt"], one.line))


def _line_of(draft: Draft, path: Path_, text: str, line: int) -> Place:
    """Where a line of a text stands; a text of several lines begins below its key."""
    place = draft.place_of(path)
    if not place.line:
        return place
    return Place(place.source, place.name, place.line + (line if "\n" in text else 0))


def _check_skills(draft: Draft, agents: list[Agent]) -> None:
    folder = draft.data.get("conf")
    names = [agent["name"] for _, agent in agents]
    loaded = skills.load(Path(folder) / "skills" if isinstance(folder, str) and folder else None, names)
    for fault in loaded.faults:
        draft.problems.append(Problem(str(fault.file), fault.line, "", fault.message, fault.remedy))
    for here, agent in agents:
        listed = agent.get("skills")
        known = loaded.names_for(agent["name"])
        for number, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and name not in known:
                remedy = did_you_mean(name, known, f"Skills here: {', '.join(known) or 'none'}.")
                draft.problem((*here, "skills", number), f"There is no skill '{name}'.", remedy)


def agent_schema() -> dict[str, Any]:
    """The JSON Schema of a file of agents: one, or a list of them."""
    schema = AgentSettings.model_json_schema(by_alias=False)
    definitions = schema.pop("$defs")
    for name, other in _ALIASES.items():
        schema["properties"][other] = {**schema["properties"][name], "description": f"Another name of `{name}`."}
    listed = {"type": "array", "items": {"$ref": "#/$defs/AgentSettings"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Agents of Headgate",
        "anyOf": [{"$ref": "#/$defs/AgentSettings"}, listed],
        "$defs": {**definitions, "AgentSettings": schema},
    }
