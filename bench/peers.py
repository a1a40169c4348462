"""The gateways that are compared, one row each: how to install and start it, how to address it, what is on and off."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.target import CHAT, MESSAGES, RESPONSES, Words

KEY = "sk-bench-0123456789abcdef"


@dataclass(frozen=True)
class Site:
    """Where one start of a gateway takes place: its scratch folder, its installation, its port and the stub's."""

    folder: Path
    home: Path
    port: int
    stub_port: int

    @property
    def stub(self) -> str:
        return f"http://127.0.0.1:{self.stub_port}"

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Launch:
    """A command line, the environment it adds, and a file in which it writes its port when it chooses its own."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port_file: Path | None = None


@dataclass(frozen=True)
class Peer:
    """One row: `most_streams` is what it can carry at 20 ms without being saturated."""

    name: str
    launch: Callable[[Site], Launch]
    note: str
    pip: tuple[str, ...] = ()
    npm: str = ""
    folder: str = ""
    model: str = "bench"
    path: str = ""
    words: Words = CHAT
    headers: Callable[[Site], Mapping[str, str]] = lambda _: {"authorization": f"Bearer {KEY}"}
    available: Callable[[], bool] = lambda: True
    most_streams: int = 1000
    json_requests: tuple[int, int] = (6000, 20_000)
    start_seconds: float = 60


def _headgate(site: Site) -> Launch:
    return _serve(site, [_upstream("stub", site)], ["{upstream: stub, model: bench-upstream}"], "")


def _four_targets(site: Site) -> Launch:
    """Four accounts at the stub, chosen by latency, the health of each tracked."""
    names = ("one", "two", "three", "four")
    targets = [f"{{upstream: {name}, model: bench-upstream}}" for name in names]
    return _serve(site, [_upstream(name, site) for name in names], targets, "balance: latency, ")


def _limits(site: Site) -> Launch:
    """A key with limits and a budget of its own, its tenant's and its model's, none of them ever reached; a price."""
    return _serve(site, [_upstream("stub", site)], [_PRICED], "", _LIMITS)


def _traces(site: Site) -> Launch:
    """Every request is traced; the stub takes the spans."""
    return _serve(site, [_upstream("stub", site)], ["{upstream: stub, model: bench-upstream}"], "", _tracing(site))


def _all(site: Site) -> Launch:
    """Targets, limits, budgets, prices and traces together."""
    names = ("one", "two", "three", "four")
    targets = [f"{{upstream: {name}, model: bench-upstream, {_TARGET_LIMITS}, {_PRICE}}}" for name in names]
    upstreams = [_upstream(name, site) for name in names]
    return _serve(site, upstreams, targets, "balance: latency, ", _LIMITS + _tracing(site))


TOKEN = "sk-bench-token-0123456789abcdef"
_TARGET_LIMITS = "limits: {requests_per_minute: 100000000, tokens_per_minute: 1000000000, in_flight: 100000}"
_PRICE = "price: {input: 0.15, output: 0.6}"
_PRICED = f"{{upstream: stub, model: bench-upstream, {_PRICE}}}"
_BOUND = (
    "{requests_per_minute: 100000000, tokens_per_minute: 1000000000000, streams: 100000, "
    "budgets: [{usd: 1000000, period: month}]}"
)
_LIMITS = f"limits: {{keys: {_BOUND}, tenants: {_BOUND}, models: {{bench: {_BOUND}}}}}\n"


def _tracing(site: Site) -> str:
    return f"tracing: {{endpoint: '{site.stub}', sampler: always_on}}\n"


def _with_token(_: Site) -> Mapping[str, str]:
    """The master key has no limits; this one has."""
    return {"authorization": f"Bearer {TOKEN}"}


def _upstream(name: str, site: Site) -> str:
    return f"{{name: {name}, provider: openai_compatible, base_url: {site.stub}/v1, api_key: bench}}"


def _serve(site: Site, upstreams: list[str], targets: list[str], balance: str, more: str = "") -> Launch:
    model = f"{{name: bench, {balance}targets: [{', '.join(targets)}]}}"
    config = site.write("headgate.yaml", f"upstreams: [{', '.join(upstreams)}]\nmodels: [{model}]\n{more}")
    script = Path(sys.executable).parent / "headgate"
    command = [str(script)] if script.exists() else [sys.executable, "-m", "headgate"]
    command += ["serve", "--config", config, "--host", "127.0.0.1", "--port", str(site.port)]
    data = str(site.folder / "data")
    return Launch(command, {"HEADGATE_MASTER_KEY": KEY, "API_TOKENS": TOKEN, "HEADGATE_DATA_DIR": data})


def _nginx_binary() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _nginx(site: Site) -> Launch:
    folder = site.folder
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = site.write(
        "nginx.conf",
        f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 10000000;
{temporary}
  upstream stub {{ server 127.0.0.1:{site.stub_port}; keepalive 128; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{site.port} backlog=4096;
    location / {{
      proxy_pass http://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer bench";
      proxy_buffering off;
    }}
  }}
}}
""",
    )
    return Launch([str(_nginx_binary()), "-e", "stderr", "-p", str(folder), "-c", config])


def _bare(site: Site) -> Launch:
    script = Path(__file__).parent / "bare.py"
    return Launch([str(site.home / "bin/python"), str(script), "--port", str(site.port), "--upstream", site.stub])


def _litellm(site: Site) -> Launch:
    config = site.write(
        "litellm.yaml",
        f"""model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench-upstream, api_base: "{site.stub}/v1", api_key: bench}}
  - model_name: bench-chat-only
    litellm_params: {{model: hosted_vllm/bench-upstream, api_base: "{site.stub}/v1", api_key: bench}}
general_settings: {{master_key: {KEY}}}
litellm_settings: {{telemetry: false, drop_params: true}}
""",
    )
    command = [str(site.home / "bin/litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(site.port)]
    environment = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
        "PATH": f"{site.home / 'bin'}:{os.environ.get('PATH', '')}",
    }
    return Launch([*command, "--num_workers", "1", "--telemetry", "False"], environment)


TENSORZERO_HOST = """import signal, sys
from tensorzero.tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
with open(sys.argv[2], "w") as port_file:
    port_file.write(gateway.base_url.rstrip("/").rsplit(":", 1)[1].split("/")[0])
signal.sigwait({signal.SIGTERM, signal.SIGINT})
gateway.close()
"""


def _tensorzero(site: Site) -> Launch:
    config = site.write(
        "tensorzero.toml",
        f"""[gateway]
disable_pseudonymous_usage_analytics = true
observability.enabled = false
[models.bench]
routing = ["stub"]
[models.bench.providers.stub]
type = "openai"
model_name = "bench-upstream"
api_base = "{site.stub}/v1/"
api_key_location = "none"
""",
    )
    port_file = site.folder / "port"
    script = site.write("tensorzero_host.py", TENSORZERO_HOST)
    return Launch([str(site.home / "bin/python"), script, config, str(port_file)], port_file=port_file)


def _vllm_router(site: Site) -> Launch:
    command = [str(site.home / "bin/vllm-router"), "--worker-urls", site.stub, "--host", "127.0.0.1"]
    command += ["--port", str(site.port), "--policy", "round_robin", "--prometheus-port", str(site.port + 1000)]
    return Launch([*command, "--log-level", "error"])


def _portkey(site: Site) -> Launch:
    script = site.home / "node_modules/@portkey-ai/gateway/build/start-server.js"
    return Launch(["node", str(script), f"--port={site.port}", "--headless"], {"NODE_ENV": "production"})


def _portkey_headers(site: Site) -> Mapping[str, str]:
    return {
        "authorization": "Bearer bench",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{site.stub}/v1",
    }


PEERS = (
    Peer(
        name="headgate",
        launch=_headgate,
        note="key check, ledger, metrics and the JSON request log on; one worker",
    ),
    Peer(
        name="headgate-4-targets",
        launch=_four_targets,
        note="the same with four targets chosen by latency",
    ),
    Peer(
        name="headgate-limits",
        launch=_limits,
        note="the same with rates, streams and a budget of the key, its tenant and its model, and a price",
        headers=_with_token,
    ),
    Peer(
        name="headgate-traces",
        launch=_traces,
        note="the same with a trace of every request sent to a collector",
    ),
    Peer(
        name="headgate-all",
        launch=_all,
        note="all of that together",
        headers=_with_token,
    ),
    Peer(
        name="headgate-messages",
        launch=_headgate,
        note="as headgate; asked in Anthropic's Messages, translated into chat completions and back",
        words=MESSAGES,
    ),
    Peer(
        name="headgate-responses",
        launch=_headgate,
        note="as headgate; asked in OpenAI's Responses, translated into chat completions and back",
        words=RESPONSES,
    ),
    Peer(
        name="nginx",
        launch=_nginx,
        note="bare proxy as a floor: no keys, no log, buffering off, one worker",
        available=lambda: _nginx_binary() is not None,
    ),
    Peer(
        name="bare-python",
        launch=_bare,
        note="uvicorn and aiohttp's client, nothing between them: what passing on costs in Python without a gateway",
        pip=("uvicorn==0.54.*", "uvloop", "httptools", "aiohttp", "orjson"),
        folder="peer-bare",
    ),
    Peer(
        name="vllm-router",
        launch=_vllm_router,
        note="Rust; round robin over one worker; no keys, no prices",
        pip=("vllm-router==0.1.17",),
        folder="peer-vllm-router",
        model="bench-upstream",
    ),
    Peer(
        name="tensorzero",
        launch=_tensorzero,
        note="Rust, the PyPI package's embedded gateway on its own HTTP port; no store, no keys, observability off",
        pip=("tensorzero==2026.6.0",),
        folder="peer-tensorzero",
        model="tensorzero::model_name::bench",
        path="/openai/v1/chat/completions",
    ),
    Peer(
        name="portkey",
        launch=_portkey,
        note="Node, as shipped and headless; no keys; routed by headers; streams fail (immutable headers, Node 20)",
        npm="@portkey-ai/gateway@1.15.2",
        folder="peer-portkey",
        headers=_portkey_headers,
        available=lambda: shutil.which("node") is not None,
        json_requests=(3000, 6000),
        most_streams=50,
    ),
    Peer(
        name="litellm",
        launch=_litellm,
        note="Python; master key on; no database, no callbacks, production mode, one worker",
        pip=("litellm[proxy]",),
        folder="peer-litellm",
        json_requests=(200, 400),
        most_streams=20,
    ),
    Peer(
        name="litellm-messages",
        launch=_litellm,
        note="as litellm; asked in Anthropic's Messages, translated into chat completions",
        pip=("litellm[proxy]",),
        folder="peer-litellm",
        model="bench-chat-only",
        words=MESSAGES,
        json_requests=(200, 400),
        most_streams=20,
    ),
)
