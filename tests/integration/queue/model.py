"""The ledger as it should be, in plain Python: what each operation does to a handful of jobs (docs/ledger.md)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

WAITING = {"pending", "scheduled"}
ENDED = {"completed", "cancelled", "dead"}
_ALONE = 2
_PAUSED_LAPSES = 3
_TOO_MANY_LAPSES = 5


@dataclass
class ModelJob:
    """`owner`: running: the process; pending: the one it is kept for. `is_due`: scheduled, and its time has
    come; `is_forever`: parked until a signal."""

    id: UUID
    tenant: UUID
    kind: str
    job_class: int
    priority: int
    max_failures: int
    dedupe_key: str | None
    status: str
    is_due: bool = False
    is_parked: bool = False
    is_forever: bool = False
    owner: UUID | None = None
    fence: int = 0
    failures: int = 0
    lapses: int = 0
    error_code: str | None = None
    unseen: list[str] = field(default_factory=list)

    @property
    def row(self) -> tuple[object, ...]:
        return (self.status, self.fence, self.failures, self.lapses, self.owner, self.error_code)

    def begin(self, process: UUID) -> None:
        self.status, self.owner, self.fence = "running", process, self.fence + 1

    def end(self, status: str, error_code: str | None) -> None:
        self.status, self.owner, self.error_code = status, None, error_code
        self.is_due = self.is_parked = self.is_forever = False


@dataclass(frozen=True)
class ClaimAsked:
    process: UUID
    known: tuple[str, ...]
    limit: int
    running: int
    tenant_limit: int


@dataclass
class ModelLedger:
    """`cursors`: by class, the tenant that was served last; the next claim begins behind it."""

    jobs: dict[UUID, ModelJob] = field(default_factory=dict)
    cursors: dict[int, UUID] = field(default_factory=dict)
    alive: set[UUID] = field(default_factory=set)

    def in_state(self, *statuses: str) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status in statuses]

    def running_of(self, process: UUID) -> list[ModelJob]:
        return [job for job in self.in_state("running") if job.owner == process]

    def holds(self, process: UUID, job_id: UUID, fence: int) -> bool:
        job = self.jobs[job_id]
        return (job.status, job.owner, job.fence) == ("running", process, fence)

    def is_taken(self, tenant: UUID, key: str | None) -> bool:
        """Whether the same work waits already."""
        return key is not None and any(
            job.tenant == tenant and job.dedupe_key == key for job in self.in_state(*WAITING)
        )

    # Claiming

    def claim(self, asked: ClaimAsked, ages: Mapping[UUID, datetime]) -> set[tuple[UUID, int | None]]:
        """What a claim takes. `ages` are the due times, which the database's clock has given."""
        alone = self._claim_alone(asked, ages)
        if alone is not None:
            return {alone}
        taken: set[tuple[UUID, int | None]] = set()
        for job_class in range(1, 5):
            for job in self._choose(job_class, asked, asked.limit - len(taken), ages):
                job.begin(asked.process)
                taken.add((job.id, job.fence))
        return taken

    def _claim_alone(self, asked: ClaimAsked, ages: Mapping[UUID, datetime]) -> tuple[UUID, int | None] | None:
        running = self._running_by_tenant()
        candidates = [
            job
            for job in self.in_state("pending")
            if job.lapses >= _ALONE
            and job.kind in asked.known
            and (job.owner == asked.process or job.owner not in self.alive)
            and running[job.tenant] < asked.tenant_limit
        ]
        if not candidates:
            return None
        job = min(candidates, key=lambda job: ages[job.id])
        if asked.running:
            job.owner = asked.process
            return job.id, None
        job.begin(asked.process)
        return job.id, job.fence

    def _choose(
        self, job_class: int, asked: ClaimAsked, limit: int, ages: Mapping[UUID, datetime]
    ) -> Iterable[ModelJob]:
        """Rounds: each tenant's next job comes after as many as the tenant has running or chosen already."""
        due = [job for job in self.in_state("pending") if job.job_class == job_class]
        after = self.cursors.get(job_class)
        tenants = sorted(
            {job.tenant for job in due}, key=lambda tenant: (after is not None and tenant <= after, tenant)
        )
        running = self._running_by_tenant()
        heads = []
        for place, tenant in enumerate(tenants):
            own = [job for job in due if job.tenant == tenant and job.kind in asked.known and job.lapses < _ALONE]
            own.sort(key=lambda job: (job.priority, ages[job.id], job.id))
            for turn, job in enumerate(own, start=running[tenant] + 1):
                if turn <= asked.tenant_limit:
                    heads.append((turn, place, job))
        heads.sort(key=lambda head: head[:2])
        chosen = [job for _, _, job in heads[: max(limit, 0)]]
        if chosen and len(tenants) > 1:
            self.cursors[job_class] = chosen[-1].tenant
        return chosen

    def _running_by_tenant(self) -> Counter[UUID]:
        return Counter(job.tenant for job in self.in_state("running"))

    # Ending and waiting again

    def put_back(self, job: ModelJob, *, is_later: bool = False, error_code: str | None) -> None:
        if self.is_taken(job.tenant, job.dedupe_key):
            job.end("cancelled", "SUPERSEDED")
        else:
            job.end("scheduled" if is_later else "pending", error_code)

    def fail(self, job: ModelJob, *, is_final: bool, is_later: bool, error_code: str) -> None:
        job.failures += 1
        if is_final or job.failures >= job.max_failures:
            job.end("dead", error_code)
        else:
            job.lapses = 0
            self.put_back(job, is_later=is_later, error_code=error_code)

    def park(self, job: ModelJob, *, is_forever: bool) -> list[str]:
        names, job.unseen = job.unseen, []
        if not names:
            job.end("scheduled", job.error_code)
            job.is_parked, job.is_forever, job.lapses, job.dedupe_key = True, is_forever, 0, None
        return names

    def signal(self, job: ModelJob, name: str) -> None:
        job.unseen.append(name)
        if job.status == "scheduled":
            job.end("pending", job.error_code)

    def redrive(self, job: ModelJob) -> None:
        job.end("pending", None)
        job.failures = job.lapses = 0
        job.unseen = [name for name in job.unseen if name != "cancel"]

    def sweep(self) -> list[str]:
        for job in self.in_state("running"):
            if job.owner not in self.alive:
                job.lapses += 1
                if job.lapses >= _TOO_MANY_LAPSES:
                    job.end("dead", "WORKER_LOST")
                else:
                    self.put_back(job, is_later=job.lapses >= _PAUSED_LAPSES, error_code=job.error_code)
        for job in self.in_state("scheduled"):
            if job.is_due:
                job.end("pending", job.error_code)
        return ["workflow"] if self.in_state("pending") else []

    def pass_time(self) -> None:
        """More than any pause or delay; who waits for a signal alone goes on waiting."""
        for job in self.in_state("scheduled"):
            job.is_due = not job.is_forever
