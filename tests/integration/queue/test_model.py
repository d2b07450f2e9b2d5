"""Any sequence of what happens to jobs, against real PostgreSQL and a model: after each step both say the same.

Owners come and go, claim at the same time, come back with old fences, and die. What holds after every step stands in
the invariants; what each step must answer, in its rule.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from copilot_common.base.errors import Conflict
from copilot_common.queue import (
    Claim,
    ClaimedJob,
    Job,
    JobClass,
    JobLost,
    JobType,
    NewJob,
    complete,
    hold,
    note_progress,
    park,
)
from copilot_common.tenancy import Principal, Transaction
from integration.queue.ground import (
    NOTHING,
    URGENT,
    Ground,
    Nothing,
    ProcessHandle,
    acting,
    open_ground,
    past_postgres_start,
)
from integration.queue.model import ENDED, ClaimAsked, ModelJob, ModelLedger
from support.api import make_tenant
from support.clients import eventually
from support.stack import Database

SETTINGS = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,  # speeds are not asserted
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
)
HOUR = timedelta(hours=1)
PROCESSES = 3
BULK: JobType[Nothing] = JobType("bulk.do", Nothing, NOTHING.queue, JobClass.BULK, max_failures=2)
KNOWN = [(NOTHING.kind, URGENT.kind, BULK.kind), (NOTHING.kind, BULK.kind)]
PAST = "UPDATE jobs SET run_after = run_after - interval '1 day' WHERE status = 'scheduled' AND run_after < 'infinity'"
ROWS = "SELECT id, status, fence, failures, lapses, process_id, error_code FROM jobs"

places = st.integers(0, PROCESSES - 1)
often = st.sampled_from([True, True, True, False])
numbers = st.integers(0, 1_000)  # which of those there are


@dataclass(frozen=True)
class World:
    """What all examples share: a migrated database, three tenants, a loop to run coroutines in."""

    runner: asyncio.Runner
    ground: Ground
    tenants: list[Principal]
    admin: psycopg.Connection[Any]


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.run: Callable[[Coroutine[Any, Any, Any]], Any] = world.runner.run
        self.ground, self.tenants, self.admin = world.ground, world.tenants, world.admin
        self.admin.execute("TRUNCATE jobs, job_signals, job_cursors")
        self.admin.execute("DELETE FROM processes")
        self.model = ModelLedger()
        self.processes = [self.new_process() for _ in range(PROCESSES)]
        self.claims: list[tuple[ProcessHandle, Claim]] = []  # all there ever were

    @initialize(
        jobs=st.lists(
            st.tuples(
                st.integers(0, 2),
                st.sampled_from([NOTHING, NOTHING, URGENT, BULK]),
                st.sampled_from([1, 3, 5]),
                st.sampled_from([None, "a"]),
                st.sampled_from([0, 0, 0, 0, 0, 0, 1, 1, 2, 4]),
            ),
            min_size=6,
            max_size=14,
        )
    )
    def begin(self, jobs: list[tuple[int, JobType[Nothing], int, str | None, int]]) -> None:
        """A few jobs, some of which have cost processes their lives."""
        for tenant, job_type, priority, key, lapses in jobs:
            self.enqueue(tenant, job_type, priority, False, key, 1)
            job = list(self.model.jobs.values())[-1]
            job.lapses = lapses
            self.admin.execute("UPDATE jobs SET lapses = %s WHERE id = %s", [lapses, job.id])
        self.claim(0, 3, 3, KNOWN[0])

    # Asking for jobs

    @rule(
        tenant=st.integers(0, 2),
        job_type=st.sampled_from([NOTHING, NOTHING, URGENT, BULK]),
        priority=st.sampled_from([1, 3, 3, 5]),
        is_later=st.sampled_from([False, False, False, True]),
        key=st.sampled_from([None, None, "a", "b"]),
        count=st.sampled_from([1, 1, 2, 4]),
    )
    def enqueue(
        self, tenant: int, job_type: JobType[Nothing], priority: int, is_later: bool, key: str | None, count: int
    ) -> None:
        principal = self.tenants[tenant]
        delay = HOUR if is_later else timedelta()
        new = NewJob(type=job_type, payload=Nothing(), priority=priority, delay=delay, dedupe_key=key)
        for _ in range(count):
            self.ground.rung.clear()
            job_id = self.run(self.in_transaction(principal, lambda tx: self.ground.ledger.enqueue(tx, new)))
            assert (job_id is None) == self.model.is_taken(principal.tenant_id, key)
            assert self.ground.rung == (["workflow"] if job_id and not is_later else [])
            if job_id is not None:
                self.model.jobs[job_id] = ModelJob(
                    id=job_id,
                    tenant=principal.tenant_id,
                    kind=job_type.kind,
                    job_class=int(job_type.job_class),
                    priority=priority,
                    max_failures=job_type.max_failures,
                    dedupe_key=key,
                    status="scheduled" if is_later else "pending",
                )

    # Claiming

    @rule(place=places, limit=st.integers(1, 6), tenant_limit=st.integers(1, 4), known=st.sampled_from(KNOWN))
    def claim(self, place: int, limit: int, tenant_limit: int, known: tuple[str, ...]) -> None:
        self.claim_at_once([place], limit, tenant_limit, known)

    @rule(order=st.permutations(range(PROCESSES)), limit=st.integers(1, 4), tenant_limit=st.integers(1, 4))
    def claim_together(self, order: list[int], limit: int, tenant_limit: int) -> None:
        self.claim_at_once(order, limit, tenant_limit, KNOWN[0])

    def claim_at_once(self, order: list[int], limit: int, tenant_limit: int, known: tuple[str, ...]) -> None:
        """The answers are those of the same claims one after another, in some order."""
        handles = [self.processes[place] for place in order if not self.runs_alone(self.processes[place])]
        asked = [
            ClaimAsked(handle.id, known, limit, len(self.model.running_of(handle.id)), tenant_limit)
            for handle in handles
        ]
        ages = self.ages()
        answers = self.run(_gather(self.ask(handle, one) for handle, one in zip(handles, asked, strict=True)))
        for handle, answer in zip(handles, answers, strict=True):
            self.note_claims(handle, answer)
        self.find_order(asked, [{(job.id, job.fence) for job in answer} for answer in answers], ages)
        running = Counter(job.tenant for job in self.model.in_state("running"))
        assert all(running[job.tenant_id] <= tenant_limit for answer in answers for job in answer if job.fence)

    def find_order(
        self, asked: list[ClaimAsked], answers: list[set[tuple[UUID, int | None]]], ages: dict[UUID, datetime]
    ) -> None:
        seen = list(zip(asked, answers, strict=True))
        tried = []
        for order in permutations(seen):
            model = _copy(self.model)
            expected = [model.claim(one, ages) for one, _ in order]
            if expected == [answer for _, answer in order]:
                self.model = model
                return
            tried.append(expected)
        pytest.fail(f"no order of these claims explains what they got: {seen}; expected one of {tried}")

    async def ask(self, handle: ProcessHandle, asked: ClaimAsked) -> list[ClaimedJob]:
        return await handle.claim(
            limit=asked.limit, running=asked.running, tenant_limit=asked.tenant_limit, known=list(asked.known)
        )

    def note_claims(self, handle: ProcessHandle, answer: list[ClaimedJob]) -> None:
        for job in answer:
            assert job.role == "owner"
            if job.fence is not None:
                assert job.fence > self.model.jobs[job.id].fence
                self.claims.append((handle, Claim(job.tenant_id, job.id, job.fence)))

    def runs_alone(self, handle: ProcessHandle) -> bool:
        """Such a process asks for nothing more: that is the worker's part."""
        return any(job.lapses >= 2 for job in self.model.running_of(handle.id))

    # What an owner does, also one that no longer is

    @precondition(lambda self: self.claims)
    @rule(which=numbers, place=places, is_current=often, is_own=st.sampled_from([True, True, False]))
    def complete_batch(self, which: int, place: int, is_current: bool, is_own: bool) -> None:
        handle, claim = self.pick(which, is_current)
        handle = handle if is_own else self.processes[place]
        is_held = self.model.holds(handle.id, claim.id, claim.fence)
        assert self.run(handle.dispatcher.complete([claim, claim])) == ({claim.id} if is_held else set())
        if is_held:
            self.model.jobs[claim.id].end("completed", None)

    @precondition(lambda self: self.claims)
    @rule(which=numbers, is_current=often)
    def complete_in_transaction(self, which: int, is_current: bool) -> None:
        job = self.write(which, is_current, complete)
        if job is not None:
            job.end("completed", None)

    @precondition(lambda self: self.claims)
    @rule(which=numbers, is_current=often)
    def make_progress(self, which: int, is_current: bool) -> None:
        job = self.write(which, is_current, note_progress)
        if job is not None:
            job.lapses = 0

    @precondition(lambda self: self.claims)
    @rule(which=numbers, is_current=often)
    def hold(self, which: int, is_current: bool) -> None:
        self.write(which, is_current, hold)

    @precondition(lambda self: self.claims)
    @rule(which=numbers, is_current=often, delay=st.sampled_from([None, timedelta(), HOUR]))
    def park(self, which: int, is_current: bool, delay: timedelta | None) -> None:
        names: list[str] = []

        async def parking(tx: Transaction, job: Job[Any]) -> None:
            names.extend(await park(tx, job, delay))

        job = self.write(which, is_current, parking)
        if job is not None:
            assert names == self.model.park(job, is_forever=delay is None)
            job.is_due = job.status == "scheduled" and delay == timedelta()

    @precondition(lambda self: self.claims)
    @rule(
        which=numbers,
        is_current=often,
        is_final=st.sampled_from([False, False, True]),
        pause=st.sampled_from([timedelta(), HOUR]),
    )
    def fail(self, which: int, is_current: bool, is_final: bool, pause: timedelta) -> None:
        handle, claim = self.pick(which, is_current)
        is_held = self.model.holds(handle.id, claim.id, claim.fence)
        job = self.model.jobs[claim.id]
        status = self.run(handle.dispatcher.fail(claim, is_final=is_final, pause=pause, code="OOPS", text="Oops."))
        if is_held:
            self.model.fail(job, is_final=is_final, is_later=bool(pause), error_code="OOPS")
        assert status == (job.status if is_held else None)

    @precondition(lambda self: self.claims)
    @rule(which=numbers, is_current=often)
    def release(self, which: int, is_current: bool) -> None:
        handle, claim = self.pick(which, is_current)
        is_held = self.model.holds(handle.id, claim.id, claim.fence)
        assert self.run(handle.dispatcher.release([claim])) == is_held
        if is_held:
            job = self.model.jobs[claim.id]
            self.model.put_back(job, error_code=job.error_code)

    @precondition(lambda self: self.claims)
    @rule(which=numbers, is_current=often)
    def stop_as_asked(self, which: int, is_current: bool) -> None:
        handle, claim = self.pick(which, is_current)
        is_held = self.model.holds(handle.id, claim.id, claim.fence)
        assert self.run(handle.dispatcher.cancel(claim)) == is_held
        if is_held:
            job = self.model.jobs[claim.id]
            job.end("cancelled", job.error_code)

    # What the job's tenant does

    @precondition(lambda self: self.model.jobs)
    @rule(which=numbers)
    def signal(self, which: int) -> None:
        job = self.any_job(which)
        is_woken = job.status == "scheduled"
        self.ground.rung.clear()
        self.run(self.in_transaction(self.owner_of(job), lambda tx: self.ground.ledger.signal(tx, job.id, "answered")))
        assert self.ground.rung == (["workflow"] if is_woken else [])
        self.model.signal(job, "answered")

    @precondition(lambda self: self.model.jobs)
    @rule(which=numbers)
    def cancel(self, which: int) -> None:
        job = self.any_job(which)
        self.attempt(job, self.ground.ledger.cancel, is_allowed=job.status not in ENDED)
        if job.status == "running":
            job.unseen.append("cancel")
        elif job.status not in ENDED:
            job.end("cancelled", job.error_code)

    @precondition(lambda self: self.model.in_state(*ENDED))
    @rule(which=numbers, is_dead=st.booleans())
    def redrive(self, which: int, is_dead: bool) -> None:
        jobs = (is_dead and self.model.in_state("dead")) or self.model.in_state(*ENDED)
        job = jobs[which % len(jobs)]
        is_allowed = job.status == "dead" and not self.model.is_taken(job.tenant, job.dedupe_key)
        self.ground.rung.clear()
        self.attempt(job, self.ground.ledger.redrive, is_allowed=is_allowed)
        assert self.ground.rung == (["workflow"] if is_allowed else [])
        if is_allowed:
            self.model.redrive(job)

    # What happens anyway

    @rule(place=places)
    def die(self, place: int) -> None:
        """Another one takes its place; it may wake up and go on with what it had."""
        dead, self.processes[place] = self.processes[place], self.new_process()
        self.admin.execute("UPDATE processes SET lease_expires_at = '-infinity' WHERE id = %s", [dead.id])
        self.model.alive.remove(dead.id)

    @rule(count=st.sampled_from([1, 1, 3]))
    def sweep(self, count: int) -> None:
        """By several at the same time as well: whoever may not, leaves it to the other."""
        answers = self.run(_gather(self.processes[place].dispatcher.sweep() for place in range(count)))
        assert {queue for answer in answers for queue in answer} == set(self.model.sweep())

    @rule()
    def pass_time(self) -> None:
        self.admin.execute(PAST)
        self.model.pass_time()

    @rule()
    def crash(self) -> None:
        """All at once, and it is noticed: what runs comes closer to running alone."""
        for place in range(PROCESSES):
            self.die(place)
        self.sweep(1)

    # What holds after every step

    @invariant()
    def the_ledger_is_as_the_model_says(self) -> None:
        """No job is lost, none has two owners, no stale fence changed anything, fences and counts are right."""
        assert {row[0]: row[1:] for row in self.admin.execute(ROWS)} == {
            job.id: job.row for job in self.model.jobs.values()
        }

    @invariant()
    def the_same_work_waits_once(self) -> None:
        query = "SELECT count(*) FROM jobs WHERE status IN ('pending', 'scheduled') AND dedupe_key IS NOT NULL"
        assert all(row[0] == 1 for row in self.admin.execute(f"{query} GROUP BY tenant_id, dedupe_key".encode()))

    @invariant()
    def who_is_parked_has_seen_every_signal(self) -> None:
        parked = [job.id for job in self.model.in_state("scheduled") if job.is_parked]
        query = "SELECT job_id FROM job_signals WHERE seen_at IS NULL AND job_id = ANY (%s)"
        assert self.admin.execute(query, [parked]).fetchall() == []

    @invariant()
    def a_process_is_shown_what_it_owns(self) -> None:
        for handle in self.processes:
            owned = {(job.id, job.fence, job.is_cancelled) for job in self.run(handle.dispatcher.owned())}
            running = self.model.running_of(handle.id)
            assert owned == {(job.id, job.fence, "cancel" in job.unseen) for job in running}

    # Helpers

    def new_process(self) -> ProcessHandle:
        handle = self.ground.process()
        self.model.alive.add(handle.id)
        return handle

    def ages(self) -> dict[UUID, datetime]:
        return dict(self.admin.execute("SELECT id, run_after FROM jobs WHERE status = 'pending'").fetchall())

    def pick(self, which: int, is_current: bool) -> tuple[ProcessHandle, Claim]:
        """A claim of the past; where asked for and there is one, of a job that still runs under it."""
        current = [(h, c) for h, c in self.claims if self.model.holds(h.id, c.id, c.fence)] if is_current else []
        claims = current or self.claims
        return claims[which % len(claims)]

    def write(
        self, which: int, is_current: bool, act: Callable[[Transaction, Job[Any]], Awaitable[object]]
    ) -> ModelJob | None:
        """What a handler does in its own transaction. None where it no longer could."""
        handle, claim = self.pick(which, is_current)
        model = self.model.jobs[claim.id]
        principal = self.owner_of(model)
        job = Job(id=claim.id, fence=claim.fence, payload=Nothing(), principal=principal, failures=0)
        try:
            self.run(self.in_transaction(principal, lambda tx: act(tx, job)))
        except JobLost:
            assert not self.model.holds(handle.id, claim.id, claim.fence)
            return None
        assert self.model.holds(handle.id, claim.id, claim.fence)
        return model

    def attempt(self, job: ModelJob, act: Callable[[Transaction, UUID], Awaitable[None]], *, is_allowed: bool) -> None:
        try:
            self.run(self.in_transaction(self.owner_of(job), lambda tx: act(tx, job.id)))
        except Conflict:
            assert not is_allowed
        else:
            assert is_allowed

    def any_job(self, which: int) -> ModelJob:
        return list(self.model.jobs.values())[which % len(self.model.jobs)]

    def owner_of(self, job: ModelJob) -> Principal:
        return next(principal for principal in self.tenants if principal.tenant_id == job.tenant)

    async def in_transaction(self, principal: Principal, act: Callable[[Transaction], Awaitable[Any]]) -> Any:
        async with self.ground.db.transaction(principal) as tx:
            return await act(tx)


async def _gather(coroutines: Iterator[Coroutine[Any, Any, Any]]) -> list[Any]:
    return list(await asyncio.gather(*coroutines))


def _copy(model: ModelLedger) -> ModelLedger:
    jobs = {job_id: ModelJob(**{**vars(job), "unseen": list(job.unseen)}) for job_id, job in model.jobs.items()}
    return ModelLedger(jobs, dict(model.cursors), set(model.alive))


def test_whatever_happens_the_ledger_is_as_its_model(database: Database) -> None:
    with asyncio.Runner() as runner, psycopg.connect(database.admin_url, autocommit=True) as admin:
        opened = open_ground(database)
        ground = runner.run(opened.__aenter__())
        third = acting(runner.run(make_tenant(database, "third")))
        runner.run(eventually(lambda: past_postgres_start(ground), what="PostgreSQL being up for 6 s"))
        world = World(runner, ground, [ground.acme, ground.other, third], admin)
        try:
            run_state_machine_as_test(cast(Any, lambda: LedgerMachine(world)), settings=SETTINGS)
        finally:
            runner.run(opened.__aexit__(None, None, None))
