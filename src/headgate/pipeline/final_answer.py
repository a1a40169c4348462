"""The answer that a strategy ends with: one call of the model, told as it is made."""

from collections.abc import AsyncGenerator, Container

from headgate.core.chat import Asking, ChatEvent, Ended, Step, StopReason, Text, Thought
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.pipeline.turns import Turn, total_tokens


async def final_answer(
    turn: Turn, run: Run, deps: Deps, stop: StopReason, offered: Container[str] = ()
) -> AsyncGenerator[ChatEvent]:
    """What the model shows of its thinking comes before the answer, in one. Its calls of the caller's tools, which are
    those `offered`, are handed over. The last event is Ended.
    """
    thoughts: list[str] = []
    async for event in turn.take(run, deps):
        if isinstance(event, Asking):
            continue
        if isinstance(event, Thought):
            thoughts.append(event.text)
            continue
        if thoughts and isinstance(event, Text):
            yield Step("external_reasoning", 0, {"thought": "".join(thoughts)})
            thoughts = []
        yield event
    if thoughts:
        yield Step("external_reasoning", 0, {"thought": "".join(thoughts)})
    answer = turn.answer
    calls = [call for call in answer.calls if call.name in offered]
    for call in calls:
        yield call
    finish = "stop" if answer.finish == "tool_calls" and not calls else answer.finish
    yield Ended(finish, stop, total_tokens(run), answer.beside)
