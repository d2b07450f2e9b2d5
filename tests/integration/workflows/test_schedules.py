"""Schedules against PostgreSQL: who fires them, when, how often, and what is in their way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

import psycopg
import pytest
from msgspec.structs import replace

from copilot_common.base.errors import Conflict, InvalidInput, NotFound
from copilot_common.base.ids import new_id
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.schedules import firing, service
from copilot_domain.workflows.schedules.repository import DueSchedule
from integration.queue.ground import open_ground
from integration.workflows.starts import EVERY_MINUTE, NOON, NUMBERS_ONLY, Ground
from support.clients import eventually
from support.stack import Database

RUN_ONCE = replace(EVERY_MINUTE, misfire="run_once")


@pytest.fixture
async def ground(database: Database) -> AsyncIterator[Ground]:
    async with open_ground(database) as queue:
        yield Ground(queue)


async def test_a_due_schedule_starts_one_run_as_its_user_and_is_due_again_later(ground: Ground) -> None:
    who = ground.member()
    made = await ground.schedule(late=1, principal=who)
    await ground.look()
    await ground.look()
    shown = await ground.show(made)
    assert ground.runs() == [(shown.workflow_id, who.user_id, "pending")]
    assert ground.queue.rung == ["workflow"]
    assert shown.next_at is not None
    assert shown.next_at > datetime.now(UTC)
    assert (shown.next_at.hour, shown.next_at.minute) == (12, 0)
    run = ground.rows("SELECT id FROM workflow_runs")[0][0]
    assert (shown.last_run_id, shown.last_error, shown.is_active) == (run, None, True)
    (told,) = ground.rows("SELECT details FROM audit_log WHERE action = 'run.started' AND resource_id = %s", run)
    assert told[0] == {"workflow_id": str(shown.workflow_id), "schedule_id": str(made)}


async def test_one_that_is_not_due_starts_nothing(ground: Ground) -> None:
    await ground.schedule(late=-3)
    await ground.look()
    assert ground.runs() == []


async def test_one_that_falls_due_soon_is_started_at_its_moment(ground: Ground) -> None:
    made = await ground.schedule(late=-1)
    began = monotonic()
    await ground.look(ahead_seconds=5)
    assert monotonic() - began > 0.9
    assert len(ground.runs()) == 1
    assert (await ground.show(made)).last_error is None


async def test_many_engines_at_once_fire_each_once(ground: Ground) -> None:
    workflow = await ground.workflow()
    made = [await ground.schedule(late=-0.5, workflow_id=workflow) for _ in range(30)]
    await asyncio.gather(*(ground.look(ahead_seconds=5) for _ in range(5)))
    assert len(ground.runs()) == len(made)
    assert ground.rows("SELECT count(DISTINCT last_run_id) FROM workflow_schedules") == [(len(made),)]


async def test_the_loops_of_two_engines_fire_once(ground: Ground) -> None:
    engines = [ground.engine(), ground.engine()]
    for engine in engines:
        await engine.start()
    made = await ground.schedule(late=0)

    async def has_fired() -> bool:
        return (await ground.show(made)).last_run_id is not None

    await eventually(has_fired, what="a run")
    for engine in engines:
        await engine.stop()
    assert len(ground.runs()) == 1


async def test_an_engine_that_dies_with_its_transaction_open_has_started_nothing_and_another_does(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ground.schedule(late=1)
    reached = asyncio.Event()

    async def hang(*args: object, **more: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(firing, "record_audit", hang)
        dying = asyncio.create_task(ground.look())
        await reached.wait()
    await asyncio.wait_for(ground.look(), 5)  # passes over the row that is locked
    assert ground.runs() == []
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await ground.look()
    assert len(ground.runs()) == 1


@pytest.mark.parametrize("late", [1, 30, 58])
async def test_up_to_a_minute_late_is_not_missed(ground: Ground, late: float) -> None:
    made = await ground.schedule(EVERY_MINUTE, late=late)
    await ground.look()
    assert len(ground.runs()) == 1
    following = ground.next_in(made)
    assert following is not None
    assert following <= 60


@pytest.mark.parametrize("late", [62, 3_600, 86_400 * 400])
async def test_skip_fires_none_of_those_missed(ground: Ground, late: float) -> None:
    made = await ground.schedule(EVERY_MINUTE, late=late)
    await ground.look()
    assert ground.runs() == []
    shown = await ground.show(made)
    assert (shown.is_active, shown.last_run_id, shown.last_error) == (True, None, None)
    following = ground.next_in(made)
    assert following is not None
    assert 0 < following <= 60


@pytest.mark.parametrize("late", [62, 3_600, 86_400 * 400])
async def test_run_once_fires_one_for_all_those_missed(ground: Ground, late: float) -> None:
    made = await ground.schedule(RUN_ONCE, late=late)
    await ground.look()
    following = ground.next_in(made)
    assert following is not None
    assert 0 < following <= 60
    await ground.look()
    assert len(ground.runs()) == 1


async def test_the_databases_clock_decides(ground: Ground) -> None:
    """An engine that is told of a schedule too early starts nothing."""
    made = await ground.schedule(late=-30)
    due = DueSchedule(ground.queue.acme.tenant_id, made, ground.queue.acme.acting_user, 0.0)
    engine = ground.engine()
    assert await firing.fire(ground.queue.db, ground.queue.ledger, engine._versions, due) is None
    assert ground.runs() == []


@pytest.mark.parametrize("change", ["removed", "demoted", "deactivated"])
async def test_a_user_without_the_right_ends_it_with_a_reason(ground: Ground, change: str) -> None:
    who = ground.member()
    made = await ground.schedule(RUN_ONCE, late=1, principal=who)
    if change == "removed":
        ground.remove(who)
    elif change == "demoted":
        ground.demote(who, "viewer")
    else:
        ground.rows("UPDATE users SET is_active = false WHERE id = %s", who.user_id)
    await ground.look()
    await ground.look()
    assert ground.runs() == []
    shown = await ground.show(made)
    assert (shown.is_active, shown.inactive_reason, shown.next_at) == (False, "FORBIDDEN", None)
    assert ground.rows("SELECT count(*) FROM audit_log WHERE action = 'schedule.deactivated'") == [(1,)]


async def test_a_suspended_tenants_schedules_start_nothing_and_go_on_afterwards(ground: Ground) -> None:
    made = await ground.schedule(RUN_ONCE, late=1)
    status = "UPDATE tenants SET status = %s WHERE id = %s"
    ground.rows(status, "suspended", ground.queue.acme.tenant_id)
    await ground.look()
    assert ground.runs() == []
    ground.rows(status, "active", ground.queue.acme.tenant_id)
    assert (await ground.show(made)).is_active
    ground.put(made, 1)
    await ground.look()
    assert len(ground.runs()) == 1


async def test_inputs_that_a_later_version_refuses_are_noted_and_it_goes_on(ground: Ground) -> None:
    workflow = await ground.workflow()
    made = await ground.schedule(replace(NOON, inputs={"n": "one"}), workflow_id=workflow, late=1)
    await ground.change(workflow, NUMBERS_ONLY)
    await ground.look()
    shown = await ground.show(made)
    assert (shown.last_error, shown.is_active, ground.runs()) == ("VALIDATION_ERROR", True, [])
    assert shown.last_at is not None
    following = ground.next_in(made)
    assert following is not None
    assert following > 0


async def test_one_that_always_fails_holds_up_no_other(ground: Ground) -> None:
    broken, sound = await ground.schedule(late=2), await ground.schedule(late=1)
    ground.rows("UPDATE workflow_schedules SET inputs_sealed = '' WHERE id = %s", broken)
    await ground.look()
    assert ((await ground.show(sound)).last_error, len(ground.runs())) == (None, 1)
    assert ground.rows("SELECT last_error FROM workflow_schedules WHERE id = %s", broken) == [("INTERNAL_ERROR",)]
    following = ground.next_in(broken)
    assert following is not None
    assert following > 0


async def test_without_a_time_left_it_ends_with_a_reason(ground: Ground) -> None:
    made = await ground.schedule(late=1)
    ground.rows("UPDATE workflow_schedules SET timezone = 'Europe/Bielefeld' WHERE id = %s", made)
    await ground.look()
    assert (await ground.show(made)).inactive_reason == "NEVER_DUE"


async def test_it_dies_with_its_workflow(ground: Ground) -> None:
    workflow = await ground.workflow()
    await ground.schedule(workflow_id=workflow, late=1)
    kept = await ground.schedule()
    async with ground.queue.db.transaction(ground.queue.acme) as tx:
        await WorkflowRepository().delete(tx, workflow)
    await ground.look()
    assert ground.runs() == []
    assert ground.rows("SELECT id FROM workflow_schedules") == [(kept,)]


async def test_inputs_must_fit_the_current_version_when_it_is_made(ground: Ground) -> None:
    workflow = await ground.workflow(NUMBERS_ONLY)
    with pytest.raises(InvalidInput) as caught:
        await ground.schedule(replace(NOON, inputs={"n": "one"}), workflow_id=workflow)
    assert list(caught.value.fields) == ["inputs.n"]


async def test_a_workflow_and_a_tenant_have_so_many(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_OF_WORKFLOW", 2)
    monkeypatch.setattr(service, "MAX_OF_TENANT", 3)
    workflow = await ground.workflow()
    results = await asyncio.gather(*(ground.schedule(workflow_id=workflow) for _ in range(5)), return_exceptions=True)
    assert len([each for each in results if isinstance(each, UUID)]) == 2
    assert {type(each) for each in results} == {UUID, Conflict}
    await ground.schedule()
    with pytest.raises(Conflict):
        await ground.schedule()


async def test_another_tenants_workflow_is_not_found(ground: Ground) -> None:
    workflow = await ground.workflow(principal=ground.queue.other)
    with pytest.raises(NotFound):
        await ground.schedule(workflow_id=workflow)
    with pytest.raises(NotFound):
        await ground.schedule(workflow_id=new_id())


async def test_a_look_reads_what_is_due_and_no_more(ground: Ground) -> None:
    """Also with thousands that are not due, as copilot_app."""
    await ground.schedule(late=1)
    ground.rows(
        "INSERT INTO workflow_schedules (tenant_id, id, workflow_id, user_id, cron, timezone, misfire, inputs_sealed,"
        " next_at) SELECT tenant_id, gen_random_uuid(), workflow_id, user_id, cron, timezone, misfire, '',"
        " now() + make_interval(hours => 1 + n) FROM workflow_schedules, generate_series(1, 5000) n"
    )
    ground.rows("ANALYZE workflow_schedules")
    counters = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'workflow_schedules'"
    with psycopg.connect(ground.queue.urls.app_url, autocommit=True) as app, app.transaction(force_rollback=True):
        assert len(app.execute(b"SELECT FROM dispatch.due_schedules(6, 100)").fetchall()) == 1
        assert app.execute(counters.encode()).fetchone() == (0, 1)
