"""What the charts set, read from their values: a simulation of other numbers would say nothing about them."""

from pathlib import Path
from typing import Any

import msgspec

from bench.scaling.behaviour import Behaviour

HELM = Path(__file__).parents[2] / "helm"

# What a container needs before its first probe: scheduled, created, its image on the node. Kubernetes' own goal for
# that is 5 s at the 99th percentile; twice that leaves room for a mounted volume.
CREATED_SECONDS = 10.0

_CHARTS = {
    "api": "copilot-api",
    "workflowEngine": "copilot-workflow-engine",
    "contextService": "copilot-context-service",
}


class Scaling(msgspec.Struct, frozen=True, rename="camel"):
    """`autoscaling` of a chart's values. Percents are of the request; `queue_depth` is due jobs for each replica."""

    min_replicas: int
    max_replicas: int
    cpu_percent: int | None = None
    memory_percent: int | None = None
    queue_depth: int | None = None
    behavior: Behaviour = Behaviour()


class Unit(msgspec.Struct, frozen=True):
    """A service as its chart runs it. `ready_seconds`: from its creation until a pod counts as ready, at worst."""

    scaling: Scaling
    requested_cores: float
    limit_cores: float
    requested_mib: float
    ready_seconds: float


def read_unit(section: str, values: Any = None) -> Unit:
    """`section` of the values: api, workflowEngine or contextService. `values`: instead of the chart's own."""
    if values is None:
        values = msgspec.yaml.decode((HELM / _CHARTS[section] / "values.yaml").read_bytes())
    found = values[section]
    requests, limits = found["resources"]["requests"], found["resources"]["limits"]
    readiness = found["probes"]["readiness"]
    return Unit(
        scaling=msgspec.convert(found["autoscaling"], Scaling),
        requested_cores=cores(requests["cpu"]),
        limit_cores=cores(limits["cpu"]),
        requested_mib=mib(requests["memory"]),
        ready_seconds=CREATED_SECONDS + readiness["initialDelaySeconds"] + readiness["periodSeconds"],
    )


def cores(quantity: str | int) -> float:
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def mib(quantity: str) -> float:
    """Raises ValueError for units that the charts don't use."""
    for unit, size in {"Mi": 1.0, "Gi": 1024.0}.items():
        if quantity.endswith(unit):
            return float(quantity.removesuffix(unit)) * size
    raise ValueError(f"not in Mi or Gi: {quantity}")
