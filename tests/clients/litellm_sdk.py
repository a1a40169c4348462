"""Makes calls with the LiteLLM SDK: reads one as JSON from each line of its input and writes one line of what came."""

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"

import litellm

litellm.suppress_debug_info = True


def called(function: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The answer or the chunks, or which exception was raised."""
    try:
        answer = getattr(litellm, function)(**fields, num_retries=0, max_retries=0, timeout=30)
        several = list(answer) if fields.get("stream") else [answer]
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        return {"raises": type(error).__name__, "status": getattr(error, "status_code", None)}
    dumped = [one.model_dump(exclude_none=True) for one in several]
    return {"answer": dumped[0] if len(dumped) == 1 else dumped}


for line in sys.stdin:
    asked = json.loads(line)
    sys.stdout.write(json.dumps(called(asked["function"], asked["fields"])) + "\n")
    sys.stdout.flush()
