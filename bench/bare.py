"""A floor for Python: an ASGI function on uvicorn that passes every request on by aiohttp's client, and nothing else.

It checks no key, counts nothing, keeps nothing and reads the body only to know whether a stream is asked for.
"""

import argparse
from typing import Any

import aiohttp
import orjson
import uvicorn

_HEADERS = {"authorization": "Bearer bench", "content-type": "application/json"}


class Relay:
    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._client is None:
            self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        stream = orjson.loads(body).get("stream", False) if body else False
        async with self._client.post(self._upstream + scope["path"], data=body, headers=_HEADERS) as answer:
            kind = answer.headers.get("content-type", "application/json").encode()
            head = [(b"content-type", kind)]
            if not stream:
                whole = await answer.read()
                head.append((b"content-length", str(len(whole)).encode()))
                await send({"type": "http.response.start", "status": answer.status, "headers": head})
                await send({"type": "http.response.body", "body": whole})
                return
            await send({"type": "http.response.start", "status": answer.status, "headers": head})
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="where requests go, as http://host:port")
    options = parser.parse_args()
    app = Relay(options.upstream)
    uvicorn.run(
        app, host="127.0.0.1", port=options.port, http="httptools", loop="uvloop", log_level="error", lifespan="off"
    )


if __name__ == "__main__":
    main()
