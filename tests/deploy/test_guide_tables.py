"""What the tables of both guides say is what settings and charts have."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from copilot_common.platform.settings import Settings, load_settings
from support.charts import IN_ORDER, ROOT, Manifest, of_kind, pods
from support.coverage import parts
from support.guide import GUIDE, OURS, read_guide

each_guide = pytest.mark.parametrize("path", [GUIDE, OURS], ids=["guide", "ours"])

_FIELDS = {field.encode_name: field for field in msgspec.structs.fields(Settings)}
_HPAS = {
    "API Server": "copilot-api-hpa",
    "Workflow Engine": "copilot-workflow-engine-hpa",
    "Context Service": "copilot-context-service-hpa",
}
_WORKLOADS = {
    "API Server": "Deployment/copilot-api",
    "Workflow Engine": "Deployment/copilot-workflow-engine",
    "Context Service": "Deployment/copilot-context-service",
    "PostgreSQL": "StatefulSet/postgres",
    "Redis": "Deployment/redis",
}


def offered(section: str) -> set[str]:
    schema = json.loads((ROOT / "helm/copilot-platform/values.schema.json").read_text())
    return set(schema["properties"][section]["properties"])


def environment(service: str) -> Mapping[str, str]:
    """Of its pod with the charts' defaults, without the secrets."""
    _, spec = pods("default")[f"Deployment/{service}"]
    own = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    return {**of_kind("default", "ConfigMap")["copilot-config"]["data"], **own}


@each_guide
def test_every_variable_is_a_setting_and_can_be_given_through_the_charts(path: Path) -> None:
    named = {part.name for part in parts(read_guide(path)) if part.kind == "variable"}
    assert len(named) >= 14
    assert named <= _FIELDS.keys()
    assert named - {"PORT"} <= offered("config") | offered("secrets")


@each_guide
def test_required_variables_are_those_without_a_default(path: Path) -> None:
    required = {row[0] for row in read_guide(path).table("Environment Variables > Required Variables").rows}
    assert required == {name for name, field in _FIELDS.items() if field.required}


@each_guide
def test_keys_of_providers_are_optional_secrets(path: Path) -> None:
    keys = {row[0] for row in read_guide(path).table("Environment Variables > LLM Provider Keys").rows}
    assert all(_FIELDS[name].default is None for name in keys)
    assert keys <= offered("secrets")


@each_guide
@pytest.mark.parametrize("service", IN_ORDER[2:])
def test_optional_variables_have_the_guides_defaults_in_every_pod(path: Path, service: str) -> None:
    table = read_guide(path).table("Environment Variables > Optional Configuration")
    secrets = of_kind("default", "Secret")["copilot-secrets"]["stringData"]
    loaded = load_settings({**environment(service), **secrets})
    alone = load_settings(secrets)
    for name, default, *_ in table.rows:
        assert str(getattr(loaded, _FIELDS[name].name)) == default, name
        assert str(getattr(alone, _FIELDS[name].name)) == default, name


def test_the_guides_config_map_is_the_charts_default() -> None:
    given = environment("copilot-api")
    (block,) = [fence.text for fence in read_guide(GUIDE).in_language("yaml") if "kind: ConfigMap" in fence.text]
    wanted = dict(re.findall(r'^  ([A-Z_]+): "(.*)"$', block, re.MULTILINE))
    assert len(wanted) == 8
    assert {name: given[name] for name in wanted} == wanted


def trigger_of(metric: Manifest) -> tuple[str, str]:
    """In the guide's words: what is looked at, and beyond which value there is one replica more."""
    if metric["type"] == "External":
        assert metric["external"]["metric"]["name"] == "copilot_queue_depth"
        assert metric["external"]["target"]["type"] == "AverageValue"
        return "queue depth", metric["external"]["target"]["averageValue"]
    assert metric["resource"]["target"]["type"] == "Utilization"
    return metric["resource"]["name"], f"{metric['resource']['target']['averageUtilization']}%"


@each_guide
@pytest.mark.parametrize("value_set", ["default", "guide"])
def test_every_row_of_horizontal_scaling_is_an_autoscaler(path: Path, value_set: str) -> None:
    rows = read_guide(path).table("Scaling Guidelines > Horizontal Scaling").rows
    assert [row[0] for row in rows] == list(_HPAS)
    for name, least, most, triggers in rows:
        spec = of_kind(value_set, "HorizontalPodAutoscaler")[_HPAS[name]]["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (int(least), int(most))
        told = set(re.findall(r"(\w[\w ]*) > (\d+%?)", triggers.lower()))
        found = {trigger_of(metric) for metric in spec["metrics"]}
        # The guide's table names one of the two triggers that its own manifest has.
        assert told == found or (path == GUIDE and told == found - {("memory", "80%")})


@each_guide
@pytest.mark.parametrize("value_set", ["default", "guide"])
def test_every_row_of_vertical_scaling_is_a_limit(path: Path, value_set: str) -> None:
    for name, recommended in read_guide(path).table("Scaling Guidelines > Vertical Scaling").rows:
        _, spec = pods(value_set)[_WORKLOADS[name]]
        (container,) = spec["containers"]
        limits = container["resources"]["limits"]
        cpus, memory = int(limits["cpu"].removesuffix("m")) // 1000, limits["memory"].removesuffix("i")
        assert recommended == f"{cpus} CPU, {memory}B RAM"
