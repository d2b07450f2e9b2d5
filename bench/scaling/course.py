"""A service through a day under one decider: what there was, what was waited, what it cost."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from bench.scaling.charts import Unit
from bench.scaling.fleet import SYNC_SECONDS, Decider, Fleet, Seen
from bench.scaling.waits import Waits


class Service(Protocol):
    @property
    def waits(self) -> Waits: ...

    def advance(self, second: int, fleet: Fleet) -> None:
        """Through that second."""

    def seen(self, second: int, fleet: Fleet) -> Seen: ...


@dataclass
class Course:
    """`replicas` and `depth` at every sync. A replica that starts costs; one that only ends its last work, half
    a minute at most, is not counted."""

    name: str
    waits: Waits
    replicas: list[int] = field(default_factory=list)
    depth: list[float] = field(default_factory=list)

    @property
    def replica_hours(self) -> float:
        return sum(self.replicas) * SYNC_SECONDS / 3_600

    @property
    def changes(self) -> int:
        return sum(before != after for before, after in pairwise(self.replicas))


def play(name: str, service: Service, unit: Unit, decider: Decider, *, replicas: int, seconds: int) -> Course:
    """`replicas`: at the begin. The decider is shown what was there one sync before."""
    fleet, course, seen = Fleet(replicas, unit.ready_seconds), Course(name, service.waits), Seen()
    for second in range(seconds):
        if second % SYNC_SECONDS == 0:
            fleet.resize(second, decider(second, fleet, seen))
            seen = service.seen(second, fleet)
            course.replicas.append(len(fleet))
            course.depth.append(seen.depth)
        service.advance(second, fleet)
    return course
