"""Alerts and dashboard ask for what the service really tells: metrics, labels, reasons; the runbook has each alert."""

import json
import re

import promql_parser as promql
import pytest
import yaml
from chart import EXAMPLES, ROOT, named, rendered

from guardedvlm.audit.metric_table import METRICS
from guardedvlm.errors import Reason

HISTOGRAMS = ("_bucket", "_sum", "_count")
OF_PROMETHEUS = {"instance", "job", "le"}
ALERTS = {
    "GuardedVLMDetectorDown", "GuardedVLMLedgerLag", "GuardedVLMLedgerUnwritable", "GuardedVLMResidualRefusals",
    "GuardedVLMChainBroken", "GuardedVLMReloadBroken", "GuardedVLMEvidenceUnsigned",
    "GuardedVLMInferenceUnavailable", "GuardedVLMSilent",
}  # fmt: skip


def escaped(name):
    """As the collector's exporter spells a name under UnderscoreEscapingWithoutSuffixes."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


LABELS = {escaped(metric.name): {escaped(label) for label in metric.labels} for metric in METRICS.values()}
DURATIONS = {escaped(metric.name) for metric in METRICS.values() if metric.unit == "s" and "duration" in metric.name}
TOKENS = {escaped(metric.name) for metric in METRICS.values() if metric.unit == "{token}"}


def rules():
    groups = named(rendered("split"), "PrometheusRule", "")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels():
    dashboard = json.loads(named(rendered("split"), "ConfigMap", "dashboard")["data"]["guardedvlm.json"])
    return dashboard["panels"]


def expressions():
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


def selectors(node):
    """Every selection of series in an expression."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str):
            yield from selectors(child)
    for child in getattr(node, "args", []) or []:
        yield from selectors(child)


def groupings(text):
    return [label.strip() for found in re.findall(r"\bby\s*\(([^)]*)\)", text) for label in found.split(",")]


@pytest.mark.parametrize("text", sorted(set(expressions())))
def test_every_expression_asks_for_what_there_is(text):
    found = list(selectors(promql.parse(text)))
    assert found
    known = set()
    for selector in found:
        metric = _metric(selector.name)
        known |= LABELS[metric] | OF_PROMETHEUS
        for matcher in selector.matchers.matchers:
            assert matcher.name in LABELS[metric], (selector.name, matcher.name)
            if matcher.name == "error_type" and matcher.value:
                assert set(matcher.value.split("|")) <= {reason.value for reason in Reason}
    assert set(groupings(text)) <= known


def _metric(name):
    """The metric that a series is of; a histogram has three series."""
    base = next((name.removesuffix(end) for end in HISTOGRAMS if name.endswith(end)), name)
    if base in DURATIONS | TOKENS:
        assert base != name, f"{name} is a histogram"
        return base
    assert name in LABELS, name
    return name


def test_a_metric_that_nobody_tells_is_seen():
    with pytest.raises(AssertionError):
        test_every_expression_asks_for_what_there_is("guardedvlm_requests_total > 0")
    with pytest.raises(AssertionError):
        test_every_expression_asks_for_what_there_is('guardedvlm_requests{error_type="NO_SUCH_REASON"} > 0')
    with pytest.raises(AssertionError):
        test_every_expression_asks_for_what_there_is("sum by (pod) (guardedvlm_requests)")


def test_the_collector_spells_names_as_the_alerts_do():
    for name in ("split", "air-gapped"):
        settings = yaml.safe_load(named(rendered(name), "ConfigMap", "collector")["data"]["config.yaml"])
        assert settings["exporters"]["prometheus"]["translation_strategy"] == "UnderscoreEscapingWithoutSuffixes"
        assert "namespace" not in settings["exporters"]["prometheus"]


def test_the_four_that_were_asked_for_are_there_and_each_has_its_runbook():
    found = {rule["alert"]: rule for rule in rules()}
    assert set(found) == ALERTS
    operator = (ROOT / "docs" / "operator.md").read_text("utf-8")
    anchors = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-") for line in _headings(operator)}
    for rule in found.values():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operator.md"
        assert anchor in anchors
        assert rule["labels"]["severity"] in {"warning", "critical"}


def _headings(text):
    return [line.lstrip("#") for line in text.splitlines() if line.startswith("#")]


def test_thresholds_are_the_values():
    lag = next(rule for rule in rules() if rule["alert"] == "GuardedVLMLedgerLag")
    assert lag["expr"].endswith("> 300")


def test_the_monitor_scrapes_the_collector():
    objects = rendered("split")
    monitor = named(objects, "ServiceMonitor", "")
    service = named(objects, "Service", "collector")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["honorLabels"] is True
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_every_panel_has_a_source_and_a_place_of_its_own():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places) >= 12
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels())


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_not_asked_for_is_not_there(name):
    kinds = {one["kind"] for one in rendered(name)}
    assert ("ServiceMonitor" in kinds) is (name in {"split", "air-gapped"})
    assert ("PrometheusRule" in kinds) is (name in {"split", "air-gapped", "no-cert-manager"})
