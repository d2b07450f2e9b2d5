"""Each arrow of docs/ledger.md: the statement that makes it does what it says, and nothing to others' jobs."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from psycopg import sql

from copilot_common.base.errors import Conflict, NotFound
from copilot_common.base.ids import new_id
from copilot_common.queue import (
    QUEUES,
    Claim,
    ClaimedJob,
    DepthGauges,
    Dispatcher,
    Job,
    JobLost,
    NewJob,
    complete,
    hold,
    note_progress,
    park,
)
from integration.queue.ground import KINDS, NOTHING, URGENT, Ground, Nothing, job_of, open_ground, past_postgres_start
from support.clients import eventually
from support.commits import watch_commits
from support.stack import Database

SOON = timedelta(0)


async def test_a_job_is_there_when_its_transaction_is_committed_and_rung_then(ground: Ground) -> None:
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.enqueue(tx, NewJob(type=NOTHING, payload=Nothing()))
        assert ground.rung == []
        assert await ground.process().claim() == []
    assert ground.rung == ["workflow"]
    assert len(await ground.process().claim()) == 1


async def test_a_job_that_is_asked_for_last_is_there_with_the_commit(ground: Ground) -> None:
    job_id = new_id()
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.enqueue_last(tx, NewJob(type=NOTHING, payload=Nothing()), job_id)
        assert ground.rung == []
    assert ground.rung == ["workflow"]
    assert [job.id for job in await ground.process().claim()] == [job_id]


async def test_a_rolled_back_transaction_leaves_no_job_and_no_ring(ground: Ground) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 — the exception must leave the transaction
        async with ground.db.transaction(ground.acme) as tx:
            await ground.ledger.enqueue(tx, NewJob(type=NOTHING, payload=Nothing()))
            raise ZeroDivisionError
    assert ground.rung == []
    assert ground.rows("SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.parametrize(("waits_for_disk", "setting"), [(True, "on"), (False, "off")])
async def test_claims_and_completions_wait_for_the_disk_unless_jobs_may_be_done_again(
    database: Database, waits_for_disk: bool, setting: str
) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        name = sql.Identifier(database.name)
        admin.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(name))  # unlike the tests' server
    async with open_ground(database) as ground:
        process = ground.process()
        process.dispatcher = Dispatcher(ground.database, process.id, waits_for_disk=waits_for_disk)
        await ground.enqueue()
        watch_commits(database.admin_url, "jobs")
        _, claim = await process.claim_one()
        assert await process.dispatcher.complete([claim]) == {claim.id}
        assert ground.rows("SELECT setting FROM commits") == [(setting,)] * 2
        after = await ground.database.fetch_row("SELECT current_setting('synchronous_commit')", ())
        assert after == ("on",), "it is that statement's alone"


async def test_a_job_is_claimed_once_under_a_rising_fence(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    first, second = ground.process(), ground.process()
    claimed, claim = await first.claim_one()
    assert (claimed.id, claimed.fence, claimed.role) == (job_id, 1, "owner")
    assert await second.claim() == []
    await first.dispatcher.release([claim])
    again, _ = await second.claim_one()
    assert (again.id, again.fence, again.failures) == (job_id, 2, 0)


async def test_claims_at_the_same_time_share_the_jobs(ground: Ground) -> None:
    jobs = await ground.enqueue(count=40)
    claims = await asyncio.gather(*(ground.process().claim(limit=8) for _ in range(5)))
    assert sorted(job.id for claimed in claims for job in claimed) == sorted(jobs)


async def test_a_completed_job_stays_as_it_is(ground: Ground) -> None:
    await ground.enqueue()
    process = ground.process()
    claimed, claim = await process.claim_one()
    assert await process.dispatcher.complete([claim]) == {claimed.id}
    assert await process.dispatcher.complete([claim]) == set()
    assert await process.dispatcher.fail(claim, is_final=False, pause=SOON, code="X", text="x") is None
    assert ground.status(claimed.id) == "completed"


async def test_another_process_ends_no_job_of_ours(ground: Ground) -> None:
    await ground.enqueue()
    _, claim = await ground.process().claim_one()
    stranger = ground.process().dispatcher
    assert await stranger.complete([claim]) == set()
    assert await stranger.fail(claim, is_final=True, pause=SOON, code="X", text="x") is None
    assert await stranger.release([claim]) == 0
    assert not await stranger.cancel(claim)
    assert ground.status(claim.id) == "running"


async def test_a_failed_job_comes_again_and_is_dead_after_the_last_one_allowed(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    process = ground.process()
    for count in range(1, 4):
        _, claim = await process.claim_one()
        status = await process.dispatcher.fail(claim, is_final=False, pause=SOON, code="OOPS", text="Oops.")
        await process.dispatcher.sweep()  # makes due what was scheduled for now
        assert status in ({"pending", "scheduled"} if count < 3 else {"dead"})
        assert ground.job(job_id)["failures"] == count
    assert ground.job(job_id)["error_code"] == "OOPS"
    assert await process.claim() == []


async def test_a_final_failure_is_dead_at_once_and_can_be_redriven(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    process = ground.process()
    _, claim = await process.claim_one()
    assert await process.dispatcher.fail(claim, is_final=True, pause=SOON, code="NO", text="No.") == "dead"
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.redrive(tx, job_id)
    claimed, _ = await process.claim_one()
    assert (claimed.fence, claimed.failures) == (2, 0)
    async with ground.db.transaction(ground.acme) as tx:
        with pytest.raises(Conflict):
            await ground.ledger.redrive(tx, job_id)


async def test_a_later_job_waits_for_its_time(ground: Ground) -> None:
    (job_id,) = await ground.enqueue(delay=timedelta(hours=1))
    process = ground.process()
    assert ground.rung == []
    assert await process.dispatcher.sweep() == []
    assert await process.claim() == []
    ground.rows("UPDATE jobs SET run_after = now() WHERE id = %s", job_id)
    assert await process.dispatcher.sweep() == ["workflow"]
    assert (await process.claim_one())[0].id == job_id


async def test_the_jobs_of_a_dead_process_go_to_others(ground: Ground) -> None:
    await eventually(lambda: past_postgres_start(ground), what="PostgreSQL being up for 6 s")
    (job_id,) = await ground.enqueue()
    first, second = ground.process(), ground.process()
    _, claim = await first.claim_one()
    assert await second.dispatcher.sweep() == []
    first.die()
    assert await second.dispatcher.sweep() == ["workflow"]
    claimed, _ = await second.claim_one()
    assert (claimed.id, claimed.fence, claimed.lapses, claimed.failures) == (job_id, 2, 1, 0)
    assert await first.dispatcher.complete([claim]) == set()
    assert ground.status(job_id) == "running"


async def test_a_process_whose_lease_has_lapsed_claims_nothing(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    frozen = ground.process()
    frozen.die()
    assert await frozen.claim() == []
    ground.rows("UPDATE jobs SET lapses = 2 WHERE id = %s", job_id)
    assert await frozen.claim() == []
    assert [job.id for job in await ground.process().claim()] == [job_id]


async def test_a_job_that_loses_every_process_runs_alone_and_is_dead_in_the_end(ground: Ground) -> None:
    await eventually(lambda: past_postgres_start(ground), what="PostgreSQL being up for 6 s")
    (bad,) = await ground.enqueue()
    for lapse in range(1, 6):
        victim = ground.process()
        claimed = await victim.claim(limit=10)
        assert [job.id for job in claimed] == [bad]
        victim.die()
        await ground.process().dispatcher.sweep()
        assert ground.job(bad)["lapses"] == lapse
        if lapse == 2:
            await self_alone(ground, bad)
        if lapse in {3, 4}:
            await self_later(ground, bad)
    assert (ground.status(bad), ground.job(bad)["error_code"]) == ("dead", "WORKER_LOST")


async def self_alone(ground: Ground, bad: UUID) -> None:
    """A busy process is given it for later, takes nothing else, and gets it when it is idle; others go on."""
    (good,) = await ground.enqueue()
    busy, free = ground.process(), ground.process()
    (kept,) = await busy.claim(running=3)
    assert (kept.id, kept.fence) == (bad, None)
    (claimed,) = await free.claim(running=1)
    assert claimed.id == good
    assert claimed.fence is not None
    (alone,) = await busy.claim(running=0)
    assert (alone.id, alone.fence is not None) == (bad, True)
    busy.die()
    ground.rows("UPDATE jobs SET status = 'pending', process_id = NULL WHERE id = %s", bad)


async def self_later(ground: Ground, bad: UUID) -> None:
    assert ground.status(bad) == "scheduled"
    ground.rows("UPDATE jobs SET run_after = now() WHERE id = %s", bad)
    await ground.process().dispatcher.sweep()
    assert ground.status(bad) == "pending"


async def test_progress_makes_losses_count_anew(ground: Ground) -> None:
    await ground.enqueue()
    ground.rows("UPDATE jobs SET lapses = 1")
    claimed, _ = await ground.process().claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        await note_progress(tx, job_of(claimed, ground.acme))
    assert ground.job(claimed.id)["lapses"] == 0


async def test_an_effect_and_its_jobs_end_are_one_transaction(ground: Ground) -> None:
    await ground.enqueue()
    claimed, _ = await ground.process().claim_one()
    job = job_of(claimed, ground.acme)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 — the exception must leave the transaction
        async with ground.db.transaction(ground.acme) as tx:
            await complete(tx, job)
            raise ZeroDivisionError
    assert (ground.status(job.id), job.is_settled) == ("running", False)
    async with ground.db.transaction(ground.acme) as tx:
        await complete(tx, job)
    assert (ground.status(job.id), job.is_settled) == ("completed", True)


@pytest.mark.parametrize("write", [hold, complete, note_progress, park])
async def test_a_stale_owner_writes_nothing(ground: Ground, write: object) -> None:
    await ground.enqueue()
    process = ground.process()
    claimed, claim = await process.claim_one()
    await process.dispatcher.release([claim])
    await process.claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        with pytest.raises(JobLost):
            await write(tx, job_of(claimed, ground.acme))  # type: ignore[operator]


async def test_a_parked_job_is_woken_by_a_signal(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    process = ground.process()
    claimed, _ = await process.claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        assert list(await park(tx, job_of(claimed, ground.acme))) == []
    assert ground.status(job_id) == "scheduled"
    ground.rung.clear()
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.signal(tx, job_id, "answered")
    assert ground.rung == ["workflow"]
    claimed, _ = await process.claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        assert list(await park(tx, job_of(claimed, ground.acme))) == ["answered"]
    assert ground.status(job_id) == "running"


async def test_a_signal_between_looking_and_parking_is_not_lost(ground: Ground) -> None:
    """Signal and parking at the same time, in either order: the job is due again or has seen it."""
    (job_id,) = await ground.enqueue()
    claimed, _ = await ground.process().claim_one()
    job = job_of(claimed, ground.acme)

    async def parking() -> list[str]:
        async with ground.db.transaction(ground.acme) as tx:
            return list(await park(tx, job))

    async def signalling() -> None:
        async with ground.db.transaction(ground.acme) as tx:
            await ground.ledger.signal(tx, job_id, "answered")

    seen, _ = await asyncio.gather(parking(), signalling())
    assert (seen, ground.status(job_id)) in [(["answered"], "running"), ([], "pending")]


async def test_the_same_work_is_pending_once_and_again_while_it_runs(ground: Ground) -> None:
    new = NewJob(type=NOTHING, payload=Nothing(), dedupe_key="title:1")
    async with ground.db.transaction(ground.acme) as tx:
        assert await ground.ledger.enqueue(tx, new) is not None
        assert await ground.ledger.enqueue(tx, new) is None
    process = ground.process()
    first, claim = await process.claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        assert await ground.ledger.enqueue(tx, new) is not None
    # The first one fails, but the second is there to do its work.
    assert await process.dispatcher.fail(claim, is_final=False, pause=SOON, code="X", text="x") == "cancelled"
    assert ground.job(first.id)["error_code"] == "SUPERSEDED"
    assert len(await process.claim()) == 1


async def test_a_parked_job_leaves_its_dedupe_key_to_others(ground: Ground) -> None:
    """Both to who has asked for the same work meanwhile and to who asks later."""
    new = NewJob(type=NOTHING, payload=Nothing(), dedupe_key="title:1")
    process = ground.process()
    for _ in range(3):
        async with ground.db.transaction(ground.acme) as tx:
            assert await ground.ledger.enqueue(tx, new) is not None
        claimed, _ = await process.claim_one()
        async with ground.db.transaction(ground.acme) as tx:
            assert await park(tx, job_of(claimed, ground.acme), timedelta()) == []
    running = await enqueue_and_claim(ground, new)
    async with ground.db.transaction(ground.acme) as tx:
        assert await ground.ledger.enqueue(tx, new) is not None
        assert await park(tx, running) == []
    assert ground.status(running.id) == "scheduled"


async def test_a_dead_job_is_not_redriven_while_the_same_work_waits(ground: Ground) -> None:
    new = NewJob(type=NOTHING, payload=Nothing(), dedupe_key="title:1")
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.enqueue(tx, new)
    process = ground.process()
    _, claim = await process.claim_one()
    assert await process.dispatcher.fail(claim, is_final=True, pause=SOON, code="NO", text="No.") == "dead"
    async with ground.db.transaction(ground.acme) as tx:
        assert await ground.ledger.enqueue(tx, new) is not None
    with pytest.raises(Conflict, match="same work"):
        async with ground.db.transaction(ground.acme) as tx:
            await ground.ledger.redrive(tx, claim.id)
    assert ground.status(claim.id) == "dead"


async def test_a_redriven_job_is_not_stopped_by_a_wish_of_its_former_life(ground: Ground) -> None:
    await ground.enqueue()
    process = ground.process()
    _, claim = await process.claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.cancel(tx, claim.id)
    await process.dispatcher.fail(claim, is_final=True, pause=SOON, code="NO", text="No.")
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.redrive(tx, claim.id)
    await process.claim_one()
    assert [job.is_cancelled for job in await process.dispatcher.owned()] == [False]


async def test_a_job_that_runs_alone_keeps_to_its_tenants_limit(ground: Ground) -> None:
    (bad,) = await ground.enqueue()
    (other,) = await ground.enqueue(type=URGENT)
    first, second = ground.process(), ground.process()
    assert [job.id for job in await first.claim(limit=1)] == [other]
    ground.rows("UPDATE jobs SET lapses = 2 WHERE id = %s", bad)
    assert await second.claim(tenant_limit=1) == []
    assert [job.id for job in await second.claim(tenant_limit=2)] == [bad]


async def test_cancelling_ends_a_waiting_job_and_tells_a_running_one(ground: Ground) -> None:
    running, waiting = await ground.enqueue(count=2)
    process = ground.process()
    _, claim = await process.claim_one()
    async with ground.db.transaction(ground.acme) as tx:
        await ground.ledger.cancel(tx, waiting)
        await ground.ledger.cancel(tx, running)
    assert ground.status(waiting) == "cancelled"
    (owned,) = await process.dispatcher.owned()
    assert (owned.claim, owned.is_cancelled) == (claim, True)
    assert await process.dispatcher.cancel(claim)
    async with ground.db.transaction(ground.acme) as tx:
        with pytest.raises(Conflict):
            await ground.ledger.cancel(tx, running)


async def test_another_tenants_job_is_not_there(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    async with ground.db.transaction(ground.other) as tx:
        for act in (ground.ledger.cancel, ground.ledger.redrive):
            with pytest.raises(NotFound):
                await act(tx, job_id)
        with pytest.raises(NotFound):
            await ground.ledger.signal(tx, job_id, "cancel")


async def test_a_worker_leaves_kinds_alone_that_it_does_not_know(ground: Ground) -> None:
    await ground.enqueue(count=3)
    (urgent,) = await ground.enqueue(type=URGENT)
    assert [job.id for job in await ground.process().claim(known=[URGENT.kind])] == [urgent]


async def test_class_goes_before_priority_and_priority_before_age(ground: Ground) -> None:
    (old,) = await ground.enqueue()
    (important,) = await ground.enqueue(priority=1)
    (urgent,) = await ground.enqueue(type=URGENT, priority=5)
    claimed = [(await ground.process().claim_one())[0].id for _ in range(3)]
    assert claimed == [urgent, important, old]


async def test_a_tenants_limit_holds_over_all_processes(ground: Ground) -> None:
    await ground.enqueue(count=10)
    await ground.enqueue(principal=ground.other, count=2)
    first = await ground.process().claim(tenant_limit=3)
    second = await ground.process().claim(tenant_limit=3)
    tenants = [job.tenant_id for job in first + second]
    assert tenants.count(ground.acme.tenant_id) == 3
    assert tenants.count(ground.other.tenant_id) == 2


async def test_a_small_tenant_does_not_wait_for_a_large_ones_backlog(ground: Ground) -> None:
    """Design: between the commit of B's first job and its start, at most 2 × the slots of A's jobs start."""
    slots = 8
    await ground.enqueue(count=1_000)
    process = ground.process()
    running = await process.claim(limit=slots)
    (small,) = await ground.enqueue(principal=ground.other)
    started = 0
    while True:
        ended = running.pop(0)
        await process.dispatcher.complete([claim_of(ended)])
        claimed = await process.claim(limit=1, running=len(running))
        running += claimed
        if claimed[0].id == small:
            break
        started += 1
    assert started <= 2 * slots


async def test_each_of_very_many_tenants_has_its_turn_before_any_has_its_second(ground: Ground) -> None:
    """More than one claim looks at, all with older jobs than the last one."""
    made = many_tenants(ground, 250)
    process = ground.process()
    served: list[UUID] = []
    while len(served) < 250:
        claimed = await process.claim(limit=10)
        await process.dispatcher.complete([claim_of(job) for job in claimed])
        served += [job.tenant_id for job in claimed]
    assert set(served) == made


async def test_what_a_worker_does_not_know_is_no_wall_before_what_it_knows(ground: Ground) -> None:
    """While versions are mixed, an old worker looks past more tenants than one claim sees."""
    last = max(many_tenants(ground, 150))
    ground.rows("UPDATE jobs SET kind = 'other.do/1' WHERE tenant_id = %s", last)
    process = ground.process()
    claims = [await process.claim(known=["other.do/1"]) for _ in range(2)]
    assert [job.tenant_id for claimed in claims for job in claimed] == [last] * 3


async def test_a_user_without_membership_has_no_role(ground: Ground) -> None:
    await ground.enqueue()
    ground.rows("DELETE FROM memberships WHERE user_id = %s", ground.acme.user_id)
    assert (await ground.process().claim_one())[0].role is None


async def test_depth_counts_what_is_due_up_to_its_cap_whatever_is_parked(ground: Ground) -> None:
    await ground.enqueue(count=5)
    ground.rows(
        "INSERT INTO jobs (tenant_id, id, queue, kind, class, payload, status, run_after, user_id, max_failures)"
        " SELECT tenant_id, md5(n::text)::uuid, queue, kind, class, payload, 'scheduled', 'infinity', user_id, 1"
        " FROM (SELECT * FROM jobs LIMIT 1) j, generate_series(1, 20000) n"
    )
    dispatcher = ground.process().dispatcher
    assert (await dispatcher.depth("workflow", cap=1_000)).due == 5
    assert (await dispatcher.depth("workflow", cap=3)).due == 3
    with psycopg.connect(ground.urls.app_url) as app:
        app.execute("SELECT * FROM dispatch.queue_depth('workflow', 1000)")
        touched = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
        row = app.execute(touched).fetchone()
    assert row is not None
    assert row[0] == 0
    assert row[1] <= 20


async def test_a_claim_reads_a_few_jobs_however_many_wait(ground: Ground) -> None:
    """Also before PostgreSQL has counted any."""
    await ground.enqueue()
    ground.rows(
        "INSERT INTO jobs (tenant_id, id, queue, kind, class, payload, user_id, max_failures)"
        " SELECT tenant_id, md5(n::text)::uuid, queue, kind, class, payload, user_id, 1"
        " FROM (SELECT * FROM jobs LIMIT 1) j, generate_series(1, 5000) n"
    )
    process = ground.process()
    assert read_by_claim(ground, process.id) <= 50
    ground.rows("ANALYZE jobs")
    assert read_by_claim(ground, process.id) <= 50


def read_by_claim(ground: Ground, process_id: UUID) -> int:
    """How many rows of jobs are looked at for one."""
    with psycopg.connect(ground.urls.app_url) as app:
        app.execute("SELECT * FROM dispatch.claim_jobs(%s, 'workflow', %s, 1, 0, 10)", [process_id, KINDS])
        touched = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
        row = app.execute(touched).fetchone()
    assert row is not None
    return int(row[0])


async def test_what_is_due_is_told_and_the_last_of_it_while_the_database_does_not_answer(ground: Ground) -> None:
    registry = CollectorRegistry()
    gauges = DepthGauges(ground.process().dispatcher, registry, QUEUES)
    await ground.enqueue(count=5)
    await gauges.refresh()
    with psycopg.connect(ground.urls.admin_url) as other:
        other.execute("DELETE FROM jobs")
        other.execute("LOCK TABLE jobs")
        await gauges.refresh()
    told = {queue: registry.get_sample_value("queue_depth", {"queue": queue}) for queue in QUEUES}
    assert told == {"workflow": 5.0, "context": 0.0}


async def test_ended_jobs_are_pruned_and_the_dead_are_kept_longer(ground: Ground) -> None:
    done, dead, waiting = await ground.enqueue(count=3)
    ground.rows("UPDATE jobs SET status = 'completed', ended_at = now() - interval '2 days' WHERE id = %s", done)
    ground.rows("UPDATE jobs SET status = 'dead', ended_at = now() - interval '2 days' WHERE id = %s", dead)
    assert await ground.process().dispatcher.prune(timedelta(days=1)) == 1
    assert {row[0] for row in ground.rows("SELECT id FROM jobs")} == {dead, waiting}


async def enqueue_and_claim(ground: Ground, new: NewJob[Any]) -> Job[Any]:
    async with ground.db.transaction(ground.acme) as tx:
        job_id = await ground.ledger.enqueue(tx, new)
    claimed, _ = await ground.process().claim_one()
    assert claimed.id == job_id
    return job_of(claimed, ground.acme)


def claim_of(job: ClaimedJob) -> Claim:
    assert job.fence is not None
    return Claim(job.tenant_id, job.id, job.fence)


def many_tenants(ground: Ground, count: int) -> set[UUID]:
    """Each with three jobs."""
    tenants = {uuid4() for _ in range(count)}
    with psycopg.connect(ground.urls.admin_url, autocommit=True) as admin:
        cursor = admin.cursor()
        cursor.executemany(
            "INSERT INTO tenants (id, name, slug) VALUES (%s, 'x', %s)", [(each, str(each)) for each in tenants]
        )
        cursor.executemany(
            "INSERT INTO jobs (tenant_id, id, queue, kind, class, payload, user_id, max_failures)"
            " VALUES (%s, gen_random_uuid(), 'workflow', 'nothing.do/1', 2, '\\x80', %s, 3)",
            [(each, ground.acme.user_id) for each in tenants for _ in range(3)],
        )
    return tenants
