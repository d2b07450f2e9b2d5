"""Streams of runs that last: they say that they are there, and are cut when their reader must show again that it may
read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.blobs import PostgresBlobStore
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.platform.redis import connect_redis
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.conversations.generation.events import StreamTooLong
from copilot_domain.workflows.runs import following
from copilot_domain.workflows.runs.following import RunFollower
from copilot_domain.workflows.runs.nudging import NudgeListener
from support.api import ENCRYPTION_KEY, Site

RUN = """
    WITH workflow AS (
        INSERT INTO workflows (tenant_id, id, user_id, name_sealed, current_version)
        VALUES (%(tenant)s, %(run)s, %(user)s, '', 1)
    ), version AS (
        INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition_sealed, user_id)
        VALUES (%(tenant)s, %(run)s, 1, '', %(user)s)
    )
    INSERT INTO workflow_runs (
        tenant_id, id, workflow_id, version, job_id, user_id, inputs_sealed, status, event_count, started_at)
    VALUES (%(tenant)s, %(run)s, %(run)s, 1, %(run)s, %(user)s, '', 'waiting', 1, now())
"""


def waiting_run(site: Site) -> UUID:
    """One that began and was never led on."""
    run = new_id()

    with psycopg.connect(site.database.admin_url, autocommit=True) as admin:
        admin.execute(RUN, {"tenant": site.acme.tenant_id, "user": site.acme.user_id, "run": run})
    return run


@asynccontextmanager
async def follower(site: Site, **more: float) -> AsyncIterator[tuple[RunFollower, Principal]]:
    redis = connect_redis(site.redis_url)
    database = Database(site.database.app_url, max_size=2, application_name="tests")
    await database.open()
    try:
        db = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
        principal = Principal.system(TenantId(UUID(site.acme.tenant_id)), UserId(UUID(site.acme.user_id)))
        yield RunFollower(db, PostgresBlobStore(db), NudgeListener(redis), **more), principal
    finally:
        await database.close()
        await redis.aclose()


async def test_a_long_stream_is_cut_behind_what_there_is(site: Site) -> None:
    async with follower(site, longest_seconds=0.0) as (reader, principal):
        batches = await reader.open(principal, waiting_run(site), after=0)
        assert [number for number, _ in await anext(batches)] == [1]
        with pytest.raises(StreamTooLong):
            await anext(batches)


async def test_a_stream_without_news_says_that_it_is_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PING_SECONDS", 0.0)
    async with follower(site) as (reader, principal):
        batches = await reader.open(principal, waiting_run(site), after=1)
        assert [await anext(batches) for _ in range(2)] == [[], []]


async def test_nobody_elses_run_is_opened(site: Site) -> None:
    run = waiting_run(site)
    async with follower(site) as (reader, principal):
        other = Principal.system(TenantId(UUID(site.other.tenant_id)), principal.acting_user)
        with pytest.raises(NotFound):
            await reader.open(other, run, after=0)
