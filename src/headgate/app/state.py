"""What is kept of conversations: who writes down what runs tell, and who looks after runs that were left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from headgate.api.gate import Gate
from headgate.conversations.settings import ConversationSettings
from headgate.core.errors import HeadgateError
from headgate.core.principal import Principal
from headgate.pipeline.background import Caretaker
from headgate.pipeline.run import story_of
from headgate.pipeline.scribe import Scribe
from headgate.pipeline.watching import Watch

__all__ = ["remembering"]
_LOOK_SECONDS = 2.0
_LAST_WORDS_SECONDS = 5.0


@contextlib.asynccontextmanager
async def remembering(gate: Gate, settings: ConversationSettings) -> AsyncIterator[None]:
    """Go on with runs in the background that another process left; at the end, leave one's own to the next."""
    deps = gate.deps
    assert deps.state is not None
    deps.scribe = Scribe(deps.state.runs)
    deps.watch = watch = Watch(deps.state.signals, settings.grace_seconds)
    deps.second_turn.dismiss = watch.dismiss

    def principal(key: str, tenant: str, user: str) -> Principal | None:
        who = gate.keys.by_id(key)
        if who is None or who.tenant != tenant:
            return None
        try:
            return gate.keys.for_user(who, user) if user and user != who.user else who
        except HeadgateError:
            return None

    caretaker = Caretaker(deps, story_of, principal, settings.events_kept_seconds)
    looking = asyncio.get_running_loop().create_task(caretaker.keep_looking(_LOOK_SECONDS))
    try:
        yield
    finally:
        looking.cancel()
        await watch.close()
        tasks = [*deps.background]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)
        await asyncio.wait([looking], timeout=_LAST_WORDS_SECONDS)
        with contextlib.suppress(HeadgateError):
            await deps.scribe.flush()
