"""The routes that call a model: headers, then body, then the pipeline, then the reply. One class for all surfaces."""

import asyncio
import logging
from functools import partial

from headgate.api.body import read_body
from headgate.api.continuing import continuation
from headgate.api.conversations import CONVERSATION, conversation_id, live
from headgate.api.gate import Gate, Receive, Scope, Send
from headgate.api.idempotency import Asked, Story, answer_once
from headgate.api.resume import resumed
from headgate.api.stream import Reply
from headgate.api.wishes import wishes_of
from headgate.core.errors import Draining, HeadgateError, InternalError, UnsupportedEncoding
from headgate.core.request import ModelRequest, parse_form, parse_json
from headgate.core.run import Continues, Run
from headgate.core.surfaces import COMPACTION, RESPONSES, Surface
from headgate.pipeline.run import execute
from headgate.pipeline.settle import settle

log = logging.getLogger(__name__)


class ModelRoute:
    """An ASGI application for one surface."""

    story: Story = staticmethod(execute)

    def __init__(self, surface: Surface, gate: Gate) -> None:
        self.dialect = surface.dialect
        self._surface = surface
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        gate = self._gate
        run = gate.begin(self._surface.name, headers)
        reply = Reply(send, run, gate.litellm_headers)
        task = asyncio.current_task() if reply.cycle is None else reply.cycle.task  # the former costs a system call
        assert task is not None
        scope["cancel_on_disconnect"] = True
        scope["run_id"] = run.id
        run.dialect = self.dialect
        gate.active[task] = run
        gate.metrics.in_flight += 1
        try:
            if gate.keys.is_stale:
                await gate.keys.refresh()
            gate.enter(run, headers)
            if (seen := headers.get(b"last-event-id")) is not None:
                await reply.deliver(await resumed(seen, run, gate), gate.bounds.keep_alive)
                return
            request = await self._read(receive, headers, run, scope)
            if run.continues is not None:
                scope["lingers"] = partial(_lingers, run, gate)
            pings = gate.bounds.keep_alive if request.stream and self._surface.obeys_stream else 0.0
            key = headers.get(b"idempotency-key")
            if key is None or gate.keeper is None:
                await reply.deliver(self.story(request, run, gate.deps), pings)
            else:
                await answer_once(key, Asked(request, run, pings, self.story), reply, gate)
        except HeadgateError as error:
            run.fail(error)
            await reply.fail(error)
        except asyncio.CancelledError:
            await _cut_off(gate, run, reply, scope.get("refusal"))
        except Exception:
            log.exception("request %s failed", run.id)
            fault = InternalError("A fault of the gateway itself.")
            run.fail(fault)
            await reply.fail(fault)
        finally:
            gate.active.pop(task, None)
            gate.metrics.in_flight -= 1
            settle(run, gate.deps)

    async def _read(self, receive: Receive, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        encoding = headers.get(b"content-encoding")
        if encoding and encoding.lower() != b"identity":
            raise UnsupportedEncoding(f"The content encoding {encoding.decode('latin-1')!r} is not read here.")
        raw = await read_body(receive, headers, self._gate.bounds.body)
        run.bytes_in = len(raw)
        request = self._parse(raw, headers, run, scope)
        run.model = request.model
        run.stream = request.stream
        run.wants_usage = request.wants_usage
        run.asked = request.fields
        if self._surface.forwards:
            run.forwards = forwarded(headers, self._surface.forwards)
        if mode := headers.get(b"x-routing-mode"):
            run.mode = mode.decode("latin-1")
        run.tells_more = self._tells_more(headers.get(b"x-events", b"").lower())
        run.wishes = wishes_of(headers, stream=request.stream)
        conversation = headers.get(CONVERSATION)
        if self._surface is RESPONSES and self._gate.deps.state is not None:
            run.continues = continuation(request.fields, conversation)
        elif self._surface is COMPACTION and self._gate.deps.state is not None:
            run.continues = continuation({**request.fields, "store": False, "background": None}, conversation)
        elif run.continues is None and conversation is not None:
            run.continues = Continues(conversation_id(conversation))
        if run.continues is not None:
            run.continues = await live(run.continues, run, self._gate)
        return request

    def _tells_more(self, wish: bytes) -> bool:
        """Clients of Responses fail on events that they do not know, so they get ours only when they ask for them."""
        return wish == b"all" if self._surface is RESPONSES else wish != b"none"

    def _parse(self, raw: bytes, headers: dict[bytes, bytes], run: Run, scope: Scope) -> ModelRequest:
        if not self._surface.form:
            return parse_json(self._surface, raw)
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        if not content_type.lower().startswith("multipart/form-data"):
            raise UnsupportedEncoding("This route takes multipart/form-data.")
        return parse_form(self._surface, raw, content_type)


def forwarded(headers: dict[bytes, bytes], names: tuple[bytes, ...]) -> bytes:
    """Lines of the headers of these names that the caller sent. The server lets no line break into a header."""
    return b"".join(b"%b: %b\r\n" % (name, headers[name]) for name in names if name in headers)


def _lingers(run: Run, gate: Gate, task: "asyncio.Task[None]") -> bool:
    """Whether a stream whose caller left goes on for a while."""
    return gate.deps.watch is not None and not gate.draining and gate.deps.watch.linger(run, task)


async def _cut_off(gate: Gate, run: Run, reply: Reply, refusal: HeadgateError | None) -> None:
    """The task was cancelled: because the request was refused below, the caller left, or the time to drain was over."""
    if refusal is not None:
        run.fail(refusal)
        run.status = refusal.status
        return
    if run.stopped_by is not None:
        run.cut_off()
        await reply.fail(run.stopped_by)
        return
    if reply.caller_left or not gate.draining:
        run.cut_off()
        return
    error = Draining("This process shut down before the answer was complete.", retry_after=1)
    run.fail(error)
    await reply.fail(error)
