"""The program of the local model's process: reads its order from standard input, serves until that closes.

Signals that end us do not end it: a terminal or a service manager sends them to the whole group, and streams that are
being drained still need the model. Who started it kills it.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
from typing import Any

import xllamacpp

_ERRORS_ONLY = 1


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    order = json.loads(sys.stdin.readline())
    threads = order["threads"] or max(1, (os.cpu_count() or 2) - 1)
    params = xllamacpp.CommonParams()
    params.model.path = order["path"]
    params.model_alias = {order["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = order["port"]
    params.reuse_port = order["port_is_held"]
    params.api_keys = [order["key"]]
    params.n_parallel = order["parallel"]
    params.n_ctx = order["context"] * order["parallel"]
    params.n_gpu_layers = order["gpu_layers"]
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = order["prompt_cache_mib"]  # its own default is 8 GiB
    params.embedding = order["embeddings"]
    if order["pooling"]:
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{order['pooling'].upper()}")
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = _ERRORS_ONLY
    try:
        server = xllamacpp.Server(params)  # returns when the model is loaded
    except RuntimeError as error:
        sys.exit(str(error))
    threading.Thread(target=_embed, args=(_listener(order), order["key"], threads), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    del server
    os._exit(0)


def _listener(order: dict[str, Any]) -> socket.socket:
    listener = socket.socket()
    if order["port_is_held"]:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", order["embeddings_port"]))
    listener.listen(128)
    return listener


def _embed(listener: socket.socket, key: str, threads: int) -> None:
    """The packaged embedding model; nothing of it is imported before somebody calls."""
    select.select([listener], [], [])
    from headgate.upstreams.minilm_server import serve  # noqa: PLC0415 - as said

    serve(listener, key, threads)


if __name__ == "__main__":
    main()
