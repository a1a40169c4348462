"""Lets a model choose how a request is answered. Whatever goes wrong, it is passed through, with the reason."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from time import monotonic
from typing import Any

import orjson

from headgate.agents.prompts import Prompts
from headgate.agents.types import ClassifierSettings
from headgate.core.errors import HeadgateError
from headgate.core.events import Whole
from headgate.core.request import JsonRequest, ModelRequest, json_request
from headgate.core.run import Run, StrategyChoice
from headgate.core.surfaces import CHAT
from headgate.dialects import chat_reader
from headgate.pipeline.admit import admit
from headgate.pipeline.attempts import first_answer
from headgate.pipeline.context import Deps
from headgate.pipeline.resolve import resolve
from headgate.pipeline.settle import account

log = logging.getLogger(__name__)
_COMPONENT = "routing-classifier"
_CHOICES = ["passthrough", "orchestration"]
_VERDICT = {
    "type": "json_schema",
    "json_schema": {
        "name": "routing",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "routing_mode": {"type": "string", "enum": _CHOICES},
                "reason": {"type": "string"},
            },
            "required": ["routing_mode", "reason"],
            "additionalProperties": False,
        },
    },
}


class Classifier:
    """Asks once per message and remembers what was said."""

    def __init__(self, settings: ClassifierSettings, prompts: Prompts) -> None:
        self._settings = settings
        self._prompts = prompts
        self._remembered: OrderedDict[bytes, tuple[float, StrategyChoice]] = OrderedDict()

    async def classify(self, request: ModelRequest, run: Run, deps: Deps) -> StrategyChoice:
        """By the last message of the user alone."""
        text = _last_words(request.fields.get("messages"))
        if not text:
            return _passed("there is no message of the user")
        key = hashlib.sha256(text.encode()).digest()
        known = self._remembered.get(key)
        if known is not None and known[0] > monotonic():
            return known[1]
        try:
            async with asyncio.timeout(self._settings.seconds):
                decision = await self._ask(text, run, deps)
        except TimeoutError:
            return _passed("the classifier did not answer in time")
        except HeadgateError as error:
            log.warning("%s: the classifier failed: %s", run.id, error.message)
            return _passed(f"the classifier failed: {error.code}")
        finally:
            account(run, deps, over=False)
        self._remember(key, decision)
        return decision

    async def _ask(self, text: str, run: Run, deps: Deps) -> StrategyChoice:
        request = self._request(text)
        before = len(run.attempts)
        try:
            plan = await resolve(request, run, deps)
            await admit(plan, request, run, deps)
            answer, _ = await first_answer(plan, request, run, deps)
        finally:
            for attempt in run.attempts[before:]:
                attempt.component = _COMPONENT
        reader = chat_reader.Reader()
        assert isinstance(answer, Whole)
        for _event in (*reader.whole(answer.body), *reader.finish()):
            pass
        return _decision(reader.answer.text)

    def _request(self, text: str) -> JsonRequest:
        messages = [{"role": "system", "content": self._prompts["classifier"]}, {"role": "user", "content": text}]
        fields: dict[str, Any] = {"model": self._settings.model, "messages": messages, "response_format": _VERDICT}
        return json_request(CHAT, {**fields, "temperature": self._settings.temperature})

    def _remember(self, key: bytes, decision: StrategyChoice) -> None:
        self._remembered[key] = (monotonic() + self._settings.fresh_seconds, decision)
        while len(self._remembered) > self._settings.remembered:
            self._remembered.popitem(last=False)


def _passed(reason: str) -> StrategyChoice:
    return StrategyChoice("passthrough", "llm_classifier", reason)


def _decision(text: str) -> StrategyChoice:
    try:
        verdict = orjson.loads(text)
        mode, reason = verdict["routing_mode"], str(verdict.get("reason", ""))[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return _passed("the classifier's answer could not be read")
    if mode not in _CHOICES:
        return _passed("the classifier named no mode it may choose")
    return StrategyChoice(mode, "llm_classifier", "the classifier's verdict", reason)


def _last_words(messages: Any) -> str:
    """The text of the last message of the user."""
    for message in reversed(messages if isinstance(messages, list) else []):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, list):
            return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict)).strip()
        return str(content or "").strip()
    return ""
