"""An MCP server over stdio that does what its tools' names say, most of it wrong. Only the standard library: it starts
in an instant. Speaks 2025-11-25.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
NAMES = ["zeta", "echo", "die", "hang", "flood", "garbage", "wrong", "change", "mixed", "structured", "fails", "spawn"]


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def tools() -> list[dict[str, Any]]:
    hints = {"readOnlyHint": True, "destructiveHint": False}
    return [
        {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}, "annotations": hints}
        for name in NAMES
    ]


def mixed() -> dict[str, Any]:
    sound = {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"}
    page = {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "A page.", "mimeType": "text/plain"}}
    link = {"type": "resource_link", "name": "b", "uri": "file:///b.txt"}
    image = {"type": "image", "data": PNG, "mimeType": "image/png"}
    return {"content": [{"type": "text", "text": "First."}, image, sound, page, link]}


def call(id_: object, name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """What a tool gives back; None for nothing at all."""
    if name == "echo":
        return text(json.dumps(arguments))
    if name in ACTS:
        return ACTS[name](id_)
    return RESULTS.get(name) or text(name)


def die(_: object) -> None:
    os._exit(3)


def hang(id_: object) -> None:
    note({"hanging": id_})


def flood(id_: object) -> None:
    sys.stdout.write(f'{{"jsonrpc": "2.0", "id": {json.dumps(id_)}, "result": "')
    for _ in range(800):
        sys.stdout.write("x" * 65_536)
    threading.Event().wait(60)


def garbage(_: object) -> dict[str, Any]:
    sys.stdout.write("not JSON at all\n\x00\x01\n[]\n{}\n")
    return text("after the garbage")


def change(_: object) -> dict[str, Any]:
    NAMES.append("added")
    send({"method": "notifications/tools/list_changed"})
    return text("changed")


def spawn(_: object) -> dict[str, Any]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    return text(str(child.pid))


ACTS: dict[str, Callable[[object], dict[str, Any] | None]] = {
    "die": die,
    "hang": hang,
    "flood": flood,
    "garbage": garbage,
    "change": change,
    "spawn": spawn,
}
RESULTS: dict[str, dict[str, Any]] = {
    "wrong": {"content": "no list"},
    "mixed": mixed(),
    "structured": {"content": [], "structuredContent": {"celsius": 7}},
    "fails": {**text("it does not work"), "isError": True},
}


def note(what: dict[str, Any]) -> None:
    """Into the file that the test looks at."""
    if len(sys.argv) > 1:
        with Path(sys.argv[1]).open("a") as file:
            file.write(json.dumps(what) + "\n")


def main() -> None:
    note({"started": os.getpid()})
    sys.stderr.write("the bad server is up\n")
    sys.stderr.flush()
    for line in sys.stdin:
        message = json.loads(line)
        method, id_, params = message.get("method"), message.get("id"), message.get("params") or {}
        if method == "notifications/cancelled":
            note({"cancelled": params.get("requestId")})
        if id_ is None:
            continue
        if method == "initialize":
            info = {"name": "bad", "version": "1"}
            asked = params["protocolVersion"]
            capabilities = {"tools": {"listChanged": True}}
            send({"id": id_, "result": {"protocolVersion": asked, "capabilities": capabilities, "serverInfo": info}})
        elif method == "tools/list":
            note({"listed": True})
            send({"id": id_, "result": {"tools": tools()}})
        elif method == "tools/call":
            result = call(id_, params["name"], params.get("arguments") or {})
            if result is not None:
                note({"meta": params.get("_meta")})
                send({"id": id_, "result": result})
        else:
            send({"id": id_, "error": {"code": -32601, "message": "There is no such method."}})


if __name__ == "__main__":
    main()
