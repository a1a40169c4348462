"""Who puts a steered run into the caller's words: one writer per dialect and per request."""

import time
from collections.abc import Callable

from headgate.core.run import Run
from headgate.dialects.chat import StreamWriter, WholeWriter
from headgate.dialects.types import Writer

Writers = Callable[[Run], Writer]


def chat_writer(run: Run) -> Writer:
    """Chat completions, streamed if the caller asked for a stream."""
    id_, model, created = f"chatcmpl-{run.id}", run.model or "", int(time.time())
    if run.stream:
        return StreamWriter(id_, model, created, usage=run.wants_usage, extensions=run.tells_more)
    return WholeWriter(id_, model, created, extensions=run.tells_more)
