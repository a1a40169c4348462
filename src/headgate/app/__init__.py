"""The composition root: the one package that names concrete classes and puts them together."""

from headgate.app.gateway import gateway
from headgate.app.governance import bring_up_to_date
from headgate.app.prepare import Prepared, local_processes, prepare
from headgate.app.serve import http_server, serve
from headgate.upstreams.local import LocalProcess

__all__ = [
    "LocalProcess",
    "Prepared",
    "bring_up_to_date",
    "gateway",
    "http_server",
    "local_processes",
    "prepare",
    "serve",
]
