"""The packaged embedding model over HTTP on loopback, in OpenAI's words; knows nothing of the gateway.

Runs in the local model's process, on a socket that it is given. The model is loaded with the first call and works on
one text at a time, so that a long list keeps neither memory nor a short question waiting.
"""

import base64
import hmac
import json
import select
import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from headgate.upstreams.minilm_model import Minilm

_DIMENSIONS, _LONGEST = 384, 256
_LARGEST_BODY = 64 << 20
_MOST_TEXTS = 2048
_IDLE_SECONDS = 600.0


class Wanted(NamedTuple):
    """A request that can be answered."""

    model: str
    texts: Sequence[str]
    packed: bool


class Refused(Exception):
    """What is wrong with a request, and with which field."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param


class Embedder:
    """The model, once it is needed. Threads take turns text by text."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._model: Minilm | None = None

    def vector(self, text: str) -> tuple[bytes, int, bool]:
        """As little-endian float32; the tokens that were read, and whether there were more. Raises ImportError."""
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model.vector(text)

    def _load(self) -> "Minilm":
        from headgate.upstreams.minilm_model import Minilm  # noqa: PLC0415 - slow and large, and needed only now

        return Minilm(self._threads)


def serve(listener: socket.socket, key: str, threads: int) -> None:
    """Answer until the process ends."""
    server = _Server(listener, Embedder(threads), f"Bearer {key}")
    server.serve_forever()


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, embedder: Embedder, authorization: str) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.embedder = embedder
        self.authorization = authorization.encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has left."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        try:
            answer = self._answer(read(self._body()))
        except Refused as refused:
            error = {"message": refused.message, "type": "invalid_request_error", "param": refused.param}
            self._send(refused.status, {"error": error})
        except ImportError as missing:
            message = f"all-minilm-l6-v2 needs the package {missing.name}: see docs/configuration.md."
            self._send(500, {"error": {"message": message, "type": "server_error"}})
        else:
            self._send(200, answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it is called with
        """The gateway has its own log."""

    def _body(self) -> bytes:
        length = int(self.headers.get("content-length") or 0)
        if length > _LARGEST_BODY:
            self.close_connection = True
            raise Refused(413, f"The body has more than {_LARGEST_BODY} bytes.")
        body = self.rfile.read(length)
        if not hmac.compare_digest((self.headers.get("authorization") or "").encode(), self.server.authorization):
            raise Refused(401, "The key is not known here.")
        if self.path != "/v1/embeddings":
            raise Refused(404, "There are embeddings only.")
        return body

    def _answer(self, wanted: Wanted) -> dict[str, Any]:
        data, tokens, cut = [], 0, []
        for number, text in enumerate(wanted.texts):
            if self._has_left():
                raise ConnectionResetError
            packed, read_tokens, more = self.server.embedder.vector(text)
            tokens += read_tokens
            cut += [number] if more else []
            vector = base64.b64encode(packed).decode() if wanted.packed else list(memoryview(packed).cast("f"))
            data.append({"object": "embedding", "index": number, "embedding": vector})
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": wanted.model, "usage": usage}
        return answer | {"truncated": {"tokens": _LONGEST, "indices": cut}} if cut else answer

    def _has_left(self) -> bool:
        """Nobody reads the answer any more; whoever waits for it sends nothing."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def read(body: bytes) -> Wanted:
    """Raises Refused for what cannot be answered."""
    try:
        fields = json.loads(body)
    except ValueError:
        raise Refused(400, "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise Refused(400, "The body is not a JSON object.")
    form = fields.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise Refused(400, "Choose float or base64.", "encoding_format")
    if fields.get("dimensions") not in (None, _DIMENSIONS):
        raise Refused(400, f"The model has {_DIMENSIONS} dimensions and no others: leave it out.", "dimensions")
    return Wanted(str(fields.get("model") or ""), _texts(fields.get("input")), form == "base64")


def _texts(given: Any) -> Sequence[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise Refused(400, "Give a text, or a list of texts.", "input")
    if len(texts) > _MOST_TEXTS:
        raise Refused(400, f"Give at most {_MOST_TEXTS} texts at once.", "input")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            message = "The model takes texts; the numbers of another model's tokens mean nothing to it."
            raise Refused(400, message, "input" if given is text else f"input[{number}]")
        if not text.strip():
            raise Refused(400, "The text is empty.", "input" if given is text else f"input[{number}]")
    return texts
