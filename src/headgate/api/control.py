"""What stands around every route that does not call a model: key, errors, request id, log line."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.errors import error_response, locate
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.core.audit import ORIGIN, Act, Origin
from headgate.core.errors import HeadgateError, InternalError, ScopeMissing
from headgate.core.run import Run
from headgate.identity.scopes import require
from headgate.pipeline.settle import settle

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come, and whether a line in the log tells of it. `needs` is the scope that the key must have, if any."""

    public: bool = False
    logged: bool = False
    needs: str = ""
    litellm: bool = False
    """Errors have LiteLLM's types, which its clients look at."""
    dialect: str = ""
    """The words that errors are told in, if not OpenAI's."""


_ANYBODY = Access()


class ControlRoute:
    """An ASGI application around one handler, which finds who asks in the scope, as `who`."""

    def __init__(
        self, handler: Callable[[Request, Gate], Awaitable[Response]], gate: Gate, path: str, access: Access
    ) -> None:
        self._handler = handler
        self._gate = gate
        self._path = path
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        gate = self._gate
        run = gate.begin(self._path, headers)
        try:
            if not self._access.public:
                if gate.keys.is_stale:
                    await gate.keys.refresh()
                run.who = gate.recognise(headers)
                ORIGIN.set(Origin(run.who, _address(scope), run.id))
                if self._access.needs:
                    require(run.who, self._access.needs)
            scope["who"] = run.who
            scope["run"] = run
            response = await self._handler(Request(scope, receive), gate)
        except HeadgateError as error:
            if isinstance(error, ScopeMissing) and gate.audit is not None:
                act = Act(
                    "route.refused", "route", f"{scope['method']} {scope['path']}", run.who.tenant, error=error.code
                )
                await gate.audit.refused(act)
            locate(error, scope["path"])
            await _send_error(error, run, send, access=self._access)
        except Exception:
            log.exception("request %s failed", run.id)
            fault = InternalError("A fault of the gateway itself.")
            await _send_error(fault, run, send, access=self._access)
        else:
            run.status = response.status_code
            response.headers["x-request-id"] = run.id
            await response(scope, receive, send)
        if self._access.logged or run.error:
            settle(run, gate.deps)


def _address(scope: Scope) -> str:
    """Where the connection comes from; headers that tell another address are not believed."""
    client = scope.get("client")
    return client[0] if client else ""


async def refuse(error: HeadgateError, allowed: tuple[str, ...], gate: Gate, scope: Scope, send: Send) -> None:
    """Answer a request that has no route."""
    run = gate.begin("none", dict(scope["headers"]))
    await _send_error(error, run, send, allowed)
    settle(run, gate.deps)


async def _send_error(
    error: HeadgateError, run: Run, send: Send, allowed: tuple[str, ...] = (), *, access: Access = _ANYBODY
) -> None:
    run.fail(error)
    run.status, headers, body = error_response(error, run.id, litellm=access.litellm, dialect=access.dialect)
    if allowed:
        headers.append((b"allow", ", ".join(allowed).encode()))
    await send({"type": "http.response.start", "status": run.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
