"""The metric that autoscalers ask for is the one that services export, by adapter and by KEDA alike."""

import asyncio
import re
from unittest.mock import AsyncMock

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.platform.metrics import render_metrics
from copilot_common.queue import WORKFLOW_QUEUE, DepthGauges, Dispatcher, QueueDepth
from support.charts import ROOT, VALUE_SETS, load_strictly, of_kind, template


def exported() -> str:
    registry = CollectorRegistry()
    dispatcher = AsyncMock(spec=Dispatcher, depth=AsyncMock(return_value=QueueDepth(250, 1.0)))
    asyncio.run(DepthGauges(dispatcher, registry, [WORKFLOW_QUEUE]).refresh())
    return render_metrics(registry).decode()


def test_the_adapters_rule_turns_what_is_exported_into_what_is_asked_for() -> None:
    (values,) = load_strictly((ROOT / "deploy/prometheus-adapter-values.yaml").read_text())
    (rule,) = values["rules"]["external"]
    (metric,) = of_kind("default", "HorizontalPodAutoscaler")["copilot-workflow-engine-hpa"]["spec"]["metrics"]
    asked = metric["external"]["metric"]
    assert asked["name"] == rule["name"]["as"]
    labels = ",".join(f'{name}="{value}"' for name, value in asked["selector"]["matchLabels"].items())
    series = rule["seriesQuery"].partition("{")[0]
    assert f"{series}{{{labels}}} 250.0" in exported()
    assert rule["metricsQuery"] == "max(<<.Series>>{<<.LabelMatchers>>})"


def test_keda_asks_for_the_same() -> None:
    assert "copilot-workflow-engine-hpa" not in of_kind("keda", "HorizontalPodAutoscaler")
    scaled = of_kind("keda", "ScaledObject")["copilot-workflow-engine"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 5)
    (trigger,) = scaled["triggers"]
    query = trigger["metadata"]["query"]
    assert query == 'max(queue_depth{queue="workflow", namespace="copilot-prod"})'
    assert re.search(r'^queue_depth\{queue="workflow"\} 250\.0$', exported(), re.MULTILINE)
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "100")


@pytest.mark.parametrize(
    ("service", "idle_mb", "share"),
    [("copilot-api", 150, 0.8), ("copilot-workflow-engine", 150, 0.5), ("copilot-context-service", 250, 0.5)],
)
def test_idle_memory_is_no_load(service: str, idle_mb: int, share: float) -> None:
    """The API's request is the guide's, and its idle memory well under the 80 % that its autoscaler looks for."""
    (container,) = of_kind("default", "Deployment")[service]["spec"]["template"]["spec"]["containers"]
    requested_mib = int(container["resources"]["requests"]["memory"].removesuffix("Mi"))
    assert idle_mb * 1e6 < share * requested_mib * 2**20


def test_replicas_are_left_to_the_autoscaler() -> None:
    for name, deployment in of_kind("default", "Deployment").items():
        assert ("replicas" in deployment["spec"]) == (name == "redis")
    plain = of_kind("plain", "Deployment")
    assert [plain[name]["spec"]["replicas"] for name in sorted(plain)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        ("copilot-api", ["api.autoscaling.cpuPercent=null", "api.autoscaling.memoryPercent=null"]),
        (
            "copilot-workflow-engine",
            [
                "workflowEngine.autoscaling.keda.enabled=true",
                "workflowEngine.autoscaling.keda.prometheus=http://prometheus",
                "workflowEngine.autoscaling.cpuPercent=70",
            ],
        ),
    ],
)
def test_what_would_scale_nothing_is_refused(chart: str, values: list[str]) -> None:
    done = template(chart, "--values", VALUE_SETS["default"], "--set", ",".join(values))
    assert done.returncode != 0
    assert "cpuPercent" in done.stderr
