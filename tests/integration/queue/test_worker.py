"""The worker base: when it looks, what becomes of each job, and what it does when the ledger and it disagree."""

import asyncio
import gc
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from copilot_common.base.errors import ProviderError
from copilot_common.queue import Job, JobFailed, NewJob, complete, worker
from integration.queue.ground import NOTHING, URGENT, Ground, Nothing
from integration.queue.workers import Bench, Shift, at_work
from support.clients import eventually


async def do_nothing(job: Job[Any]) -> None:
    pass


@pytest.fixture(autouse=True)
def never_looks_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor watches: what a test sees it has asked for."""
    for name in ("_LOOK_SECONDS", "_POLL_SECONDS", "_WATCH_SECONDS", "_IDLE_WATCH_SECONDS"):
        monkeypatch.setattr(worker, name, 3_600.0)
    monkeypatch.setattr(worker, "_AGAIN_SECONDS", 0.05)


# When it looks


async def test_a_ring_wakes_a_waiting_worker(ground: Ground) -> None:
    async with at_work(ground, do_nothing) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await shift.becomes(job_id, "completed")


@pytest.mark.parametrize("has_bell", [True, False])
async def test_a_job_that_nobody_rang_for_is_found_by_a_slow_look(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, has_bell: bool
) -> None:
    monkeypatch.setattr(worker, "_LOOK_SECONDS" if has_bell else "_POLL_SECONDS", 0.1)
    async with at_work(ground, do_nothing, has_bell=has_bell) as shift:
        (job_id,) = await ground.enqueue()
        await shift.becomes(job_id, "completed")


async def test_a_bell_that_works_again_is_a_ring(ground: Ground) -> None:
    async with at_work(ground, do_nothing, has_bell=False) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.note_bell(True)
        await shift.becomes(job_id, "completed")


async def test_doubled_rings_run_a_job_once(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        for _ in range(3):
            shift.worker.wake()
            await shift.looked()
        bench.is_open.set()
        await shift.becomes(job_id, "completed")
        assert bench.left == [job_id]
        assert bench.begun.qsize() == 1


async def test_a_ring_before_the_commit_does_not_swallow_the_one_after_it(ground: Ground) -> None:
    async with at_work(ground, do_nothing) as shift:
        async with ground.db.transaction(ground.acme) as tx:
            job_id = await ground.ledger.enqueue(tx, NewJob(type=NOTHING, payload=Nothing()))
            assert job_id is not None
            shift.worker.wake()
            await shift.looked(found=0)
        shift.worker.wake()
        await shift.becomes(job_id, "completed")


async def test_a_ring_during_a_claim_is_heard_after_it(ground: Ground) -> None:
    async with at_work(ground, do_nothing) as shift:
        shift.dispatcher.gate.clear()
        shift.worker.wake()
        await shift.looked(found=0)
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        shift.dispatcher.gate.set()
        await shift.becomes(job_id, "completed")


async def test_a_freed_slot_takes_the_next_job_unasked(ground: Ground) -> None:
    async with at_work(ground, do_nothing, slots=1) as shift:
        jobs = await ground.enqueue(count=5)
        shift.worker.wake()
        for job_id in jobs:
            await shift.becomes(job_id, "completed")


async def test_no_more_jobs_run_than_there_are_slots(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench, slots=2) as shift:
        jobs = await ground.enqueue(count=3)
        shift.worker.wake()
        assert {await bench.next(), await bench.next()} == set(jobs[:2])
        assert [ground.status(job_id) for job_id in jobs] == ["running", "running", "pending"]
        bench.is_open.set()
        await shift.becomes(jobs[2], "completed")


async def test_a_full_worker_passes_the_ring_on(ground: Ground) -> None:
    """A ring reaches one worker: another one may have slots free."""
    bench = Bench()
    async with at_work(ground, bench, slots=2) as shift:
        await ground.enqueue(count=1)
        shift.worker.wake()
        await bench.next()
        assert not shift.passed_on.is_set()
        await ground.enqueue(count=2)
        shift.worker.wake()
        await bench.next()
        async with asyncio.timeout(10):
            await shift.passed_on.wait()
        bench.is_open.set()


async def test_a_database_that_could_not_be_asked_is_asked_again(ground: Ground) -> None:
    async with at_work(ground, do_nothing) as shift:
        (job_id,) = await ground.enqueue()
        shift.dispatcher.faults["claim"] = 2
        shift.worker.wake()
        await shift.becomes(job_id, "completed")


async def test_a_job_that_kills_its_processes_runs_alone(ground: Ground) -> None:
    """Once this worker is given it, it takes nothing else, not even afterwards, until the job has ended."""
    bench = Bench()
    async with at_work(ground, bench, slots=4) as shift:
        (first,) = await ground.enqueue()
        shift.worker.wake()
        assert await bench.next() == first
        (bad,) = await ground.enqueue(priority=1)
        ground.rows("UPDATE jobs SET lapses = 2 WHERE id = %s", bad)
        (later,) = await ground.enqueue()
        shift.worker.wake()
        await shift.looked(found=1)
        assert (ground.status(bad), ground.status(later)) == ("pending", "pending")
        bench.is_open.set()
        assert await bench.next() == bad
        await shift.becomes(later, "completed")
        assert bench.left == [first, bad, later]


# What becomes of a job


async def dies(shift: Shift, job_id: UUID) -> None:
    """Of failures, however many are needed."""

    async def is_dead() -> bool:
        await shift.dispatcher.sweep()
        shift.worker.wake()
        return shift.ground.status(job_id) == "dead"

    await eventually(is_dead)


async def test_a_failing_job_is_tried_again_and_then_dead(ground: Ground) -> None:
    tries: list[int] = []

    async def fail(job: Job[Any]) -> None:
        tries.append(job.failures)
        raise ValueError("what a user wrote")

    async with at_work(ground, fail) as shift:
        (job_id,) = await ground.enqueue()
        await dies(shift, job_id)
    assert tries == [0, 1, 2]
    row = ground.rows("SELECT failures, error_code, error_text FROM jobs")[0]
    assert row == (3, "INTERNAL_ERROR", "The job failed with ValueError.")


async def test_a_handler_says_when_to_try_again_and_with_what_error(ground: Ground) -> None:
    async def fail(job: Job[Any]) -> None:
        if job.failures == 0:
            raise JobFailed("BUSY", "Not now.", pause=timedelta())
        raise JobFailed("GONE", "Never.", is_final=True)

    async with at_work(ground, fail) as shift:
        (job_id,) = await ground.enqueue()
        ground.rows("UPDATE jobs SET max_failures = 8")
        shift.worker.wake()
        row = await shift.becomes(job_id, "dead")
    assert (row["failures"], row["error_code"]) == (2, "GONE")


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (404, 1), (401, 3), (403, 3)])
async def test_what_a_provider_refuses_is_asked_once_but_with_a_refused_key_again(
    ground: Ground, status: int, tries: int
) -> None:
    async def fail(job: Job[Any]) -> None:
        raise ProviderError("No.", provider="test", retryable=False, status=status)

    async with at_work(ground, fail) as shift:
        (job_id,) = await ground.enqueue()
        await dies(shift, job_id)
    assert ground.rows("SELECT failures, error_code, error_text FROM jobs") == [(tries, "PROVIDER_ERROR", "No.")]


async def test_a_cancellation_that_comes_out_of_a_handler_unasked_is_a_failure(ground: Ground) -> None:
    async def fail(job: Job[Any]) -> None:
        raise asyncio.CancelledError

    async with at_work(ground, fail) as shift:
        (job_id,) = await ground.enqueue()
        ground.rows("UPDATE jobs SET max_failures = 1")
        shift.worker.wake()
        row = await shift.becomes(job_id, "dead")
    assert (row["failures"], row["error_code"]) == (1, "INTERNAL_ERROR")


async def test_a_payload_that_cannot_be_read_is_dead_at_once(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        ground.rows("UPDATE jobs SET payload = '\\x81a46e6f7465a178'")  # {"note": "x"}
        shift.worker.wake()
        assert (await shift.becomes(job_id, "dead"))["error_code"] == "PAYLOAD_UNREADABLE"
    assert bench.is_empty


async def test_a_user_who_is_no_longer_a_member_runs_nothing(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        ground.rows("DELETE FROM memberships WHERE user_id = %s", ground.acme.user_id)
        shift.worker.wake()
        assert (await shift.becomes(job_id, "dead"))["error_code"] == "FORBIDDEN"
    assert bench.is_empty


async def test_a_handler_may_end_its_job_in_the_transaction_of_its_effect(ground: Ground) -> None:
    async def effect(job: Job[Any]) -> None:
        async with ground.db.transaction(job.principal) as tx:
            await complete(tx, job)

    async with at_work(ground, effect) as shift:
        shift.dispatcher.faults["complete"] = 1_000
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await shift.becomes(job_id, "completed")


async def test_a_job_that_has_ended_itself_is_not_taken_for_a_lost_one(ground: Ground) -> None:
    ended, bench = asyncio.Event(), Bench()

    async def effect(job: Job[Any]) -> None:
        async with ground.db.transaction(job.principal) as tx:
            await complete(tx, job)
        ended.set()
        await bench(job)

    async with at_work(ground, effect) as shift:
        await ground.enqueue()
        shift.worker.wake()
        await asyncio.wait_for(ended.wait(), 10)
        job_id = await bench.next()
        await shift.worker.watch()
        bench.is_open.set()

        async def has_gone_on() -> bool:
            return bench.left == [job_id]

        await eventually(has_gone_on)


async def test_what_is_done_is_written_once_the_database_is_back(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_common.queue.settling._AGAIN_SECONDS", 0.01)
    async with at_work(ground, do_nothing) as shift:
        shift.dispatcher.faults["complete"] = 3
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        assert (await shift.becomes(job_id, "completed"))["fence"] == 1


# When ledger and worker disagree


async def test_a_cancelled_job_is_stopped(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await bench.next()
        async with ground.db.transaction(ground.acme) as tx:
            await ground.ledger.cancel(tx, job_id)
        await shift.worker.watch()
        await shift.becomes(job_id, "cancelled")
    assert bench.cancelled == [job_id]


async def test_a_cancelled_job_ends_also_when_the_database_was_away_for_its_end(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """It is handed back as a stray, begins again and is stopped again."""
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await bench.next()
        async with ground.db.transaction(ground.acme) as tx:
            await ground.ledger.cancel(tx, job_id)
        shift.dispatcher.faults["cancel"] = 1
        await shift.worker.watch()

        async def is_gone() -> bool:
            return not len(shift.worker._running)

        await eventually(is_gone)
        assert ground.status(job_id) == "running"
        ground.rows("UPDATE jobs SET started_at = started_at - interval '11 seconds'")
        await shift.worker.watch()
        shift.worker.wake()
        await bench.next()
        await shift.worker.watch()
        await shift.becomes(job_id, "cancelled")
    with caplog.at_level(logging.ERROR, "asyncio"):
        gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_lost_job_is_stopped_here_and_nothing_is_written(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await bench.next()
        taker = ground.process()
        ground.rows("UPDATE jobs SET fence = fence + 1, process_id = %s", taker.id)
        before = ground.rows("SELECT * FROM jobs")
        await shift.worker.watch()

        async def is_stopped() -> bool:
            return bench.cancelled == [job_id] and not len(shift.worker._running)

        await eventually(is_stopped)
        assert ground.rows("SELECT * FROM jobs") == before


async def test_a_claim_that_never_reached_us_is_handed_back_when_it_is_old_enough(ground: Ground) -> None:
    async with at_work(ground, {URGENT: do_nothing}) as shift:
        (job_id,) = await ground.enqueue()
        await shift.process.claim_one()
        await shift.worker.watch()
        assert ground.status(job_id) == "running"
        ground.rows("UPDATE jobs SET started_at = started_at - interval '11 seconds'")
        await shift.worker.watch()
        row = ground.job(job_id)
    assert (row["status"], row["failures"], row["lapses"]) == ("pending", 0, 0)


async def test_a_job_that_runs_long_is_no_stray(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await bench.next()
        ground.rows("UPDATE jobs SET started_at = started_at - interval '1 hour'")
        await shift.worker.watch()
        assert (ground.status(job_id), bench.cancelled) == ("running", [])


# Ending


async def test_draining_lets_jobs_end_and_claims_nothing_more(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench, slots=1) as shift:
        first, second = await ground.enqueue(count=2)
        shift.worker.wake()
        await bench.next()
        draining = asyncio.create_task(shift.worker.drain(10))
        await asyncio.sleep(0)
        bench.is_open.set()
        await draining
        assert (ground.status(first), ground.status(second)) == ("completed", "pending")


async def test_draining_hands_back_what_does_not_end_in_time_without_a_failure(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await bench.next()
        await shift.worker.drain(0.01)
        row = ground.job(job_id)
    assert (row["status"], row["failures"], row["lapses"], bench.cancelled) == ("pending", 0, 0, [job_id])


async def test_a_claim_that_is_on_its_way_when_draining_begins_is_handed_back(ground: Ground) -> None:
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.dispatcher.gate.clear()
        shift.worker.wake()
        await shift.looked(found=1)
        draining = asyncio.create_task(shift.worker.drain(10))
        await asyncio.sleep(0)
        shift.dispatcher.gate.set()
        await draining
        row = ground.job(job_id)
    assert (row["status"], row["failures"], row["lapses"], bench.is_empty) == ("pending", 0, 0, True)


async def test_draining_leaves_a_job_alone_whose_end_is_being_written(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_common.queue.settling._AGAIN_SECONDS", 0.01)
    async with at_work(ground, do_nothing) as shift:
        shift.dispatcher.faults["complete"] = 20
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await shift.looked(found=1)
        await shift.worker.drain(0.01)
        assert ground.job(job_id)["status"] == "completed"


async def test_nothing_is_left_of_a_worker_that_was_stopped(ground: Ground) -> None:
    before = asyncio.all_tasks()
    bench = Bench()
    async with at_work(ground, bench) as shift:
        (job_id,) = await ground.enqueue()
        shift.worker.wake()
        await bench.next()
    assert {task for task in asyncio.all_tasks() if not task.done()} <= before
    assert (ground.status(job_id), bench.cancelled) == ("running", [job_id])
