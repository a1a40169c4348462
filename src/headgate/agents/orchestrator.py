"""The agents that a plain model becomes: one that orchestrates, and one that works for others."""

from headgate.agents.types import AgentSettings, BoundsSettings, OrchestrationSettings


class Orchestrator:
    """Its settings, and one agent per model."""

    def __init__(self, settings: OrchestrationSettings) -> None:
        self.settings = settings

    def on(self, model: str) -> AgentSettings:
        return AgentSettings(
            name=model,
            model=model,
            include_global_skills=False,
            strategy="orchestration",
            bounds=BoundsSettings.model_validate(self.settings.bounds.model_dump()),
        )


def plain(model: str) -> AgentSettings:
    """A model that works by itself, without tools."""
    return AgentSettings(name=model[:128], model=model, include_global_skills=False)
