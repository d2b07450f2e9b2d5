"""Replicas of a service, and who decides how many there are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.scaling.behaviour import Behaviour, Governor
from bench.scaling.charts import Scaling
from bench.scaling.metrics import PodUsage, for_average_value, for_utilisation

SYNC_SECONDS = 15
"""Of kube-controller-manager; also how old a metric may be: Prometheus and metrics-server look every 15 s."""


class Fleet:
    """Pods by the second in which they become ready. Who starts with the day has been there for long."""

    def __init__(self, replicas: int, ready_seconds: float) -> None:
        self._ready_seconds = ready_seconds
        self.ready_at: list[float] = [-3_600.0] * replicas

    def __len__(self) -> int:
        return len(self.ready_at)

    def ready(self, now: float) -> int:
        return sum(moment <= now for moment in self.ready_at)

    def resize(self, now: float, replicas: int) -> None:
        """The youngest go first, as a ReplicaSet prefers. Those that go take no new work from here on."""
        self.ready_at += [now + self._ready_seconds] * (replicas - len(self))
        del self.ready_at[replicas:]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the metrics say, some seconds old. Shares of the request, of each pod that was ready, oldest first."""

    depth: float = 0.0
    cpu: Sequence[float] = ()
    memory: Sequence[float] = ()


class Decider(Protocol):
    def __call__(self, now: float, fleet: Fleet, seen: Seen) -> int: ...


def fixed(replicas: int) -> Decider:
    return lambda now, fleet, seen: replicas


@dataclass
class Autoscaler:
    """A HorizontalPodAutoscaler. `behaviour` None: the chart's."""

    scaling: Scaling
    behaviour: Behaviour | None = None
    _governor: Governor = field(init=False)

    def __post_init__(self) -> None:
        behaviour = self.scaling.behavior if self.behaviour is None else self.behaviour
        self._governor = Governor(self.scaling.min_replicas, self.scaling.max_replicas, behaviour)

    def __call__(self, now: float, fleet: Fleet, seen: Seen) -> int:
        return self._governor.decide(now, len(fleet), self._wanted(now, fleet, seen))

    def _wanted(self, now: float, fleet: Fleet, seen: Seen) -> int:
        """The metric that wants most decides."""
        scaling, current = self.scaling, len(fleet)
        wanted = [0]
        if scaling.queue_depth is not None:
            wanted.append(for_average_value(current, seen.depth, scaling.queue_depth))
        if scaling.cpu_percent is not None:
            pods = _usages(fleet, seen.cpu, lambda moment: moment + SYNC_SECONDS <= now)
            wanted.append(for_utilisation(current, pods, scaling.cpu_percent / 100))
        if scaling.memory_percent is not None:
            pods = _usages(fleet, seen.memory, lambda _: True)
            wanted.append(for_utilisation(current, pods, scaling.memory_percent / 100))
        return max(wanted)


def _usages(fleet: Fleet, shares: Sequence[float], is_ready: Callable[[float], bool]) -> list[PodUsage]:
    """Pods that nothing is known of yet are without a share. Of CPU, the first sample of a pod is of its start."""
    return [
        PodUsage(shares[number] if number < len(shares) else None, is_ready=is_ready(moment))
        for number, moment in enumerate(fleet.ready_at)
    ]
