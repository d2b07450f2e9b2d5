"""How many replicas a metric asks for, as the HorizontalPodAutoscaler computes it.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details; what that page leaves open
is as in Kubernetes' own controller (pkg/controller/podautoscaler).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

TOLERANCE = 0.1
"""Default of kube-controller-manager's --horizontal-pod-autoscaler-tolerance."""

_MISSING_SHARE = 1.0  # where fewer replicas would do, what is not known counts as if it used all it has requested


@dataclass(frozen=True, slots=True)
class PodUsage:
    """`used`: as a share of what the pod requests; None where nothing is known of it yet. `is_ready` matters for CPU: a
    starting pod's is no load. For memory it is always true."""

    used: float | None
    is_ready: bool = True


def for_utilisation(current: int, pods: Sequence[PodUsage], target: float) -> int:
    """Replicas for a metric of type Resource with `averageUtilization`; `target` as a share."""
    known = [pod.used for pod in pods if pod.used is not None and pod.is_ready]
    missing = sum(pod.used is None for pod in pods)
    unready = sum(pod.used is not None and not pod.is_ready for pod in pods)
    if not known:
        return current
    ratio = _mean(known) / target
    grows = ratio > 1
    if not missing and not (unready and grows):
        return current if _is_near(ratio) else ceil(_rounded(ratio * len(known)))
    filled = known + [0.0 if grows else _MISSING_SHARE] * missing + ([0.0] * unready if grows else [])
    cautious = _mean(filled) / target
    if _is_near(cautious):
        return current
    replicas = ceil(_rounded(cautious * len(filled)))
    # Never the other way round: what is assumed of some pods must not undo what is known of others.
    return max(current, replicas) if grows else min(current, replicas)


def for_average_value(current: int, value: float, per_replica: float) -> int:
    """Replicas for a metric of type External with `averageValue`; pods that are not ready count as if they were."""
    if _is_near(value / (per_replica * current)):
        return current
    return ceil(_rounded(value / per_replica))


def _is_near(ratio: float) -> bool:
    return abs(1 - ratio) <= TOLERANCE + 1e-9


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares)


def _rounded(replicas: float) -> float:
    """Kubernetes counts in whole thousandths; shares must not become a replica more by a float's last digit."""
    return round(replicas, 6)
