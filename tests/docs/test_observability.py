"""The guide and the dashboard name only metrics, labels, log fields and attributes that exist."""

import json
import re
from pathlib import Path

from headgate.core.ids import child_of
from headgate.core.run import Run
from headgate.telemetry.exposition import SERIES
from headgate.telemetry.logs import request_line
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/observability.md").read_text()
LABELS = {name: set(labels) for name, _, labels in SERIES}
pytestmark = covers("docs", "133")


def metrics_in(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bheadgate_[a-z_]+\b", text)}


def expressions() -> list[str]:
    dashboard = json.loads((ROOT / "deploy/grafana/headgate.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_guide_names_metrics_that_exist() -> None:
    named = metrics_in(GUIDE)
    assert len(named) > 10
    assert named <= set(LABELS)


def test_the_guide_names_every_metric() -> None:
    assert set(LABELS) <= metrics_in(GUIDE)


def test_the_dashboard_asks_for_metrics_and_labels_that_exist() -> None:
    for expression in expressions():
        names = metrics_in(expression)
        assert names, expression
        assert names <= set(LABELS), expression
        known = set().union(*(LABELS[name] for name in names)) | {"le"}
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        asked = {label.strip() for group in grouped for label in group.split(",")}
        asked |= set(re.findall(r'([a-z_]+)[!=~]+"', expression))
        assert asked <= known, expression


def test_a_metric_that_does_not_exist_is_seen() -> None:
    assert not metrics_in("rate(headgate_nothing_total[5m])") <= set(LABELS)


def test_the_guide_names_fields_of_the_log_line_that_exist() -> None:
    section = GUIDE.partition("## The log line")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    line = request_line(Run("r", child_of(None), "chat", ended=1.0))
    assert len(named) > 20
    rare = {"passed_over", "fallback", "dropped", "applied", "mirror_of", "refused_by", "over", "cache_write_tokens"}
    rare |= {"tools", "tools_absent", "parent", "replay_of", "stopped", "passages"}
    assert rare <= named
    assert named - rare <= set(line)
    assert set(line) <= named
