"""The workflow engine under a day's jobs: every job takes a slot for as long as it was recorded to run."""

from collections import Counter, deque
from collections.abc import Sequence
from heapq import heappop, heappush

from bench.scaling.day import Job
from bench.scaling.fleet import Fleet, Seen
from bench.scaling.waits import Waits


class Engines:
    """Tenants take turns, as the ledger lets them, and none has more than `tenant_jobs` at once."""

    def __init__(self, jobs: Sequence[Job], *, slots: int, tenant_jobs: int) -> None:
        self._coming = deque(jobs)
        self._slots, self._tenant_jobs = slots, tenant_jobs
        self._queues: dict[int, deque[Job]] = {}
        self._turns: deque[int] = deque()
        self._ends: list[tuple[float, int]] = []
        self._running: Counter[int] = Counter()
        self._depth = 0
        self.waits = Waits()

    def advance(self, second: int, fleet: Fleet) -> None:
        slots = fleet.ready(second) * self._slots  # fewer than run, after a pod has gone: its jobs end, none begins
        self._claim(second, slots)
        while (moment := self._next()) < second + 1:
            if self._ends and self._ends[0][0] == moment:
                self._running[heappop(self._ends)[1]] -= 1
            else:
                self._arrive(self._coming.popleft())
            self._claim(moment, slots)

    def seen(self, second: int, fleet: Fleet) -> Seen:
        return Seen(depth=self._depth)

    def _next(self) -> float:
        ends = self._ends[0][0] if self._ends else float("inf")
        return min(ends, self._coming[0].created if self._coming else float("inf"))

    def _arrive(self, job: Job) -> None:
        queue = self._queues.get(job.tenant)
        if queue is None:
            queue = self._queues[job.tenant] = deque()
            self._turns.append(job.tenant)
        queue.append(job)
        self._depth += 1

    def _claim(self, now: float, slots: int) -> None:
        passed = 0  # tenants in a row that must not have more
        while len(self._ends) < slots and passed < len(self._turns):
            tenant = self._turns.popleft()
            if self._running[tenant] >= self._tenant_jobs:
                self._turns.append(tenant)
                passed += 1
                continue
            passed = 0
            self._begin(now, tenant)

    def _begin(self, now: float, tenant: int) -> None:
        queue = self._queues[tenant]
        job = queue.popleft()
        if queue:
            self._turns.append(tenant)
        else:
            del self._queues[tenant]
        self._depth -= 1
        self._running[tenant] += 1
        heappush(self._ends, (now + job.ran, tenant))
        self.waits.add(job.created, now - job.created)
