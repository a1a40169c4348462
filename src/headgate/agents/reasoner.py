"""The agent that any plain model becomes when its caller asks it to reason."""

from headgate.agents.types import AgentSettings, ReasoningSettings


class Reasoner:
    """One agent per model, made when first asked for."""

    def __init__(self, settings: ReasoningSettings) -> None:
        self._settings = settings

    def on(self, model: str) -> AgentSettings:
        set_ = self._settings
        return AgentSettings(
            name=model,
            model=model,
            tools=list(set_.tools),
            tool_groups=set_.tool_groups,
            mcp_servers=set_.mcp_servers,
            include_global_skills=False,
            strategy="reasoning",
            bounds=set_.bounds,
        )
