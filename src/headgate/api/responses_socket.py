"""The WebSocket form of the Responses API (https://www.openresponses.org/specification): one message, one response.

Each response goes the way of an HTTP call, with its own key check, limits, run and settlement. What a connection adds
is the memory of its last response, if that is not stored, from which the next one may go on; it ends with it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson

from headgate.api.cycle import goes_on
from headgate.api.errors import envelope, error_response
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.core import sse
from headgate.core.errors import (
    Draining,
    HeadgateError,
    InvalidField,
    InvalidJson,
    Overloaded,
)
from headgate.core.ids import new_run_id
from headgate.core.state_errors import PreviousResponseNotFound, SocketTooOld
from headgate.dialects.responses_request import parse
from headgate.dialects.responses_writer import StreamWriter
from headgate.dialects.types import Occasion

_LONGEST_SECONDS = 3600.0
_MOST_SOCKETS = 1000
_MOST_WAITING = 16
_NOT_OF_A_CALL = frozenset(
    (
        *(b"x-request-id", b"idempotency-key", b"content-length", b"content-encoding", b"transfer-encoding"),
        *(b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"),
    )
)
"""Headers of the handshake that are not those of the calls made over it."""
_TRANSPORT = ("type", "stream", "stream_options")
"""What a message holds that is not of the response."""
Call = Callable[[Scope, Receive, Send], Awaitable[None]]


class ResponsesSocket:
    """An ASGI application for WebSockets. `call` answers the same request over HTTP."""

    def __init__(self, gate: Gate, call: Call) -> None:
        self._gate = gate
        self._call = call
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # that the caller wants to connect
        try:
            await self._admit(scope)
        except HeadgateError as error:
            await _refuse(error, send)
            return
        self._open += 1
        try:
            with suppress(OSError):  # the caller left while something was sent
                await send({"type": "websocket.accept"})
                keeps = self._gate.deps.state is not None
                await _Connection(scope, receive, send, self._call, keeps=keeps).serve()
        finally:
            self._open -= 1

    async def _admit(self, scope: Scope) -> None:
        """By its headers alone, as every call; raises what a call would raise."""
        if self._gate.keys.is_stale:
            await self._gate.keys.refresh()
        self._gate.recognise(dict(scope["headers"]))
        if self._gate.draining:
            raise Draining("This process is shutting down.", retry_after=1)
        if self._open >= _MOST_SOCKETS:
            raise Overloaded(f"{_MOST_SOCKETS} WebSockets are open.", retry_after=1)


class _Connection:
    """One caller's. Responses are made one after another; messages that come meanwhile wait."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, call: Call, *, keeps: bool) -> None:
        self._keeps = keeps
        self._headers = [header for header in scope["headers"] if header[0] not in _NOT_OF_A_CALL]
        self._receive = receive
        self._send = send
        self._call = call
        self._waiting: deque[str] = deque()
        self._memory: tuple[str, list[Any]] = "", []
        """The last response: its id, and the items that another one goes on from."""

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _LONGEST_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(ends_at):
                    message = await self._next()
            except TimeoutError:
                await self._tell(SocketTooOld("A WebSocket may be open for 60 minutes: open a new one."))
                await self._send({"type": "websocket.close", "code": 1000})
                return
            if message is None or not await self._answer(message):
                return

    async def _next(self) -> str | None:
        """The next message; None when the caller left."""
        return self._waiting.popleft() if self._waiting else await self._hear()

    async def _answer(self, message: str) -> bool:
        """Make a response; returns whether the caller is still there."""
        try:
            fields = _read(message)
            continues = fields.get("previous_response_id")
            body = self._body(fields)
            prepared = _nothing(body) if body.pop("generate", True) is False else b""
        except HeadgateError as error:
            await self._tell(error)
            return True
        reply = _Reply(self._send)
        if prepared:
            await reply.take(prepared)
            self._memory = _remembered(body, reply.finished or {})
            return True
        scope = {"type": "http", "method": "POST", "path": "/v1/responses", "headers": self._headers}
        calling = self._respond(scope, _receive_whole(orjson.dumps(body)), reply)
        task = asyncio.get_running_loop().create_task(calling)
        if not await self._attend(task, scope):
            reply.is_unheard = True
            return False
        if reply.finished is None:
            self._forget(continues)
        else:
            is_kept = self._keeps and reply.finished.get("store") is True
            self._memory = ("", []) if is_kept else _remembered(body, reply.finished)
        return True

    async def _respond(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        """In a task of its own, as a call over HTTP has one: it can be cancelled without the connection."""
        await self._call(scope, receive, reply)

    async def _hear(self) -> str | None:
        return _text(await self._receive())

    async def _attend(self, task: "asyncio.Task[None]", scope: Scope) -> bool:
        """Wait for a response, and for what the caller says meanwhile. Who leaves gets no more of it here."""
        try:
            while not task.done() and len(self._waiting) < _MOST_WAITING:
                heard = asyncio.get_running_loop().create_task(self._hear())
                await asyncio.wait((task, heard), return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    heard.cancel()
                    break
                message = heard.result()
                if message is None:
                    return False
                self._waiting.append(message)
            await task
            return True
        finally:
            if not task.done() and not goes_on(scope, task):
                task.cancel()
                await asyncio.wait((task,))

    def _body(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The body of the HTTP call that a message stands for; raises PreviousResponseNotFound."""
        body = {name: value for name, value in fields.items() if name not in _TRANSPORT}
        previous = body.get("previous_response_id")
        if body.get("background"):
            message = "A response over a WebSocket is not made in the background: leave the field 'background' out."
            raise InvalidField(message, param="background")
        if previous is not None and previous == self._memory[0]:
            body["input"] = [*self._memory[1], *_items(body.get("input"))]
            del body["previous_response_id"]
        elif previous is not None and (
            body.get("generate") is False or (body.get("store") is False and not self._keeps)
        ):
            message = f"Previous response with id '{previous}' not found: this connection does not hold it."
            raise PreviousResponseNotFound(message, param="previous_response_id")
        return {**body, "stream": True}

    def _forget(self, response: object) -> None:
        """A response that could not be continued is not kept for another try."""
        if response is not None and response == self._memory[0]:
            self._memory = "", []

    async def _tell(self, error: HeadgateError) -> None:
        told = envelope(error, new_run_id())
        await self._send(_text_message(orjson.dumps({"type": "error", "status": error.status, **told})))


class _Reply:
    """Takes an HTTP answer and sends its events as messages. `finished` is the response, once it was completed."""

    def __init__(self, send: Send) -> None:
        self.finished: dict[str, Any] | None = None
        self.is_unheard = False
        self._send = send
        self._status = 0
        self._is_stream = False
        self._splitter = sse.Splitter()
        self._body = b""

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            kinds = [value for name, value in message["headers"] if name == b"content-type"]
            self._is_stream = bool(kinds) and kinds[0].startswith(b"text/event-stream")
        elif self._is_stream:
            await self.take(message.get("body", b""))
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._say(self._failure())

    async def take(self, frames: bytes) -> None:
        for event in sse.events(self._splitter.feed(frames)):
            await self._pass_on(event)

    async def _say(self, data: bytes) -> None:
        """Who has left hears nothing; the connection's own task finds out and ends the work."""
        if self.is_unheard:
            return
        with suppress(OSError):
            await self._send(_text_message(data))

    async def _pass_on(self, event: bytes) -> None:
        data = sse.data_of(event)
        if data is None or data.strip() == b"[DONE]":
            return
        if b'"response"' in data:
            told = orjson.loads(data)
            if told.get("type") in ("response.completed", "response.incomplete"):
                self.finished = told.get("response")
        await self._say(data)

    def _failure(self) -> bytes:
        told = orjson.loads(self._body)
        return orjson.dumps({"type": "error", "status": self._status, "error": told.get("error")})


def _read(message: str) -> dict[str, Any]:
    try:
        fields = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The message is not valid JSON: {error.msg}.") from None
    if not isinstance(fields, dict):
        raise InvalidJson("The message must be a JSON object.")
    if fields.get("type") != "response.create":
        raise InvalidField("The field 'type' must be 'response.create'.", param="type")
    return fields


def _nothing(body: dict[str, Any]) -> bytes:
    """A response that only holds what it was given, for the next one to go on from; no model is asked.

    Raises InvalidField for what the next one could not read.
    """
    parse(body)
    asked = Occasion(new_run_id(), str(body.get("model") or ""), int(time.time()), body, usage=False, extensions=False)
    return StreamWriter(asked).nothing()


def _remembered(body: dict[str, Any], response: dict[str, Any]) -> tuple[str, list[Any]]:
    """All that was said until now. A thought that nobody stored is of use only with what its provider sealed of it."""
    output = [
        item
        for item in response.get("output") or ()
        if isinstance(item, dict) and not (item.get("type") == "reasoning" and not item.get("encrypted_content"))
    ]
    return str(response.get("id")), [*_items(body.get("input")), *output]


def _items(told: Any) -> list[Any]:
    if isinstance(told, list):
        return told
    return [] if told is None else [{"type": "message", "role": "user", "content": told}]


def _receive_whole(body: bytes) -> Receive:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _text(message: Any) -> str | None:
    """What a message of the server says; None when the caller left."""
    if message["type"] != "websocket.receive":
        return None
    text = message.get("text")
    return str(text) if text is not None else bytes(message.get("bytes", b"")).decode("utf-8", "replace")


def _text_message(data: bytes) -> dict[str, Any]:
    return {"type": "websocket.send", "text": data.decode()}


async def _refuse(error: HeadgateError, send: Send) -> None:
    """Before the connection stands, an error is an HTTP answer like any other."""
    status, headers, body = error_response(error, new_run_id(), dialect="responses")
    with suppress(OSError):
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
