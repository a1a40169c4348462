"""Metrics as Prometheus text. The only module that knows the Prometheus client; loaded on the first scrape."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headgate.core.version import __version__
from headgate.telemetry.metrics import DURATIONS, NO_GAUGES, Gauges, Histogram, Labels, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS = (
    ("requests", "Requests answered.", ("route", "model", "status", "outcome")),
    ("attempts", "Calls of upstreams; result is ok or an error code.", ("model", "target", "result")),
    ("chunks", "Pieces of streams relayed.", ("model", "target")),
    ("tokens", "Tokens as reported by upstreams.", ("model", "target", "kind")),
    ("errors", "Requests that ended in an error, by code.", ("route", "code")),
    ("tools", "Calls of the gateway's own tools; result is ok, failed, held or cancelled.", ("tool", "result")),
    ("idempotent", "Requests with a key: result is first, attached, replayed or refused.", ("route", "result")),
    ("estimated_tokens", "Tokens that no upstream reported, as estimated.", ("model", "target", "kind")),
    ("unpriced", "Calls of upstreams whose price is not known.", ("model", "target")),
    ("calls", "Calls of upstreams by the part of the gateway that made them.", ("component", "result")),
    ("refusals", "Requests that a limit or a budget refused.", ("limit", "of", "period")),
    ("over_budget", "Requests beyond a soft budget.", ("of", "period")),
    ("spans", "Spans for the trace collector; result is sent, refused or dropped.", ("result",)),
)
_COST_LABELS = ("model", "target", "component")
_BUDGET_LABELS = ("subject", "period", "kind")
_COSTS = (
    ("cost_usd", "What calls of upstreams cost, in USD.", _COST_LABELS),
    ("cost_eur", "The same in EUR, where a rate is set.", _COST_LABELS),
)
_BUDGETS = (
    ("budget_limit_usd", "Budgets of tenants and models.", _BUDGET_LABELS),
    ("budget_used_usd", "What was spent of them in the period that runs.", _BUDGET_LABELS),
    ("budget_remaining_usd", "What is left of them.", _BUDGET_LABELS),
)
_MOST_BUDGETS = 1000
_NANO = 1e9
_HISTOGRAMS = (
    ("durations", "request_duration_seconds", "From the request's arrival to its settlement.", ("route", "model")),
    ("first_tokens", "first_token_seconds", "From the request's arrival to its first token.", ("model", "target")),
)

SERIES = (
    ("headgate_in_flight", "Model calls in flight.", ()),
    ("headgate_build_info", "The version that runs.", ("version",)),
    *((f"headgate_{name}_total", text, labels) for name, text, labels in _COUNTERS),
    *((f"headgate_{shown}", text, labels) for _, shown, text, labels in _HISTOGRAMS),
    *((f"headgate_{name}_total", text, labels) for name, text, labels in _COSTS),
    *((f"headgate_{name}", text, labels) for name, text, labels in _BUDGETS),
    ("headgate_ledger_trouble", "1 while a worker cannot write what was spent.", ()),
    ("headgate_ledger_lag_seconds", "How long the oldest of what was spent waits for the database.", ()),
    ("headgate_journal_bytes", "What was spent and is not in the database yet, in bytes.", ()),
)
"""(name, meaning, labels) of everything that is exposed."""


class _Series(Collector):
    def __init__(self, processes: Iterable[Metrics], gauges: Gauges) -> None:
        self._processes = list(processes)
        self._gauges = gauges

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
        yield from self._money()
        yield from self._ledger()

    def _money(self) -> Iterable[Metric]:
        rate = self._gauges.eur_per_usd
        for (name, text, labels), factor in zip(_COSTS, (1.0, rate), strict=True):
            if factor is not None:
                counter = CounterMetricFamily(f"headgate_{name}", text, labels=labels)
                for key, nano in self._summed("cost").items():
                    counter.add_metric(key, nano * factor / _NANO)
                yield counter
        families = [GaugeMetricFamily(f"headgate_{name}", text, labels=labels) for name, text, labels in _BUDGETS]
        for one in self._gauges.budgets[:_MOST_BUDGETS]:
            key = one.subject, one.period, "hard" if one.hard else "soft"
            amounts = one.limit, one.spent, max(0, one.limit - one.spent)
            for family, amount in zip(families, amounts, strict=True):
                family.add_metric(key, amount / _NANO)
        yield from families

    def _ledger(self) -> Iterable[Metric]:
        troubled = any(process.ledger_trouble for process in self._processes)
        values = float(troubled), self._gauges.lag, self._gauges.waiting
        for (name, text, _), value in zip(SERIES[-3:], values, strict=True):
            if value is not None:
                yield GaugeMetricFamily(name, text, value)

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
                joined.setdefault(key, Histogram()).join(one)
        return joined


def _cumulated(histogram: Histogram) -> list[tuple[str, float]]:
    cumulated = []
    so_far = 0
    for bound, count in zip((*DURATIONS, "+Inf"), histogram.counts, strict=True):
        so_far += count
        cumulated.append((str(bound), float(so_far)))
    return cumulated


def render(processes: Iterable[Metrics], gauges: Gauges = NO_GAUGES) -> bytes:
    """All series of all processes, summed, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Series(processes, gauges))
    return generate_latest(registry)
