"""Services whose work flows: what comes within a second is worked off in its order, at a rate of each ready replica."""

from dataclasses import dataclass, field

from bench.scaling.charts import Unit
from bench.scaling.day import Counts
from bench.scaling.fleet import Fleet, Seen
from bench.scaling.rates import Rates
from bench.scaling.waits import Waits


@dataclass
class Backlog:
    """`coming`: in each second. `rate`: of one replica, in a second."""

    coming: Counts
    rate: float
    left: float = 0.0
    done: float = 0.0
    waits: Waits = field(default_factory=Waits)

    def advance(self, second: int, replicas: int) -> None:
        capacity, came = replicas * self.rate, float(self.coming[second])
        if came:
            self.waits.add(second, self.left / capacity, came)
        self.done = min(self.left + came, capacity)
        self.left += came - self.done


class Api:
    """`cores`: what a replica can have: its limit where the node has that to spare, its request in any case."""

    def __init__(self, requests: Counts, unit: Unit, rates: Rates, *, cores: float) -> None:
        self._backlog = Backlog(requests, rate=cores / (rates.request_cpu_ms / 1000))
        self._cpu_seconds = rates.request_cpu_ms / 1000
        self._requested_cores, self._memory = unit.requested_cores, rates.api_mib / unit.requested_mib
        self._recent = [0.0] * _WINDOW_SECONDS
        self.waits = self._backlog.waits

    def advance(self, second: int, fleet: Fleet) -> None:
        self._backlog.advance(second, fleet.ready(second))
        self._recent[second % _WINDOW_SECONDS] = self._backlog.done

    def seen(self, second: int, fleet: Fleet) -> Seen:
        replicas = fleet.ready(second)
        used = sum(self._recent) / _WINDOW_SECONDS * self._cpu_seconds / replicas / self._requested_cores
        return Seen(depth=self._backlog.left, cpu=[used] * replicas, memory=[self._memory] * replicas)


_WINDOW_SECONDS = 15  # that metrics-server takes the mean of


class ContextServices:
    """Memory: a replica that has worked keeps its highest; the children that read documents come beside that, as long
    as it works."""

    def __init__(self, chunks: Counts, unit: Unit, rates: Rates) -> None:
        self._backlog = Backlog(chunks, rate=rates.chunks_per_second)
        self._unit, self._rates = unit, rates
        self._worked: set[float] = set()  # when those became ready that have worked
        self.waits = self._backlog.waits

    def advance(self, second: int, fleet: Fleet) -> None:
        self._backlog.advance(second, fleet.ready(second))
        if self._backlog.done:
            self._worked.update(moment for moment in fleet.ready_at if moment <= second)

    def seen(self, second: int, fleet: Fleet) -> Seen:
        replicas = fleet.ready(second)
        works = self._backlog.done / (replicas * self._backlog.rate)
        cpu = self._backlog.done * self._rates.chunk_cpu_ms / 1000 / replicas / self._unit.requested_cores
        memory = [self._mib(moment, works) / self._unit.requested_mib for moment in fleet.ready_at[:replicas]]
        return Seen(depth=self._backlog.left, cpu=[cpu] * replicas, memory=memory)

    def _mib(self, ready_at: float, works: float) -> float:
        rates = self._rates
        if ready_at not in self._worked:
            return rates.context_idle_mib
        return rates.context_alone_mib + works * (rates.context_busy_mib - rates.context_alone_mib)
