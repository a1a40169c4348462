"""Metrics as Prometheus text. The only module that knows the Prometheus client; loaded on the first scrape."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headgate.core.version import __version__
from headgate.telemetry.metrics import DURATIONS, Histogram, Labels, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS = (
    ("requests", "Requests answered.", ("route", "model", "status", "outcome")),
    ("attempts", "Calls of upstreams; result is ok or an error code.", ("model", "target", "result")),
    ("chunks", "Pieces of streams relayed.", ("model", "target")),
    ("tokens", "Tokens as reported by upstreams.", ("model", "target", "kind")),
    ("errors", "Requests that ended in an error, by code.", ("route", "code")),
    ("tools", "Calls of the gateway's own tools; result is ok, failed, held or cancelled.", ("tool", "result")),
)
_HISTOGRAMS = (
    ("durations", "request_duration_seconds", "From the request's arrival to its settlement.", ("route", "model")),
    ("first_tokens", "first_token_seconds", "From the request's arrival to its first token.", ("model", "target")),
)

SERIES = (
    ("headgate_in_flight", "Model calls in flight.", ()),
    ("headgate_build_info", "The version that runs.", ("version",)),
    *((f"headgate_{name}_total", text, labels) for name, text, labels in _COUNTERS),
    *((f"headgate_{shown}", text, labels) for _, shown, text, labels in _HISTOGRAMS),
)
"""(name, meaning, labels) of everything that is exposed."""


class _Series(Collector):
    def __init__(self, processes: Iterable[Metrics]) -> None:
        self._processes = list(processes)

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "headgate_in_flight", "Model calls in flight.", sum(process.in_flight for process in self._processes)
        )
        build = GaugeMetricFamily("headgate_build_info", "The version that runs.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        for name, text, labels in _COUNTERS:
            counter = CounterMetricFamily(f"headgate_{name}", text, labels=labels)
            for key, value in self._summed(name).items():
                counter.add_metric(key, value)
            yield counter
        for name, shown, text, labels in _HISTOGRAMS:
            family = HistogramMetricFamily(f"headgate_{shown}", text, labels=labels)
            for key, histogram in self._joined(name).items():
                family.add_metric(key, buckets=_cumulated(histogram), sum_value=histogram.total)
            yield family

    def _summed(self, name: str) -> Mapping[Labels, int]:
        summed: dict[Labels, int] = {}
        for process in self._processes:
            for key, value in getattr(process, name).items():
                summed[key] = summed.get(key, 0) + value
        return summed

    def _joined(self, name: str) -> Mapping[Labels, Histogram]:
        joined: dict[Labels, Histogram] = {}
        for process in self._processes:
            for key, one in getattr(process, name).items():
                into = joined.setdefault(key, Histogram())
                into.counts = [a + b for a, b in zip(into.counts, one.counts, strict=True)]
                into.total += one.total
        return joined


def _cumulated(histogram: Histogram) -> list[tuple[str, float]]:
    cumulated = []
    so_far = 0
    for bound, count in zip((*DURATIONS, "+Inf"), histogram.counts, strict=True):
        so_far += count
        cumulated.append((str(bound), float(so_far)))
    return cumulated


def render(processes: Iterable[Metrics]) -> bytes:
    """All series of all processes, summed, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Series(processes))
    return generate_latest(registry)
