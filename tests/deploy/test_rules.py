"""Alert rules ask for metrics that the services export. When they fire is tested where promtool is: tests/ops."""

import pytest

from support.charts import ROOT, VALUE_SETS, load_strictly, of_kind, render_all, template
from support.promql import RULES, exported, metrics_of, rules


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_are_exported(rule: dict[str, str]) -> None:
    asked = metrics_of(rule["expr"])
    assert asked or rule["expr"].startswith("vector(")
    assert asked <= exported()


def test_what_an_expression_asks_for_is_found() -> None:
    expression = 'sum by (name) (rate(a_total{x="b}c"}[5m])) / on (x) group_left c:d:5m offset 15m > bool 3 or e  # f'
    assert metrics_of(expression) == {"a_total", "c:d:5m", "e"}


def test_every_rule_file_becomes_an_object() -> None:
    files = {path.stem for path in RULES.glob("*.yaml")}
    assert {f"copilot-rules-{name}" for name in files} == set(of_kind("default", "PrometheusRule"))


def test_alerts_lead_to_the_operators_own_runbook() -> None:
    runbook = "observability.runbook=https://wiki.example.com/copilot"
    done = template("copilot-platform", "--values", VALUE_SETS["default"], "--set", runbook)
    found = [manifest for manifest in load_strictly(done.stdout) if manifest["kind"] == "PrometheusRule"]
    rendered = [
        rule for each in found for group in each["spec"]["groups"] for rule in group["rules"] if "alert" in rule
    ]
    assert rendered
    for rule in rendered:
        page = f"https://wiki.example.com/copilot#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == page


def test_every_dashboard_file_becomes_a_config_map() -> None:
    files = {path.stem for path in (ROOT / "helm/copilot-platform/files/dashboards").glob("*.json")}
    made = {found["metadata"]["name"] for found in render_all("default") if found["kind"] == "ConfigMap"}
    assert {f"copilot-dashboard-{name}" for name in files} == made - {"copilot-config"}
