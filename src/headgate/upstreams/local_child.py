"""The program of the local model's process: reads its order from standard input, serves until that closes."""

import json
import os
import sys

import xllamacpp


def main() -> None:
    order = json.loads(sys.stdin.readline())
    threads = order["threads"] or max(1, (os.cpu_count() or 2) - 1)
    params = xllamacpp.CommonParams()
    params.model.path = order["path"]
    params.model_alias = {order["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = order["port"]
    params.api_keys = [order["key"]]
    params.n_parallel = order["parallel"]
    params.n_ctx = order["context"] * order["parallel"]
    params.n_gpu_layers = order["gpu_layers"]
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.embedding = order["embeddings"]
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    del server
    os._exit(0)


if __name__ == "__main__":
    main()
