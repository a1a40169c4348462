"""Errors of agents and of the folder that they come from; branches of the tree in `errors.py`."""

from headgate.core.errors import HeadgateError, NotFound, RequestError


class ConfigurationInvalid(RequestError):
    code = "configuration_invalid"
    status = 422
    type = "configuration_error"
    title = "The configuration has mistakes, and the one before goes on serving"
    remedy = "Mend every place that the message names; `headgate check` tells them as well."


class AgentNotFound(NotFound):
    code = "agent_not_found"
    title = "No agent of this name, or none that the key may use"
    remedy = "Pick a name from `GET /a1/agents`."
    typical_param = "name"


class PromptFailed(HeadgateError):
    code = "agent_prompt_failed"
    status = 502
    type = "agent_error"
    title = "A tool failed that the agent's prompt calls, and the agent is set not to go on without"
    remedy = "Mend the tool, or set the agent's `template_errors: show`; the message names the tool."


class PlanInvalid(HeadgateError):
    code = "plan_invalid"
    status = 422
    type = "agent_error"
    title = "The model made no plan that agents could carry out, though it was told what was wrong with its first"
    remedy = "Say more plainly what is wanted, or plan with a better model: `strategies.orchestration.model`."
