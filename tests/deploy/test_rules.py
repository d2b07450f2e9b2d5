"""Alert rules ask for metrics and labels that the services export. What they say is tested where promtool is."""

import re

import pytest

from support.charts import ROOT, load_strictly, of_kind, render_all

_PROMETHEUS_OWN = {"up"}
_WORDS = re.compile(r"\b[a-z_:]+(?=[{\[(]|\s|$|\))")
_KEYWORDS = {"by", "sum", "max", "rate", "increase", "absent", "or", "and", "on", "namespace", "provider", "queue"}
_FUNCTIONS = _KEYWORDS | {"name", "job", "unless", "offset", "count", "min", "avg", "histogram_quantile", "le", "route"}
_DECLARED = re.compile(r'(Counter|Gauge|Histogram)\(\s*"([a-z_]+)"')


def exported() -> set[str]:
    """Names as Prometheus stores them, from the places that declare them."""
    found = set()
    for path in [*ROOT.glob("libs/*/copilot_*/**/*.py"), *ROOT.glob("services/*/copilot_*/**/*.py")]:
        for kind, name in _DECLARED.findall(path.read_text()):
            base = name.removesuffix("_total")
            suffixes = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}[kind]
            found |= {base + suffix for suffix in suffixes}
    return found


def rules() -> list[tuple[str, str]]:
    """Name and expression of each, from the files: nothing is rendered while tests are collected."""
    return [
        (rule.get("alert") or rule["record"], str(rule["expr"]))
        for path in sorted((ROOT / "helm/copilot-platform/files/rules").glob("*.yaml"))
        for content in load_strictly(path.read_text())
        for group in content["groups"]
        for rule in group["rules"]
    ]


@pytest.mark.parametrize(("name", "expression"), rules())
def test_a_rule_asks_for_metrics_that_are_exported(name: str, expression: str) -> None:
    recorded = {each for each, _ in rules() if ":" in each}
    without_labels = re.sub(r"\{[^}]*\}", "{", expression)
    asked = set(_WORDS.findall(without_labels)) - _FUNCTIONS
    assert asked, name
    assert asked <= exported() | recorded | _PROMETHEUS_OWN


def test_every_rule_file_becomes_an_object() -> None:
    files = {path.stem for path in (ROOT / "helm/copilot-platform/files/rules").glob("*.yaml")}
    assert {f"copilot-rules-{name}" for name in files} == set(of_kind("default", "PrometheusRule"))


def test_every_dashboard_file_becomes_a_config_map() -> None:
    files = {path.stem for path in (ROOT / "helm/copilot-platform/files/dashboards").glob("*.json")}
    made = {found["metadata"]["name"] for found in render_all("default") if found["kind"] == "ConfigMap"}
    assert {f"copilot-dashboard-{name}" for name in files} == made - {"copilot-config"}
